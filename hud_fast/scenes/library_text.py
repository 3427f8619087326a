"""Spectra in text files: tables of columns or rows, and the exports of spectral libraries and of ENVI.

A file is some heading lines, then a table of numbers: one column a spectrum after a first column of wavelengths, or
one row a spectrum after its name. Headings are read where they are known: names of columns, ``Key: value`` lines of
the ASTER and ECOSTRESS libraries, ``Column 2: name`` of ENVI's plots.
"""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.scenes.library import Library

LARGEST_TEXT = 1 << 28  # bytes
DELETED = -1e30  # USGS marks bands without a value by -1.23e34
SHORTEST, LONGEST = (
    200.0,
    1e5,
)  # nm, where a first column without a heading is taken for wavelengths

_WAVE = re.compile(r"wave|wvl|lambda|band.?cent", re.IGNORECASE)
_NM = re.compile(r"nano|\bnm\b|_nm\b|^nm", re.IGNORECASE)
_UM = re.compile(r"micro|\bum\b|_um\b|^um|[\u00b5\u03bc]m", re.IGNORECASE)
_COUNT = re.compile(r"^\W*(band|index|channel|#|no\.?|number|b)\b", re.IGNORECASE)
_NAME = re.compile(r"^\W*(name|spectr|label|sample|material|class|id|endmember)|^$", re.IGNORECASE)

Cells = list[str]


def read_text(path: Path) -> Library:
    """The spectra of a text file.

    Raises
    ------
    ValueError
        If it is no table of numbers, or it is open which of its numbers are spectra.
    """
    if path.stat().st_size > LARGEST_TEXT:
        raise ValueError(f"it has {path.stat().st_size} bytes, more than {LARGEST_TEXT}")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # older libraries write degrees and micro signs so
    if "\0" in text:
        raise ValueError("it is no text")
    lines = [line for line in text.splitlines() if line.strip()]
    rows = _cells(lines)
    first = next((i for i, row in enumerate(rows) if _is_data(row)), None)
    if first is None:
        raise ValueError("it holds no row of numbers")
    heading, table = lines[:first], rows[first:]
    if first and _names_rows(rows[first - 1], table):
        return _in_rows(rows[first - 1 :])
    if _number(table[0][0]) is None:
        return _in_rows(table)
    return _in_columns(heading, rows[first - 1] if first else [], _matrix(table), path)


def _cells(lines: list[str]) -> list[Cells]:
    """The words of each line, by the delimiter that the last line has."""
    last = lines[-1] if lines else ""
    mark = next((mark for mark in ";\t," if mark in last), None)
    if mark is None:
        return [line.lstrip("#% ").split() for line in lines]
    plain = [line.lstrip("#%") for line in lines]
    rows = [[word.strip() for word in row] for row in csv.reader(plain, delimiter=mark)]
    if mark == ";":  # where decimals have commas
        rows = [[re.sub(r"^([-+]?\d*),(\d+)", r"\1.\2", word) for word in row] for row in rows]
    # A delimiter at the end of each line makes no column.
    if all(row and row[-1] == "" for row in rows[-2:]):
        rows = [row[:-1] if row[-1] == "" else row for row in rows]
    return [row or [""] for row in rows]


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _value(word: str) -> float:
    """A number; an empty cell is no value. Raises where it is neither."""
    return float(word) if word else np.nan


def _is_data(row: Cells) -> bool:
    """Numbers, perhaps after a name."""
    numbers = [_number(word) is not None or not word for word in row[1:]]
    if len(row) == 1:
        return _number(row[0]) is not None
    return all(numbers) and any(row[1:])


def _matrix(table: list[Cells]) -> NDArray[np.float64]:
    width = len(table[0])
    for count, row in enumerate(table, start=1):
        if len(row) != width:
            raise ValueError(
                f"row {count} of its table has {len(row)} cells, the first has {width}"
            )
    try:
        values = np.array([[_value(word) for word in row] for row in table])
    except ValueError as error:
        raise ValueError(f"its table must hold numbers only: {printable(error, 100)}") from None
    return _known(values)


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values < DELETED, np.nan, values)


def _names_rows(heading: Cells, table: list[Cells]) -> bool:
    """Whether the last heading line gives wavelengths, with their unit perhaps, to rows that begin with a name."""
    return (
        len(heading) == len(table[0]) > 2
        and bool(_NAME.match(heading[0]))
        and all(_band_centre(word) is not None for word in heading[1:])
    )


def _band_centre(word: str) -> float | None:
    """The number in "450", "450 nm", "0.45um", or R's "X450"."""
    found = re.fullmatch(
        r"(?:X(?=\d{3}))?(\d+\.?\d*(?:[eE][-+]?\d+)?)\s*(?:nm|um|[\u00b5\u03bc]m)?", word
    )
    return None if found is None else float(found[1])


def _in_rows(table: list[Cells]) -> Library:
    """One spectrum a row, after its name; the first row may hold the wavelengths."""
    head, centres = table[0], None
    words = [_band_centre(word) for word in head[1:]]
    named = bool(
        _NAME.match(head[0]) or _WAVE.search(head[0]) or _UM.search(head[0]) or _NM.search(head[0])
    )
    if all(word is not None for word in words) and (named or _like_wavelengths(words)):
        unit = " ".join([head[0], *head[1:2]])
        centres = to_nm(np.array(words, dtype=np.float64), unit)
        table = table[1:]
    if not table:
        raise ValueError("it holds wavelengths, but no spectrum")
    values = _matrix([row[1:] for row in table])
    return Library(values, tuple(row[0] for row in table), centres)


def _like_wavelengths(values: list[float | None] | NDArray[np.float64]) -> bool:
    """Strictly rising or falling, and of the size of wavelengths in nm."""
    array = np.array(values, dtype=np.float64)
    steps = np.diff(array)
    one_way = len(array) > 1 and bool((steps > 0).all() or (steps < 0).all())
    return one_way and bool(array.min() >= SHORTEST and array.max() <= LONGEST)


def _in_columns(
    heading: list[str], head: Cells, values: NDArray[np.float64], path: Path
) -> Library:
    """One spectrum a column, after the wavelengths or the numbers of the bands."""
    facts = _facts(heading)
    width = values.shape[1]
    if facts:
        columns = [facts.get(f"column {i + 1}", "") for i in range(width)]
        head = columns if any(columns) else ["", *[facts.get("name", path.stem)] * (width - 1)]
        x_unit = facts.get("x units", columns[0])
        percent = "percent" in facts.get("y units", "").lower()
        known = "x units" in facts
    else:
        x_unit, percent, known = head[0] if head else "", False, False
    if len(head) != width:
        head = [""] * width
    if width == 1:  # USGS: a title, then a value a line
        title = heading[-1].split(":")[-1].strip() if heading else path.stem
        return Library(values.T, (title or path.stem,))
    unit = _WAVE.search(x_unit) or _UM.search(x_unit) or _NM.search(x_unit)
    spectra, names = values[:, 1:].T, tuple(head[1:]) if any(head[1:]) else ()
    scale = 100.0 if percent else 1.0
    if known or unit:
        return Library(spectra / scale, names, to_nm(values[:, 0], x_unit), scale=scale)
    if _COUNT.match(x_unit):
        return Library(spectra / scale, names, scale=scale)
    if _like_wavelengths(values[:, 0]):
        warnings.warn(
            f"read_library: the first column of {printable(path)} has no heading that says so and is taken for "
            f"wavelengths in nm ({values[0, 0]:g} to {values[-1, 0]:g})",
            UserWarning,
            stacklevel=2,
        )
        return Library(spectra, names, values[:, 0])
    if any(head):
        return Library(values.T, tuple(head))  # every column is named: all are spectra
    if len(values) <= width:
        return Library(values)
    raise ValueError(
        f"its {len(values)} rows of {width} numbers must have a heading (wavelength_nm,name,...), or be one spectrum "
        "a row"
    )


def _facts(heading: list[str]) -> dict[str, str]:
    """The ``Key: value`` lines of a heading, keys in lower case."""
    pairs = [re.match(r"\W*([A-Za-z][\w .()]*?)\s*:\s*(.*)", line) for line in heading]
    found = {pair[1].lower(): " ".join(pair[2].split()) for pair in pairs if pair}
    known = {"x units", "y units", "name"} & found.keys()
    return found if known or any(key.startswith("column ") for key in found) else {}


def to_nm(values: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
    """Wavelengths in nm, by the unit in a heading; without one, by their size, and said so for micrometres.

    Examples
    --------
    >>> to_nm(np.array([0.4, 2.5]), "Wavelength (micrometers)").tolist()
    [400.0, 2500.0]
    """
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("its wavelengths must be finite and above 0")
    if _UM.search(unit):
        return values * 1e3
    if _NM.search(unit) or values.max() >= 100:
        return values
    warnings.warn(
        f"read_library: wavelengths of {values.min():g} to {values.max():g} without a unit are taken for micrometres",
        UserWarning,
        stacklevel=2,
    )
    return values * 1e3
