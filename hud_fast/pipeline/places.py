"""Where a command writes: whether it may, and that nobody else does meanwhile.

The lock is one that the system frees with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hud_fast.pipeline.errors import InputError


def check_writable(path: Path) -> None:
    """Make the folder `path`, or say why nothing can be written there."""
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


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse what is there already, unless it may be overwritten."""
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} exists: choose another --out, or give --overwrite to replace it")


def check_json(path: Path, *keys: str) -> None:
    """As `check_writable`, for a JSON file with at least `keys`: it replaces one of its kind and nothing else."""
    check_writable(path.parent)
    if not os.path.lexists(path):
        return
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.keys() >= set(keys):
            return
    raise InputError(f"{path} exists and is none that this command wrote: choose another name")


class Gone(RuntimeError):
    """What was being written to is no longer where it was."""


class Lock:
    """A lock that is held: `check` tells whether what it keeps is still there."""

    def __init__(self, path: Path, file: IO[str] | None, kept: Path) -> None:
        self.path, self.file, self.kept = path, file, kept

    @property
    def there(self) -> bool:
        """Whether the file that was locked still bears its name."""
        if self.file is None:
            return self.path.parent.is_dir()
        # by inode: a folder of the same name, made anew, is another one
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        return False

    def check(self) -> None:
        """Raise `Gone` where somebody removed or replaced the place."""
        if not self.there:
            raise Gone(
                f"{self.kept} was removed or replaced while it was being written: what was made there is lost; give "
                "the command again"
            )


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str]) -> Iterator[Lock]:
    """Keep a second command out of `folder`, which is made, while the block runs.

    Raises
    ------
    InputError
        Another one is at work in `folder`, or it cannot be written.
    """
    path = Path(folder)
    new = not path.exists()
    check_writable(path)
    try:
        with _locked(path / ".lock", path) as held:
            yield held
    finally:
        if new:  # a command that was refused leaves no trace
            with contextlib.suppress(OSError):
                path.rmdir()


@contextlib.contextmanager
def lock_beside(target: str | os.PathLike[str]) -> Iterator[Lock]:
    """As `lock`, for a file, or a folder that is replaced as a whole: the lock's file lies beside it."""
    path = Path(target)
    check_writable(path.parent)
    with _locked(path.with_name(f".{path.name}.lock"), path) as held:
        yield held


@contextlib.contextmanager
def _locked(name: Path, kept: Path) -> Iterator[Lock]:
    # Not the package filelock: its file stays behind, or goes under the feet of a waiting process, by its version.
    if sys.platform == "win32":  # no protection there
        yield Lock(name, None, kept)
        return
    import fcntl

    while True:
        file = name.open("a")  # not "w": a file of somebody else's keeps its content
        held = Lock(name, file, kept)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()  # and the name stays: it is the other one's
            raise InputError(f"another hud-fast run is writing to {kept}: wait for it") from error
        except OSError:
            warnings.warn(
                f"{kept} lies on a file system without locks: see that one command at a time writes there",
                UserWarning,
                stacklevel=4,
            )
            break
        # The one before may have removed the file between our two calls: a lock on what has no name keeps nobody out.
        if held.there:
            break
        file.close()
    try:
        yield held
    finally:
        with contextlib.suppress(OSError):
            if held.there and not name.stat().st_size:
                name.unlink()  # while it is locked: see above
        file.close()
