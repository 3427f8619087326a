"""Tables of labelled points: columns row and column (from 0) and class (a number or a name), in any order.

Any few pixels may be labelled so. Cells stand between commas, semicolons or tabs; a column "name" may say what the
classes with numbers are called.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable

COLUMNS = {"col": "column", "label": "class"}  # other names of theirs
NEEDED = ("row", "column", "class")
MARKS = (";", "\t", ",")


def is_table(text: str) -> bool:
    """Does its first line name a row and a column?"""
    return {"row", "column"} <= set(_heading(text)[1])


def _heading(text: str) -> tuple[str, list[str]]:
    """What stands between the cells, and what the columns are."""
    first = text.lstrip("\ufeff\r\n ").split("\n", 1)[0]
    mark = next((mark for mark in MARKS if mark in first), ",")
    words = [cell.strip().strip("\"'").lower() for cell in first.split(mark)]
    return mark, [COLUMNS.get(word, word) for word in words]


def read(
    text: str,
    path: Path,
    shape: tuple[int, int],  # (H, W)
    known: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:  # (H, W)
    """The map of the points, 0 elsewhere, and the names of its classes if the table has them.

    Classes that are names get the numbers of the scene's own classes of these names; where none of them is `known`,
    1, 2, ... in the order of the alphabet.

    Raises
    ------
    ValueError
        If a column is missing, a point lies outside the scene, has two classes, or a class is none.
    """
    mark, heading = _heading(text)
    missing = [name for name in NEEDED if name not in heading]
    if missing:
        raise _wrong(path, f"columns row, column and class, got {listed(heading)}")
    at = {name: heading.index(name) for name in heading}
    lines = csv.reader(io.StringIO(text.lstrip("\ufeff\r\n ")), delimiter=mark)
    rows = [
        (number, cells) for number, cells in enumerate(lines, 1) if any(c.strip() for c in cells)
    ]
    points = [(number, [cell.strip() for cell in cells]) for number, cells in rows[1:]]
    for number, cells in points:
        if len(cells) < len(heading):
            raise _wrong(path, f"{len(heading)} cells a line, got {len(cells)} in line {number}")
    words = [cells[at["class"]] for _, cells in points]
    numbered = {_is_whole(word) for word in words}
    if len(numbered) > 1:
        mixed = listed(sorted({word for word in words if not _is_whole(word)}))
        raise _wrong(path, f"classes that are all numbers or all names, got numbers beside {mixed}")
    names = _names(words, known) if numbered == {False} else None
    numbers = [int(word) for word in words] if names is None else _numbers(words, names, path)
    labels = np.zeros(shape, np.int64)
    for (number, cells), value in zip(points, numbers, strict=True):
        place = [_whole(cells[at[axis]], axis, number, path) for axis in ("row", "column")]
        for axis, position, size in zip(("row", "column"), place, shape, strict=True):
            if not 0 <= position < size:
                raise _wrong(
                    path,
                    f"points in the scene's {shape[0]} x {shape[1]} pixels, counted from 0, got {axis} {position} in "
                    f"line {number}",
                )
        row, column = place
        if value < 0:
            raise _wrong(path, f"classes of 0 (unlabelled) or more, got {value} in line {number}")
        if labels[row, column] not in (0, value):
            raise _wrong(path, f"one class a point, got two for row {row}, column {column}")
        labels[row, column] = value
    if names is None and "name" in at:
        names = _beside(points, numbers, at["name"], path)
    return labels, names


def _names(words: Sequence[str], known: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the classes 1, 2, ..."""
    own = {word.lower() for word in words}
    if known is not None and own & {name.lower() for name in known}:
        return tuple(known)
    return tuple(sorted(set(words)))


def _numbers(words: Sequence[str], names: Sequence[str], path: Path) -> list[int]:
    number_of = {name.lower(): i for i, name in enumerate(names, 1)}
    strange = sorted({word for word in words if word.lower() not in number_of})
    if strange:
        raise _wrong(
            path, f"classes of the scene ({listed(names)}), got {printable(strange[0], 60)}"
        )
    return [number_of[word.lower()] for word in words]


def _beside(
    points: Sequence[tuple[int, list[str]]], numbers: Sequence[int], at: int, path: Path
) -> tuple[str, ...] | None:
    """What a column of names calls the classes with numbers; a class that no point has gets its number for a name."""
    found: dict[int, str] = {}
    for (line, cells), value in zip(points, numbers, strict=True):
        if found.setdefault(value, cells[at]) != cells[at]:
            raise _wrong(path, f"one name a class, got two for {value} in line {line}")
    return tuple(found.get(i, str(i)) for i in range(1, max(found, default=0) + 1)) or None


def _whole(word: str, axis: str, line: int, path: Path) -> int:
    if not _is_whole(word):
        raise _wrong(
            path, f"whole numbers for {axis}, got {printable(repr(word), 40)} in line {line}"
        )
    return int(word)


def _is_whole(word: str) -> bool:
    return word.isascii() and word.removeprefix("-").isdecimal() and len(word) < 19


def _wrong(path: Path, text: str) -> ValueError:
    return ValueError(f"load_scene: `labels` must have {text}, in {path}")
