"""What the bands of a GDAL dataset are: wavelengths and widths, looked for where programs keep them, in this order.

1. GDAL's domain IMAGERY of each band (micrometres); 2. each band's tags ``wavelength`` and ``wavelength_units``;
3. the domain ENVI, or tags of that kind, of the file; 4. an ENVI header beside it; 5. names such as "650 nm".
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.scenes.envi import LARGEST_HEADER, MOST_LINES
from hud_fast.scenes.raw import RawScene, nanometres

Words: TypeAlias = Mapping[str, str]  # keys in lower case, spaces for underscores
Numbers: TypeAlias = NDArray[np.float64]

CENTRE = re.compile(
    r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(nm|nanomet(?:er|re)s?|um|\u00b5m|\u03bcm|micromet(?:er|re)s?|microns?)\b",
    re.IGNORECASE,
)


def describe(raw: RawScene, file: Any, bands: Sequence[int], path: Path) -> None:
    """Fill in wavelengths, widths, flags of bad bands, and names."""
    whole = _whole_file(file, path)
    for unit, centres, widths in _places(file, bands, whole):
        found = None if centres is None else nanometres(centres, unit)
        if found is None or centres is None:
            continue
        raw.wavelengths = found
        if widths is not None:
            raw.fwhm = nanometres(widths, unit or ("um" if centres.max() < 100 else "nm"))
        break
    flags = _of_bands(file, bands, "bbl")
    if flags is None:
        flags = next((n for words in whole if (n := _list(words, "bbl", bands)) is not None), None)
    if flags is not None:
        raw.good_bands = flags != 0
    said = file.descriptions
    raw.band_names = _names([said[band - 1] for band in bands])
    for words in whole:
        text = words.get("reflectance scale factor")
        if text is not None and raw.reflectance_factor is None:
            factor = _number(text)
            raw.reflectance_factor = factor if factor and factor > 0 else None
            raw.details["reflectance scale factor"] = text


def _places(
    file: Any, bands: Sequence[int], whole: Sequence[Words]
) -> Iterator[tuple[str | None, Numbers | None, Numbers | None]]:
    """Unit, centres and widths, from each place that may have them."""
    yield (
        "um",
        _of_bands(file, bands, "central wavelength um", "IMAGERY"),
        _of_bands(file, bands, "fwhm um", "IMAGERY"),
    )
    first = _words(file.tags(bands[0]))
    yield (
        first.get("wavelength units") or first.get("wavelength unit"),
        _of_bands(file, bands, "wavelength"),
        _of_bands(file, bands, "fwhm"),
    )
    for words in whole:
        unit = words.get("wavelength units")
        yield unit, _list(words, "wavelength", bands), _list(words, "fwhm", bands)
    said = file.descriptions
    found = [CENTRE.search(said[band - 1] or "") for band in bands]
    numbers = [nanometres([float(one[1])], one[2].lower()) for one in found if one is not None]
    centres = [float(one[0]) for one in numbers if one is not None]
    yield "nm", np.array(centres) if len(centres) == len(bands) else None, None


def _whole_file(file: Any, path: Path) -> list[Words]:
    """Words of the whole file, in ENVI's manner: of the domain ENVI, its own tags, a header beside it."""
    words: list[Words] = [_words(file.tags(ns="ENVI")), _words(file.tags())]
    for header in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        for name in (header, header.with_suffix(".HDR")):
            if name.is_file():
                words.append(_header(name))
                return words
    return words


def _header(path: Path) -> Words:
    """The fields of an ENVI header beside a file; none, told, where it is no such header."""
    from spectral.io import envi

    text = b""
    with path.open("rb") as file:
        text = file.read(LARGEST_HEADER + 1)
    lines = text.count(b"\n") + text.count(b"\r")
    if len(text) <= LARGEST_HEADER and lines <= MOST_LINES and text.lstrip().startswith(b"ENVI"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fields = envi.read_envi_header(str(path))
        except Exception as error:  # of its parser: whatever
            told: object = error
        else:
            lists = {
                key: ",".join(map(str, value)) if isinstance(value, list) else str(value)
                for key, value in fields.items()
            }
            return _words(lists)
    else:
        told = "it does not begin with ENVI, or is too long"
    warnings.warn(
        f"load_scene: {path.name} beside the scene is left out, no ENVI header: {printable(told, 100)}",
        UserWarning,
        stacklevel=2,
    )
    return {}


def _words(tags: Mapping[Any, Any]) -> dict[str, str]:
    return {" ".join(str(key).lower().replace("_", " ").split()): str(v) for key, v in tags.items()}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _of_bands(
    file: Any, bands: Sequence[int], key: str, domain: str | None = None
) -> Numbers | None:  # (C,)
    """One number of each band's tags; None where a band has none."""
    numbers = []
    for band in bands:
        number = _number(_words(file.tags(band, ns=domain)).get(key))
        if number is None:
            return None
        numbers.append(number)
    return np.array(numbers)


def _list(words: Words, key: str, bands: Sequence[int]) -> Numbers | None:  # (C,)
    """A list of one number a band of the file; None where it is no such list."""
    texts = words.get(key, "").strip().strip("{}").replace(",", " ").split()
    numbers = [_number(text) for text in texts]
    if len(numbers) < max(bands) or None in numbers:
        return None
    every = np.array(numbers, np.float64)
    return every[np.array(bands) - 1] if len(every) != len(bands) else every


def _names(descriptions: Sequence[str | None]) -> tuple[str, ...] | None:
    """Names of the bands; those that say a wavelength and nothing else are none."""
    said = [(text or "").strip() for text in descriptions]
    if not any(said) or all(CENTRE.fullmatch(text) for text in said):
        return None
    return tuple(text or f"band {i}" for i, text in enumerate(said, start=1))
