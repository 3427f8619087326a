"""How far a scene's file is trusted: what it may ask for, and how it is said that it is broken. For all formats.

A file comes from anywhere. It may be cut off, have a flipped bit, or be made to do harm. So

* whatever a library raises while it reads ends as one error that names the file (`whole`);
* before anything is allocated for it, an array must be one that can be in its file (at most `LARGEST_RATIO` bytes
  for each byte of the file: zlib's own limit is 1032) and fit into the memory that is there (`check_claim`);
* only what the file itself holds is read: no pickle, no link, no storage elsewhere;
* it may hold up to `MOST_VARIABLES`: each costs time before the first is read.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from hud_fast._limits import available_memory
from hud_fast._text import printable, size_text

LARGEST_RATIO = 1100
MOST_VARIABLES = 5000


class TooLarge(MemoryError):
    """A file that asks for more memory than there is; the message names it."""


def broken(path: Path, why: object) -> OSError:
    """The error for a file that is cut off, damaged or forged."""
    kind = path.suffix.lower() or "data"
    why = re.sub(r" at 0x[0-9a-f]+", "", str(why))  # where an object of a library's lies
    return OSError(
        f"load_scene: `path` must be a whole {kind} file, got a broken one, {path}: {printable(why, 200)}"
    )


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Any error of a library inside becomes `broken`; ours, which name the function, pass."""
    try:
        yield
    except (TooLarge, Warning):  # a warning is of a whole file, where it is made an error, too
        raise
    except MemoryError as error:
        raise TooLarge(
            f"load_scene: `path` must fit into memory, got {path}: {printable(error, 200)}"
        ) from error
    except Exception as error:
        if str(error).startswith("load_scene: "):
            raise
        raise broken(path, error if str(error) else type(error).__name__) from error


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Say in errors about the file's values which file it is."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{error}, reading {path}") from error


def check_regular(path: Path) -> None:
    """Refuse what is no file on a disk: a pipe would be waited for, a device never ends."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(
            f"load_scene: `path_or_name` must be a regular file, got {path} (a pipe or device)"
        )


def check_count(count: int) -> None:
    """Refuse a file of more variables than anyone writes."""
    if count > MOST_VARIABLES:
        raise ValueError(f"it has {count} variables, more than {MOST_VARIABLES}")


def check_claim(path: Path, what: str, count: int, bytes_each: int) -> None:
    """Refuse an array of `count` numbers that cannot be in this file, or that does not fit into memory.

    Beside its values there must be room for the float32 cube that is made of them.
    """
    check_ratio(path, what, count, bytes_each)
    check_memory(path, count * (bytes_each + 4))


def check_ratio(path: Path, what: str, count: int, bytes_each: int) -> None:
    """Refuse an array of `count` numbers that cannot be in this file: for one that is read some rows at a time."""
    size, have = count * bytes_each, path.stat().st_size
    if size > LARGEST_RATIO * have:
        raise broken(
            path, f"{what} would have {size} bytes, which {have} bytes of file cannot hold"
        )


def check_memory(path: Path, size: int) -> None:
    """Refuse what does not fit into the memory that is free now."""
    free = available_memory()
    if free is not None and size > free:
        raise TooLarge(
            f"load_scene: `path` must fit into memory, got {path}, which needs {size_text(size)} where "
            f"{size_text(free)} are free"
        )
