"""Writing that cannot leave half a file: to a temporary name beside the target, then renamed.

A reader sees the old file, the new file, or none; never a part. On any error, a full disk included, the
temporary file is removed and the target is as it was. And where what is kept between runs lies, and a user's paths.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def user_path(path: str | os.PathLike[str]) -> Path:
    """The path with ~ and ~name written out; the name of no user stays as it is, as in a shell."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, with its suffix; renamed to `path` on success."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
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
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    old = temporary.with_name(temporary.name + "-old")
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
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def cache_folder() -> Path:
    """Where downloads and verdicts on this machine are kept: HUD_FAST_CACHE, else the system's cache folder."""
    folder = os.environ.get("HUD_FAST_CACHE")
    if folder:
        return user_path(folder)
    import pooch

    return Path(pooch.os_cache("hud-fast"))
