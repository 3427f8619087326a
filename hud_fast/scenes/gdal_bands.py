"""What the bands of a GDAL dataset are: wavelengths and widths, looked for where programs keep them, in this order.

1. GDAL's domain IMAGERY of each band (micrometres); 2. each band's tags ``wavelength`` and ``wavelength_units``;
3. the domain ENVI, or tags of that kind, of the file; 4. an ENVI header beside it, which is `envi.add_header`'s; 5.
names such as "650 nm".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.raw import RawScene
from hud_fast.scenes.wavelengths import nanometres, widths

Words: TypeAlias = Mapping[str, str]  # keys in lower case, spaces for underscores
Numbers: TypeAlias = NDArray[np.float64]

CENTRE = re.compile(
    r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(nm|nanomet(?:er|re)s?|um|\u00b5m|\u03bcm|micromet(?:er|re)s?|microns?)\b",
    re.IGNORECASE,
)


def describe(raw: RawScene, file: Any, bands: Sequence[int]) -> None:
    """Fill in wavelengths, widths, flags of bad bands, and names."""
    whole = [_words(file.tags(ns="ENVI")), _words(file.tags())]
    for unit, centres, own_widths in _places(file, bands, whole):
        found = None if centres is None else nanometres(centres, unit)
        if found is None or centres is None:
            continue
        raw.wavelengths = found
        if own_widths is not None:
            raw.fwhm = widths(own_widths, unit, centres, found)
        break
    flags = _of_bands(file, bands, "bbl")
    if flags is None:
        flags = next((n for words in whole if (n := _list(words, "bbl", bands)) is not None), None)
    if flags is not None:
        raw.good_bands = flags != 0
    said = file.descriptions  # of all bands at once
    names = [said[band - 1] for band in bands]
    _of_names(raw, names)
    raw.band_names = _names(names)
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


def _of_names(raw: RawScene, names: Sequence[str | None]) -> None:
    """Wavelengths that the bands are called by, where there are no others."""
    said = [CENTRE.search(name or "") for name in names]
    numbers = [nanometres([float(one[1])], one[2].lower()) for one in said if one is not None]
    centres = [float(one[0]) for one in numbers if one is not None]
    if raw.wavelengths is None and len(centres) == len(names):
        raw.wavelengths = np.array(centres)
        raw.details["wavelengths of"] = "band names"


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
