"""The folder of a run: whose it is, how far it got, and whether it may be written.

``run.json`` tells: status "running" or "finished", the settings, a fingerprint of the scene, seconds of each
stage. Everything else in the folder is written whole or not at all, so what exists is complete, and starting
the same command again goes on where the last one stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import PART, atomic_write, sweep
from hud_fast.diffusion import processes
from hud_fast.diffusion.checkpoint import CheckpointFolder
from hud_fast.pipeline.cubes import foreign_to_set
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.places import Gone, Lock, check_writable, lock
from hud_fast.report.words import CAPTIONS

# All that a run writes. Starting afresh replaces these and nothing else, and these only where a record says that a
# run wrote them: a slip in --out must not cost anyone their files.
PRODUCTS = (
    "model",
    "checkpoints",
    "generated",
    "figures",
    "metrics.json",
    "report.html",
    "evaluation.json",
)
OURS = (*PRODUCTS, "run.json")
# In figures/: those of the report, and the two of an evaluation.
FIGURES = (*CAPTIONS, "power_spectra", "abundance_histograms")
# What a run writes into its folders, half-written files of a killed one included. Anything else there is the user's.
_STEP, _FIGURE = r"step-\d{10}", f"({'|'.join(FIGURES)})"
_INSIDE = {
    "model": re.compile(r"config\.json|(network|statistics)\.safetensors"),
    "checkpoints": re.compile(rf"{_STEP}\.safetensors|\.{_STEP}{PART}\.safetensors"),
    "figures": re.compile(rf"{_FIGURE}\.png|\.{_FIGURE}{PART}\.png"),
}
_FOLDERS = {*_INSIDE, "generated"}
_RECORD = {"status", "settings", "timings", "starts"}  # the least that run.json says
# Where an earlier run lies while the one that replaces it has no model yet.
REPLACED = ".replaced-by-hud-fast"


class RunFolder:
    """A folder claimed by one run, and its ``run.json``.

    Use `claim`; `record` keeps what is known; `stage` adds up the seconds of a stage over restarts. `held` is the
    folder's lock, in the first process.
    """

    held: Lock | None = None

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record

    @property
    def timings(self) -> dict[str, float]:
        """Seconds of each stage so far."""
        timings: dict[str, float] = self.record["timings"]
        return timings

    @property
    def resumed(self) -> bool:
        """True when an earlier start left something to go on from."""
        return bool(self.record["starts"] > 1)

    def check(self) -> None:
        """Raise `Gone` where somebody removed or replaced the folder since it was locked."""
        if self.held is not None:
            self.held.check()

    def save(self) -> None:
        """Write ``run.json``, in the first process; never into a folder that is another one by now."""
        self.check()
        if processes.is_first():
            write_json(self.path / "run.json", self.record)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under `name`, interrupted or not; `Gone` before or after it where the folder is."""
        self.check()
        start = time.monotonic()
        try:
            yield
        except OSError:
            self.check()  # that it is gone says more than that a file is missing
            raise
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - start
            # An error on its way (a full disk, say) must not be hidden by a second one from here.
            with contextlib.suppress(OSError, Gone):
                self.save()
        self.check()

    def finish(self, **facts: Any) -> None:
        """Mark the run as finished; with ``undrawn`` among the facts, the same command may draw that."""
        remove_checkpoints(self.path / "checkpoints")  # they have served since the model is there
        self.record.update(facts, status="finished")
        self.save()
        self.check()


def claim(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    overwrite: bool = False,
) -> RunFolder:
    """Make `folder` ours: new, resumed, or with `overwrite` cleared of an earlier run, which `settle` ends.

    Under the folder's `lock`: what killed runs left half written is removed.

    Raises
    ------
    InputError
        The folder cannot be written; it holds a finished run, a run with other settings, or files
        that are not a run's, and `overwrite` is not given; files that are not a run's bear the names of
        what a run writes, or lie in its folders.
    """
    path = Path(folder)
    check_writable(path)
    settle(path)  # a process killed while it replaced a run leaves that to the next one
    for name in (*OURS, *(f"figures/{figure}.png" for figure in FIGURES)):
        sweep(path / name)
    settings = json.loads(json.dumps(_plain(settings)))  # as they will read back
    old = _read_record(path)
    if old is None:
        for name in OURS:
            if os.path.lexists(path / name):
                raise InputError(
                    f"{path} holds no run of hud-fast, but {name}, which a run would replace: choose "
                    f"another --out, or move {name} away"
                )
        foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if foreign and not overwrite:
            raise InputError(
                f"{path} is not empty and holds no run (for example {foreign[0]}): choose another "
                "--out, or give --overwrite to write beside these files"
            )
    elif overwrite:
        _set_aside(path)
        old = None
    elif old["status"] == "finished" and not old.get("undrawn"):
        remove_checkpoints(path / "checkpoints")  # of one that was killed at its very end
        raise InputError(
            f"{path} holds a finished run: choose another --out, or give --overwrite to replace it"
        )
    elif any((path / name).exists() for name in PRODUCTS):
        _compare(path, old["settings"], settings)
    else:  # it stopped before it made anything: there is nothing to go on from
        old = None
    record = old or {"status": "running", "settings": settings, "timings": {}, "starts": 0}
    record["starts"] += 1
    run = RunFolder(path, record)
    try:
        run.save()
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror or error}") from error
    return run


def settle(folder: str | os.PathLike[str]) -> None:
    """End a replacement: the old run goes where the new one made something, else it comes back as it was."""
    path = Path(folder)
    aside, record = path / REPLACED, path / "run.json"
    if not aside.is_dir():
        return
    # run.json is the first to be set aside and the last to come back. So without one here the old run is on its way,
    # and with one here, but none there, it has not left yet, or has been on its way out already.
    replaced = (aside / "run.json").exists()
    if not record.exists() or (replaced and not _made(path)):
        _remove_record(path)
        for name in OURS:
            if (aside / name).exists():
                (aside / name).rename(path / name)
    shutil.rmtree(aside, ignore_errors=True)


def withdraw(held: Lock, folder: str | os.PathLike[str]) -> None:
    """At the end of a command: `settle`, and where it was refused before its first stage, its record goes too."""
    path = Path(folder)
    if not held.there:
        return
    settle(path)
    with contextlib.suppress(OSError, InputError):
        record = _read_record(path)
        if record is not None and not record["timings"] and not _made(path):
            _remove_record(path)


def _made(path: Path) -> bool:
    """Whether a run made anything there; an empty folder for checkpoints is nothing."""
    checkpoints = path / "checkpoints"
    empty = checkpoints.is_dir() and not any(checkpoints.iterdir())
    made = [name for name in PRODUCTS if os.path.lexists(path / name)]
    return made != ["checkpoints"] if empty else bool(made)


def _remove_record(path: Path) -> None:
    (path / "run.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (path / "checkpoints").rmdir()  # only where it is empty


def remove_checkpoints(folder: Path) -> None:
    """Remove a training's checkpoints, and their folder where nothing else lies in it."""
    # A job that succeeded has not failed for what it leaves behind.
    with contextlib.suppress(OSError):
        if folder.is_dir():
            CheckpointFolder(folder).clear()
            folder.rmdir()


@contextlib.contextmanager
def checkpoint_folder(folder: Path, *, afresh: bool) -> Iterator[None]:
    """Lock the folder of a training's checkpoints; where the block ends well, they have served.

    Parameters
    ----------
    folder : Path
        Other files in it are left alone, and then the folder too.
    afresh : bool
        Remove an earlier training's checkpoints first.

    Raises
    ------
    InputError
        Another run is at work in `folder`, or it cannot be written.
    """
    try:
        with lock(folder):
            if afresh:
                CheckpointFolder(folder).clear()
            yield
            remove_checkpoints(folder)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only where it is empty


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN and inf, unknown to JSON, are null."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False)
    with atomic_write(path, "w") as file:
        file.write(text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file that a run wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def fingerprint(
    values: NDArray[Any],  # (H, ...): a cube, or which of its pixels are valid
) -> str:
    """Return a short hash of the values: a resumed run must go on with the scene it began with."""
    digest = hashlib.blake2b(str(values.shape).encode(), digest_size=12)
    for row in values:
        digest.update(row.tobytes())
    return digest.hexdigest()


def _compare(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            raise InputError(
                f"{path} holds an unfinished run with {name} = {old.get(name)}, not "
                f"{new.get(name)}: give the same settings to resume it, or --overwrite to start afresh"
            )


def _read_record(path: Path) -> dict[str, Any] | None:
    file = path / "run.json"
    if not file.exists():
        return None
    try:
        record = read_json(file)
    except InputError as error:
        raise InputError(f"{error}; choose another --out, or move run.json away") from error
    if not isinstance(record, dict) or not record.keys() >= _RECORD:
        raise InputError(f"{file} is not of a hud-fast run: choose another --out")
    return record


def _set_aside(path: Path) -> None:
    """Move all that a run wrote into a hidden folder, for `settle`; refuse where anything else lies in its folders."""
    for name in OURS:
        foreign = _foreign(path, name)
        if foreign is not None:
            raise InputError(
                f"{path} holds a file that no run wrote ({foreign}), and --overwrite would replace the run's "
                f"{name}: choose another --out, or move that file away"
            )
    aside = path / REPLACED
    aside.mkdir()
    for name in reversed(OURS):  # run.json first: see `settle`
        if (path / name).exists():
            (path / name).rename(aside / name)


def _foreign(path: Path, name: str) -> str | None:
    """What no run wrote in or as the product `name`: links, other kinds, files of other names."""
    product = path / name
    if not os.path.lexists(product):
        return None
    if product.is_symlink() or product.is_dir() != (name in _FOLDERS):
        return name
    found = None
    if name == "generated":
        found = foreign_to_set(product)
    elif name in _INSIDE:
        found = next(
            (e.name for e in sorted(product.iterdir()) if not _ours(e, _INSIDE[name])), None
        )
    return found and f"{name}/{found}"


def _ours(entry: Path, names: re.Pattern[str]) -> bool:
    return bool(names.fullmatch(entry.name)) and entry.is_file() and not entry.is_symlink()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
