"""Mistakes in what the user gave, told apart from failures of the work itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hud_fast._text import printable


class InputError(ValueError):
    """An argument or an input file that cannot be used; the message is one line for people."""


@contextlib.contextmanager
def user_input(what: str = "") -> Iterator[None]:
    """Turn what reading an input raises into an `InputError` with the same text.

    Examples
    --------
    >>> with user_input("scene"):
    ...     raise ValueError("not a cube")
    Traceback (most recent call last):
    ...
    hud_fast.pipeline.errors.InputError: scene: not a cube
    """
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, TypeError, ImportError) as error:  # the last names an extra
        text = one_line(error)
        raise InputError(f"{what}: {text}" if what else text) from error


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line, fit to be shown; system errors get words instead of a number.

    Examples
    --------
    >>> one_line(FileNotFoundError(2, "No such file or directory", "a.mat"))
    'a.mat: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        name = error.filename2 or error.filename
        text = f"{name}: {error.strerror}" if name is not None else str(error.strerror)
    else:
        text = " ".join(str(error).split())
    return printable(text) or type(error).__name__
