"""Text files of one row a band: which column holds the wavelengths, and which the band widths.

A file may have a heading, comments (#, %, ! or ;), a byte order mark, and columns beside the one that is asked for:
band numbers, names, widths, flags. A column is known by its name in the heading; without one, by its values:
wavelengths go up (or down), from 300 to 20,000 nm or 0.3 to 20 um. What stays open is asked for, not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes.wavelengths import are_band_numbers

COMMENT = re.compile(r"\s*([#%!;]|//)")
RANGES = ((300.0, 20_000.0), (0.3, 20.0))  # nm, um
MOSTLY = 0.9  # of the steps go one way: spectrometers overlap
WIDEST = 0.2  # of a band's wavelength
NARROWEST = 1e-4
CENTRE_WORDS = r"wave(length)?s?|wvls?|wls?|lambda|cent(er|re)s?|cwl?|bandcent(er|re)s?"
WIDTH_WORDS = r"fwhms?|widths?|bandwidths?"
UNIT_WORDS = r"nm|um|\u00b5m|\u03bcm|micromet(er|re)s?|microns?|nanomet(er|re)s?"


@dataclass
class Table:
    """Columns of numbers, and what they are called."""

    columns: list[NDArray[np.float64]]  # (n,) each
    names: list[str]


def decoded(data: bytes) -> str:
    """Text of unknown encoding: UTF-8 or UTF-16 with their marks, UTF-8, GBK, Latin-1.

    Bytes beyond ASCII that stand in pairs of GB 2312's are GBK; single ones are Latin-1's letters.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        if all(len(run) % 2 == 0 for run in re.findall(rb"[\x80-\xff]+", data)):
            return data.decode("gb2312")
    except UnicodeDecodeError:
        pass
    return data.decode("latin-1")


def read_table(text: str) -> Table:
    """The columns of numbers of a text.

    Raises
    ------
    ValueError
        If a line below the first numbers is not of their kind.
    """
    rows: list[list[str]] = []
    heading: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = _cells(line)
        if COMMENT.match(line) or not any(_is_number(cell) for cell in cells):
            words = _cells(re.sub(r"^\s*([#%!;]|//)+", "", line))
            if not rows and words:
                heading = words
            elif not COMMENT.match(line) and any(cells):
                raise ValueError(f"line {number} is no number: {printable(line, 60)}")
            continue
        rows.append(_cells(re.split(r"\s[#%!]", line)[0]))
    if not rows:
        raise ValueError("it holds no number")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1 or (len(rows) == 1 and len(rows[0]) > 1):
        flat = [cell for row in rows for cell in row if cell]  # one list over several lines
        rows, heading = [[cell] for cell in flat], []
    heading = heading if len(heading) == len(rows[0]) else []
    columns, names = [], []
    for index, column in enumerate(zip(*rows, strict=True)):
        name = heading[index] if heading else f"column {index + 1}"
        wrong = [cell for cell in column if not _is_number(cell)]
        if not wrong:
            columns.append(np.array([_number(cell) for cell in column]))
            names.append(name)
        elif len(rows[0]) == 1 or len(wrong) < len(column) / 2:  # no column of names
            raise ValueError(f"{name} holds {printable(repr(wrong[0]), 40)}, which is no number")
    if not columns:
        raise ValueError("no column holds numbers")
    if len(columns) > 1 and len(rows) > 1:
        whole = np.stack(columns, axis=1).ravel()
        if len(columns) == len(rows[0]) > 2 and _goes_one_way(whole, 1.0) and not heading:
            return Table([whole], ["all"])  # a list of full lines
    return Table(columns, names)


def _settled(columns: list[NDArray[np.float64]], found: list[int]) -> tuple[list[int], list[int]]:
    """Which of several columns are the wavelengths, and which say the same in another unit."""
    first = columns[found[0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [columns[i] / first for i in found]
        products = [columns[i] * first for i in found[1:]]
    if all(np.allclose(ratio, ratio[0], rtol=1e-3) for ratio in ratios):  # nm and um
        return found[:1], found
    low = [float(np.median(columns[i])) for i in found]
    shorter = found[int(np.argmin(low))]
    if all(np.allclose(product, 1e4, rtol=1e-3) for product in products):  # um and 1/cm
        return [shorter], found
    longer = found[int(np.argmax(low))]
    widths = [i for i in found if i != longer]
    if len(widths) == 1 and _look_like_widths(columns[widths[0]], columns[longer]):
        return [longer], []
    return found, []


def read_matrix(text: str) -> NDArray[np.float64]:  # (rows, columns)
    """The numbers of a text, row by row; comments left out.

    Raises
    ------
    ValueError
        If rows have different lengths, or hold what is no number.
    """
    lines = [line for line in text.splitlines() if line.strip() and not COMMENT.match(line)]
    return np.array([[_number(cell) for cell in _cells(line)] for line in lines])


def centres_and_widths(
    table: Table, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:  # (n,), (n,)
    """The columns of wavelengths and of band widths, as they stand in the file.

    Raises
    ------
    ValueError
        If no column, or more than one, can be the wavelengths.
    """
    if len(table.columns) == 1:
        return table.columns[0], None
    kinds = [_kind(name) for name in table.names]
    named = [i for i, kind in enumerate(kinds) if kind == "centre"]
    found = named or [
        i
        for i, values in enumerate(table.columns)
        if kinds[i] != "width" and _look_like_centres(values)
    ]
    alike: list[int] = []
    if len(found) > 1:
        found, alike = _settled(table.columns, found)
    if len(found) != 1:
        which = "several" if found else "none"
        shown = listed(
            f"{name} ({values[0]:g} to {values[-1]:g})"
            for name, values in zip(table.names, table.columns, strict=True)
        )
        raise ValueError(
            f"load_scene: `wavelengths` must be a file with one column of wavelengths, got {which} that can be it of "
            f"{shown} in {path}: leave one column, or name it wavelength in a heading"
        )
    centres = table.columns[found[0]]
    width_named = [i for i, kind in enumerate(kinds) if kind == "width"]
    left = [
        i
        for i, values in enumerate(table.columns)
        if i not in (found[0], *alike) and not are_band_numbers(values)
    ]
    chosen = width_named or [i for i in left if _look_like_widths(table.columns[i], centres)]
    one = len(chosen) == 1 and (bool(width_named) or len(left) == 1)
    return centres, table.columns[chosen[0]] if one else None


def _cells(line: str) -> list[str]:
    """A line's cells: between semicolons, tabs or commas, else between blanks."""
    line = line.strip().strip("\ufeff")
    for mark in (";", "\t", ","):
        if mark in line:
            cells = [cell.strip().strip("\"'") for cell in line.rstrip(mark).split(mark)]
            if mark == "," and all(len(cell.split()) > 1 for cell in cells if cell):
                break  # a comma at the end of rows
            return cells
    return [cell.strip("\"'") for cell in line.replace(",", " ").split()]


def _number(cell: str) -> float:
    """A number, its decimal mark a point or (between other marks) a comma."""
    try:
        return float(cell)
    except ValueError:
        if re.fullmatch(r"[+-]?\d+,\d+", cell):
            return float(cell.replace(",", "."))
        raise


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _kind(name: str) -> str | None:
    """What a heading calls the column: "centre" or "width"."""
    words = re.sub(r"[^a-z\u00b5\u03bc]+", " ", name.lower()).split()
    words = [word for word in words if not re.fullmatch(UNIT_WORDS, word)]
    if any(re.fullmatch(WIDTH_WORDS, word) for word in words):
        return "width"
    return "centre" if any(re.fullmatch(CENTRE_WORDS, word) for word in words) else None


def _look_like_centres(values: NDArray[np.float64]) -> bool:
    there = values[np.isfinite(values) & (values != 0)]  # 0: a band that is off
    if there.size < max(2, values.size // 2) or are_band_numbers(values):
        return False
    inside = any(low <= there.min() and there.max() <= high for low, high in RANGES)
    return inside and _goes_one_way(there, MOSTLY)


def _look_like_widths(values: NDArray[np.float64], centres: NDArray[np.float64]) -> bool:
    both = (values > 0) & (centres > 0)
    if not both.any() or set(np.unique(values)) <= {0.0, 1.0}:
        return False
    share = float(np.median(values[both] / centres[both]))
    return NARROWEST <= share <= WIDEST


def _goes_one_way(values: NDArray[np.float64], share: float) -> bool:
    steps = np.diff(values)
    return bool(max((steps > 0).mean(), (steps < 0).mean()) >= share) if steps.size else False
