"""Writing that cannot leave half a file: to a temporary name beside the target, then renamed.

A reader sees the old file, the new file, or none; never a part. On any error, a full disk included, the
temporary file is removed and the target is as it was. What a killed process left is known by its name: `sweep`
removes it. And where what is kept between runs lies, and a user's paths.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

MARK = "hud-fast-"  # in the name of a file that is not whole yet: nobody else's hidden file is taken for one
PART = rf"-{MARK}[a-z0-9_]{{8}}"  # between the target's name and its suffix; the letters are tempfile's
OLD = "-old"  # ends the name of a folder that makes room for its successor


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with ~ and ~name written out; the name of no user stays as it is, as in a shell."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_utf8(path: Path) -> bool:
    """Whether a library that takes UTF-8 only can name it; other names are only found on POSIX."""
    return os.fspath(path).encode(errors="replace") == os.fsencode(path)


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """A name under which a library that takes UTF-8 only can read the file."""
    if is_utf8(path):
        yield path
        return
    with path.open("rb") as file:
        yield Path(f"/dev/fd/{file.fileno()}")


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with its suffix; renamed to `path` on success."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-{MARK}", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:  # a rename must not overtake the data
            os.fsync(file.fileno())
        # mkstemp makes files private; the target gets what a plain open() would have given.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file for writing (text modes are UTF-8); it becomes `path` on success."""
    with atomic_path(path) as temporary:
        encoding = None if "b" in mode else "utf-8"
        with temporary.open(mode, encoding=encoding) as file:
            yield file
            file.flush()


@contextlib.contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces the folder `path` on success."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-{MARK}", dir=target.parent))
    old = temporary.with_name(temporary.name + OLD)
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for left in (temporary, old):
            _remove(left)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, also while a library's threads, after an error, still put files into it."""
    for _ in range(20):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not os.path.lexists(path):
            return
        time.sleep(0.05)


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what killed writers of `path` left; a folder killed between its two renames is put in its place.

    Only for who keeps others from writing to `path`: a file in the making is taken for a left one.
    """
    target = Path(path)
    file = re.compile(rf"\.{re.escape(target.stem)}{PART}{re.escape(target.suffix)}")
    folder = re.compile(rf"\.{re.escape(target.name)}{PART}({OLD})?")
    left = []
    if target.parent.is_dir():
        left = [
            p for p in target.parent.iterdir() if folder.fullmatch(p.name) or file.fullmatch(p.name)
        ]
    for old in left:
        new = old.with_name(old.name.removesuffix(OLD))
        if old != new and not os.path.lexists(target):
            (new if new.is_dir() else old).rename(target)
    for stray in left:
        _remove(stray)


def cache_folder() -> Path:
    """Where downloads and verdicts on this machine are kept: HUD_FAST_CACHE, else the system's cache folder."""
    folder = os.environ.get("HUD_FAST_CACHE")
    if folder:
        return user_path(folder)
    import pooch

    return Path(pooch.os_cache("hud-fast"))
