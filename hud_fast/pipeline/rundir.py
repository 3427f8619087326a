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
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_write
from hud_fast.diffusion import processes
from hud_fast.pipeline.errors import InputError

# All that a run writes. Starting afresh removes these and nothing else: a slip in --out must not cost
# anyone their files.
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


class RunFolder:
    """A folder claimed by one run, and its ``run.json``.

    Use `claim`; `record` keeps what is known; `stage` adds up the seconds of a stage over restarts.
    """

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

    def save(self) -> None:
        """Write ``run.json``, in the first process."""
        if processes.is_first():
            write_json(self.path / "run.json", self.record)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block under `name`, interrupted or not."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - start
            # An error on its way (a full disk, say) must not be hidden by a second one from here.
            with contextlib.suppress(OSError):
                self.save()

    def finish(self, **facts: Any) -> None:
        """Mark the run as finished."""
        self.record.update(facts, status="finished")
        self.save()
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)


def claim(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    overwrite: bool = False,
) -> RunFolder:
    """Make `folder` ours: new, resumed, or emptied of an earlier run with `overwrite`.

    Raises
    ------
    InputError
        The folder cannot be written; it holds a finished run, a run with other settings, or files
        that are not a run's, and `overwrite` is not given.
    """
    path = Path(folder)
    check_writable(path)
    settings = json.loads(json.dumps(_plain(settings)))  # as they will read back
    old = None if overwrite else _read_record(path)
    if overwrite:
        for name in OURS:
            _remove(path / name)
    elif old is None:
        foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
        if foreign:
            raise InputError(
                f"{path} is not empty and holds no run (for example {foreign[0]}): choose another "
                "--out, or give --overwrite to write beside these files"
            )
    elif old.get("status") == "finished":
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


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a second run out of `folder` while the block runs; the system frees it with the process.

    Raises
    ------
    InputError
        Another run is at work in `folder`, or it cannot be written.
    """
    path = Path(folder)
    check_writable(path)
    try:
        import fcntl
    except ImportError:  # not on Windows: no protection there
        yield
        return
    file = (path / ".lock").open("w")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another hud-fast run is writing to {path}: wait for it") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        with contextlib.suppress(OSError):
            (path / ".lock").unlink()
        file.close()


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
    record = read_json(file)
    if not isinstance(record, dict) or "settings" not in record:
        raise InputError(f"{file} is not of a hud-fast run: choose another --out")
    return record


def check_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x" * 4096)
    except FileExistsError as error:
        raise InputError(f"{path} is a file: --out must be a folder") from error
    except NotADirectoryError as error:
        raise InputError(f"{path}: a part of this path is a file, not a folder") from error
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
