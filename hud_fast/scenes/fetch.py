"""fetch: bring a catalogue scene's file to this machine, checked, or say exactly how to place it by hand.

Looked for in this order, the first that works:

1. below ``HUD_FAST_DATA``: your own copies, in the folder itself or one below it; only variable and shape
   are checked, since re-saved copies have other bytes;
2. the cache folder (``HUD_FAST_CACHE``, else the system's cache folder for "hud-fast");
3. for Indian Pines: the copy inside the tensorly package, written to the cache with our band centres;
4. `mirror`, if given (then step 3 is left out), else the provider's address: downloaded and
   compared with the known SHA-256. A page of HTML instead of data, a refusal, a wrong checksum and a missing
   connection end in one error that names the file, its checksum and where to put it.

A scene with altered pixels has a second file that says which; it is looked for in the same way, but for step 3, and
without it the scene is not had. Labels that cannot be had are left out.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hud_fast._checks import check_path
from hud_fast._files import atomic_path, cache_folder, user_path
from hud_fast.scenes import mat
from hud_fast.scenes.catalogue import Entry, File, find_entry

Progress = Callable[[int, int], None]
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 18  # bytes between two calls of `progress`


def data_folder() -> Path | None:
    """The user's folder of scenes, from HUD_FAST_DATA."""
    folder = os.environ.get("HUD_FAST_DATA")
    return user_path(folder) if folder else None


def find_local(name: str, folder: Path | None = None) -> Path | None:
    """A file of this name in `folder` (HUD_FAST_DATA) or in a folder below it."""
    root = folder or data_folder()
    if root is None or not root.is_dir():
        return None
    places = [root, *sorted(below for below in root.iterdir() if below.is_dir())]
    return next((place / name for place in places if (place / name).is_file()), None)


def at_hand(name: str) -> bool:
    """Whether a scene of the catalogue can be loaded without the network."""
    if name == "indian-pines" and importlib.util.find_spec("tensorly") is not None:
        return True
    entry = find_entry(name)
    needed = [entry.cube] if entry.altered is None else [entry.cube, entry.altered]
    return all(any(kept(file.name)) for file in needed)


def kept(name: str, home: Path | None = None) -> Iterator[Path]:
    """Files of this name below HUD_FAST_DATA and below `home` (the cache folder)."""
    for place in (data_folder(), home or cache_folder()):
        found = None if place is None else find_local(name, place)
        if found is not None:
            yield found


def fetch(
    name: str,
    *,
    mirror: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """The path of a catalogue scene's file, downloaded if need be.

    Parameters
    ----------
    name
        A name of the catalogue: indian-pines, ksc, pavia-centre, pavia-university, salinas, samson,
        jasper-ridge, salinas-crop, salinas-a, pavia-crop, pavia-university-crop.
    mirror
        Address of a folder that has the file, of the file itself, or a local folder.
    folder
        Kept here instead of in the cache folder.
    progress
        Called as progress(bytes done, bytes in all) while downloading.

    Returns
    -------
    Path
        A .mat file that `load_scene` reads. What belongs to it (labels, where they can be had, and which pixels are
        altered) lies in it, beside it, or elsewhere below HUD_FAST_DATA or the folder.

    Raises
    ------
    ValueError
        If the catalogue has no such name.
    OSError
        If the file could not be had; the message says what was tried and how to place it by hand.

    Examples
    --------
    >>> fetch("indian-pine")
    Traceback (most recent call last):
    ...
    ValueError: fetch: `name` must be one of indian-pines, ksc, pavia-centre, pavia-university, salinas, \
samson, jasper-ridge, salinas-crop, salinas-a, pavia-crop, pavia-university-crop, \
got 'indian-pine'; did you mean indian-pines?
    """
    if not isinstance(name, str):
        raise TypeError(f"fetch: `name` must be a name of the catalogue, got {type(name).__name__}")
    entry = find_entry(name, "fetch")
    if folder is not None:
        check_path("fetch", "folder", folder)
    home = cache_folder() if folder is None else user_path(folder)
    path, tried = _at_hand(entry, entry.cube, home)
    if path is None and entry.key == "indian-pines" and mirror is None:
        if importlib.util.find_spec("tensorly") is not None:
            return _from_tensorly(entry, home)
        tried.append("the tensorly package (not installed: pip install 'hud-fast[demo]')")
    if path is None:
        path = _new(entry, entry.cube, mirror, home, tried, progress)
        if entry.labels is not None and find_local(entry.labels.name, home) is None:
            # Labels are a bonus: a scene without them is whole.
            try:
                _obtain(entry, entry.labels, mirror, home, None)
            except (OSError, ValueError) as error:
                logging.getLogger(__name__).info("no labels for %s: %s", entry.key, error)
    if entry.altered is not None:
        found, tried = _at_hand(entry, entry.altered, home)
        if found is None:
            _new(entry, entry.altered, mirror, home, tried, None)
    return path


def _at_hand(entry: Entry, file: File, home: Path) -> tuple[Path | None, list[str]]:
    """The first good copy, None where there is none; and the bad ones before it, with the reason."""
    bad: list[str] = []
    for found in kept(file.name, home):
        why_not = _why_not(found, entry, file)
        if why_not is None:
            return found, bad
        bad.append(f"{found} ({why_not})")
    return None, bad


def _new(
    entry: Entry,
    file: File,
    mirror: str | None,
    home: Path,
    tried: list[str],
    progress: Progress | None,
) -> Path:
    """A file that is not at hand; an error tells what was tried before."""
    try:
        path = _obtain(entry, file, mirror, home, progress)
    except (OSError, ValueError) as error:
        raise OSError(_by_hand(entry, file, home, [*tried, str(error)])) from error
    why_not = _why_not(path, entry, file)
    if why_not is not None:
        raise OSError(_by_hand(entry, file, home, [*tried, f"{path} ({why_not})"]))
    return path


def _why_not(path: Path, entry: Entry, part: File) -> str | None:
    """What is wrong with this copy, None if nothing: the variable, its size, and that the file is whole."""
    try:
        file = mat.open_mat(path)
    except (OSError, ValueError) as error:
        return str(error).removeprefix("load_scene: ")
    height, width, bands = entry.shape
    should: tuple[int, ...] = entry.shape if part is entry.cube else entry.shape[:2]
    expected = {should, (bands, height * width), (height * width, bands)}
    shape = file.shapes.get(part.variable)
    if shape is None:
        return f"it has no variable {part.variable}"
    if shape not in expected:
        return f"its {part.variable} has shape {shape}, not {should}"
    return None


def _obtain(
    entry: Entry, file: File, mirror: str | None, home: Path, progress: Progress | None
) -> Path:
    """Download one file into `home`, checked. Any failure is an OSError of one line."""
    if mirror is not None and Path(mirror).is_dir():
        found = find_local(file.name, Path(mirror))
        if found is None:
            raise OSError(f"{mirror} (no {file.name} in it)")
        return found
    if mirror is None:
        url = file.url
        if url is None:
            raise OSError("no address is known to download it from (give a mirror)")
    else:
        beside = mirror.removesuffix(entry.cube.name)  # the address of the cube itself
        url = f"{mirror.rstrip('/')}/" if beside == mirror else beside
        url += file.name
    return _download(url, file, home, progress)


def _download(url: str, file: File, home: Path, progress: Progress | None) -> Path:
    import pooch
    import requests

    def get(address: str, output: Any, _pooch: Any) -> None:
        # Not pooch's own downloader: it leaves the connection open when the answer is a refusal.
        with requests.get(address, stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            total = int(answer.headers.get("Content-Length", 0))
            done = 0
            with Path(output).open("wb") as received:
                for chunk in answer.iter_content(CHUNK):
                    if done == 0 and chunk.lstrip().startswith(b"<"):
                        raise OSError(f"{url} (answered with a web page instead of the file)")
                    received.write(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(done, max(total, done))

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # its "Downloading ..." is not for our screen
    try:
        home.mkdir(parents=True, exist_ok=True)
        path = pooch.retrieve(
            url, known_hash=f"sha256:{file.sha256}", fname=file.name, path=home, downloader=get
        )
    except requests.HTTPError as error:
        code = "no status" if error.response is None else error.response.status_code
        raise OSError(f"{url} (refused with HTTP status {code})") from error
    except requests.RequestException as error:
        raise OSError(f"{url} (no connection: {type(error).__name__})") from error
    except ValueError as error:
        raise OSError(f"{url} (wrong SHA-256, or not an address)") from error
    finally:
        logger.setLevel(level)
    return Path(path)


def _from_tensorly(entry: Entry, home: Path) -> Path:
    """Indian Pines as the tensorly package ships it, with labels, as a .mat file in the cache.

    Its values equal the canonical file's. Its band centres do not hold (see `band_centres`): ours are written.
    """
    import numpy as np
    from scipy.io import savemat
    from tensorly.datasets import load_indian_pines

    data = load_indian_pines()
    assert entry.labels is not None
    assert entry.wavelengths is not None
    content = {
        entry.cube.variable: np.asarray(data.tensor).astype(np.uint16),
        entry.labels.variable: np.asarray(data.ticks[0]).astype(np.uint8),
        "wavelengths": entry.wavelengths(),
    }
    target = home / entry.cube.name
    try:
        with atomic_path(target) as temporary:
            savemat(temporary, content, do_compression=True)
    except OSError as error:
        raise OSError(
            f"fetch: `folder` must be writable, got {home}: {error.strerror or error}"
        ) from error
    return target


def _by_hand(entry: Entry, file: File, home: Path, tried: list[str]) -> str:
    place = data_folder() or home
    theirs = file.name if file.url is None else unquote(file.url.rpartition("/")[2])
    ours = "" if theirs == file.name else f" as {file.name}"
    what = entry.title if file is entry.cube else f"the altered pixels of {entry.title}"
    return (
        f"fetch: could not get {what}: {'; '.join(tried)}. By hand: get "
        f"{theirs} (sha256 {file.sha256}) from {entry.page} and put it into {place}{ours}, "
        f"set HUD_FAST_DATA to the folder that has it, or give mirror=/--mirror an address that has it"
    )
