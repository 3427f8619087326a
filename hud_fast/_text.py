"""Text that others wrote (names of files and variables, words in headers, libraries' messages), fit to be shown.

A control character moves the cursor, colours the screen or forges a line of its own, and a file name that is not
UTF-8 cannot be printed at all. So text from outside is cleaned where it becomes ours: a scene's name when the
scene is made, an error when it is put on one line, and once more on the way to the terminal.
Lists and sizes in words are here, too.
"""

from __future__ import annotations

from collections.abc import Iterable

LISTED = 12  # names in a list, before it says how many more there are


def printable(text: object, longest: int | None = None) -> str:
    """The text without control characters: "?" for each, a space for each kind of space; cut to `longest`.

    Examples
    --------
    >>> printable("red \\x1b[31m\\nline \\udce9")
    'red ?[31m line ?'
    >>> printable("a very long name", longest=9)
    'a very...'
    """
    words = str(text)
    if not words.isprintable():
        words = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in words)
    if longest is not None and len(words) > longest:
        words = words[: longest - 3] + "..."
    return words


def listed(names: Iterable[object]) -> str:
    """Names as a list that stays short, however many and long they are.

    Examples
    --------
    >>> listed(range(14))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more'
    """
    words = [printable(name, 60) for name in names]
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return ", ".join(words[:LISTED]) + more


def size_text(count: float) -> str:
    """Return a number of bytes in words.

    Examples
    --------
    >>> size_text(3 * 2**30), size_text(5_000_000)
    ('3.0 GiB', '4.8 MiB')
    """
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
