"""The text of an ENVI header: fields, and values of the kind that is asked for.

A parser of our own. SPy's opens the file in the locale's encoding and takes a brace that is never closed, or text
behind one, for no header at all; headers are written by hand and by scripts in every country. Here: UTF-8 with or
without its mark, UTF-16, GBK, Latin-1; blank lines and comments anywhere; a brace on the line below its field; what
follows a closing brace left out; a brace that is never closed ends before the next field, and that is told. The last
of a field that stands twice counts, as with GDAL.

What the image cannot be read without must be right. What only describes it is left out with a warning where it is
wrong.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes.band_tables import decoded
from hud_fast.scenes.wavelengths import nanometres, widths

# Those of imaging spectrometers have up to some 100 kB.
LARGEST_HEADER = 1 << 20  # bytes
MOST_LINES = 20_000
NEXT_FIELD = re.compile(r"=\s*\{")
SAME = {"wavelengths": "wavelength", "wavelength unit": "wavelength units", "interleaving": "interleave"}  # fmt: skip


def read_text(path: Path) -> str:
    """The header's text, whatever program it is of.

    Raises
    ------
    ValueError
        If it is longer than any header.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST_HEADER + 1)
    lines = data.count(b"\n") + data.count(b"\r")
    if len(data) > LARGEST_HEADER or lines > MOST_LINES:
        raise ValueError(
            f"load_scene: `path` must be an ENVI header, up to {LARGEST_HEADER} bytes and {MOST_LINES} lines, "
            f"got {path} of {path.stat().st_size} bytes"
        )
    return decoded(data)


def read_header(path: Path) -> Header:
    """The header of this name.

    Raises
    ------
    ValueError
        If it is none.
    """
    return parsed(read_text(path), path)


def parsed(text: str, path: Path) -> Header:
    """The fields of a header's text."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text.strip("\ufeff \t\r\n\0"))]
    first = lines[0] if lines else ""
    if not first.upper().startswith("ENVI"):
        raise ValueError(
            f"load_scene: `path` must be an ENVI header (its first line is ENVI), got {path}, which begins with "
            f"{printable(repr(first), 40)}"
        )
    header = Header(path, {})
    lines = [line for line in lines[1:] if line and not line.startswith(";")]
    closing = [i for i, line in enumerate(lines) if "}" in line]
    opening = [i for i, line in enumerate(lines) if NEXT_FIELD.search(line)]
    equals = [i for i, line in enumerate(lines) if "=" in line]

    def first_from(where: list[int], start: int) -> int:
        at = bisect_left(where, start)
        return where[at] if at < len(where) else len(lines)

    at = 0
    open_ones, twice = [], []  # told once: a hostile header has thousands
    while at < len(lines):
        key, sign, value = lines[at].partition("=")
        at += 1
        if not sign:
            continue
        value = value.strip()
        if not value and at < len(lines) and lines[at].startswith("{"):
            value, at = lines[at], at + 1
        if value.startswith("{") and "}" not in value:
            end = first_from(closing, at)
            if end < min(first_from(opening, at), len(lines)):
                value, at = "\n".join([value, *lines[at : end + 1]]), end + 1
            else:
                end = first_from(equals, at)
                value, at = "\n".join([value, *lines[at:end]]) + "}", end
                open_ones.append(key.strip())
        if value.startswith("{"):
            value = value[: value.index("}") + 1]
        key = " ".join(key.lower().split())
        key = SAME.get(key, key)
        if header.fields.get(key, value) != value:
            twice.append(key)
        header.fields[key] = value
    if open_ones:
        header.warn(f"a brace is never closed: {listed(open_ones)}")
    if twice:
        header.warn(f"fields stand there twice, the last one is taken: {listed(twice)}")
    return header


@dataclass
class Header:
    """Fields of a header: keys in lower case, values as text, lists in their braces."""

    path: Path
    fields: dict[str, str]

    def warn(self, text: str) -> None:
        """Say what is left out, or doubtful."""
        warnings.warn(f"load_scene: {text}, in {self.path}", UserWarning, stacklevel=4)

    def wrong(self, field: str, expected: str, got: object) -> ValueError:
        """The error for a field without which there is no image."""
        return ValueError(
            f"load_scene: `{field}` must be {expected}, got {printable(repr(got), 60)} in {self.path}"
        )

    def words(self, key: str) -> list[str]:
        """A list's entries."""
        inner = self.fields.get(key, "").strip("{}").strip()
        return [word.strip() for word in inner.split(",")] if inner else []

    def text(self, key: str) -> str:
        """A value in one line."""
        return ", ".join(self.words(key))

    def word(self, key: str) -> str:
        """A value without a comment behind it."""
        return self.text(key).split(";")[0].strip()

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int:
        """A whole number that the image needs."""
        text = self.word(key)
        if not text and default is not None:
            return default
        found = re.fullmatch(r"([+-]?[0-9]{1,4000})(\.0*)?", text)
        if found is None:
            raise self.wrong(key, "a whole number", text or None)
        value = int(found[1])
        if value < least:
            raise self.wrong(key, f"{least} or more", value)
        if value >= 1 << 63:
            raise self.wrong(key, "below 2**63", f"a number of {len(text)} digits")
        return value

    def number(self, key: str) -> float | None:
        """A number, or one repeated for each band; left out where it is none."""
        words = set(self.words(key))
        if not words:
            return None
        try:
            values = {float(word.split(";")[0]) for word in words}
        except ValueError:
            values = set()
        if len(values) != 1:
            self.warn(f"`{key}` is left out: {printable(repr(self.text(key)), 60)} is no number")
            return None
        return values.pop()

    def numbers(self, key: str, bands: int) -> NDArray[np.float64] | None:  # (bands,)
        """One number a band; left out where they are none, or of another count."""
        if key not in self.fields:
            return None
        words = [word for word in self.words(key) if word]
        if len(words) == 1:
            words = words[0].split()  # blanks, no commas
        if len(words) != bands:
            self.warn(f"`{key}` is left out: {len(words)} values for {bands} bands")
            return None
        try:
            return np.array([float(word) for word in words])
        except ValueError as error:
            self.warn(f"`{key}` is left out: {printable(error, 60)}")
            return None

    def centres_and_widths(
        self, bands: int
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Wavelengths and fwhm in nm."""
        unit = self.word("wavelength units") or None
        values, across = self.numbers("wavelength", bands), self.numbers("fwhm", bands)
        centres = None if values is None else nanometres(values, unit)
        return centres, None if across is None else widths(across, unit, values, centres)
