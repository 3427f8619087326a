"""Wavelengths and band widths in nm, whatever a file calls them. One place for all formats.

A unit that is a length or a wavenumber is followed; without one, the range of the values decides. Where the unit and
the range disagree (nanometres from 0.4 to 2.4), the range wins and it is told. Band numbers are no wavelengths.

Some bands may have none: PRISMA's files say 0 for bands that are switched off. `nanometres` gives NaN there, and
`close_gaps` settles it for the scene: such a band is flagged bad, so that nothing learns from it, and gets a value
between its neighbours', because a scene's wavelengths are positive numbers. Never silently.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._text import listed, printable

if TYPE_CHECKING:
    from hud_fast.scenes.raw import RawScene

# nm in one of the unit; words in lower case, without blanks, brackets and a plural's s
LENGTHS = {
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micrometer", "micrometre", "micron", "mum"), 1e3),
    **dict.fromkeys(("angstrom", "\u00e5ngstr\u00f6m", "\u00e5"), 0.1),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e6),
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
}
WAVENUMBERS = ("wavenumber", "cm-1", "1/cm", "percm", "inversecm", "1/centimeter", "kayser")
NO_LENGTHS = ("index", "band", "bandnumber", "channel", "ghz", "mhz", "thz")
# Where band centres of imaging spectrometers lie, with room: 100 nm to 0.1 mm.
SHORTEST, LONGEST = 100.0, 1e5
LARGEST_UM = 100.0  # numbers below are micrometres
LARGEST_M = 1e-3  # numbers below are metres
NARROWEST = 0.1  # nm; narrower bands than this were meant in micrometres


def nanometres(
    values: ArrayLike, unit: str | None = None, *, function: str = "load_scene"
) -> NDArray[np.float64] | None:
    """Wavelengths in nm, NaN where a value is not above 0; None, with a warning, where they are none.

    Examples
    --------
    >>> nanometres([0.45, 0.55], "Micrometers").tolist(), nanometres([25000, 20000], "cm-1").tolist()
    ([450.0, 550.0], [400.0, 500.0])
    >>> nanometres([0.45, 0.55, 0.65]).tolist()
    [450.0, 550.0, 650.0]
    """
    result, remark = _converted(values, unit)
    if remark is not None:
        lost = "left out: they" if result is None else "read by their range: they"
        _warn(function, f"the wavelengths are {lost} {remark}")
    return result


def given(values: ArrayLike) -> NDArray[np.float64]:
    """Wavelengths that the user gives, in nm. What are none is an error."""
    array = np.asarray(values, np.float64).ravel()
    if (array < 0).any() or not (array > 0).any():
        return array  # the check of the scene's fields says which is wrong
    result, remark = _converted(array, None)
    if result is None:
        raise ValueError(
            f"load_scene: `wavelengths` must be band centres in nm or micrometres, got values that {remark}"
        )
    return result


def widths(
    values: ArrayLike,
    unit: str | None = None,
    centres: ArrayLike | None = None,  # as the file has them
    wavelengths: NDArray[np.float64] | None = None,  # the same in nm
    *,
    function: str = "load_scene",
) -> NDArray[np.float64] | None:
    """Band widths (fwhm) in nm, in the unit of the centres where there are some; None where they are none.

    A width of 0 becomes its neighbours'.

    Examples
    --------
    >>> widths([0.01, 0.012], None, [0.45, 0.55], nanometres([0.45, 0.55])).round(6).tolist()
    [10.0, 12.0]
    >>> widths([10, 12], "Nanometers").tolist()
    [10.0, 12.0]
    """
    array = _positive(values)
    there = np.isfinite(array)
    if not there.any():
        _warn(function, "the band widths (fwhm) are left out: none is above 0")
        return None
    word = _word(unit)
    if wavelengths is not None and centres is not None:
        with np.errstate(divide="ignore", invalid="ignore"):  # right for wavenumbers, too
            array = array * (wavelengths / np.asarray(centres, np.float64).ravel())
        middle = float(np.nanmedian(wavelengths))
    elif word in WAVENUMBERS:
        _warn(function, "the band widths (fwhm) are left out: wavenumbers without band centres")
        return None
    else:
        array = array * LENGTHS.get(word, 1e3 if np.nanmedian(array) < NARROWEST else 1.0)
        middle = np.inf
    if not np.isfinite(array).any():
        return None
    width = float(np.nanmedian(array))
    other = 1e-3 if width > middle else 1e3 if width < NARROWEST else 1.0
    if other != 1.0 and unit is not None:  # without a unit nothing is contradicted
        _warn(
            function,
            f"the band widths (fwhm) are taken for {'nm' if other < 1 else 'micrometres'}, in the unit of the "
            f"wavelengths they would be {width:.4g} nm",
        )
    lost = int((~there if wavelengths is None else ~there & np.isfinite(wavelengths)).sum())
    if lost:
        _warn(function, f"{lost} band widths (fwhm) are not above 0: their neighbours' are taken")
    return _closed(array * other)


def close_gaps(raw: RawScene, *, flag: bool) -> None:
    """Give bands without a wavelength one between their neighbours', and flag them bad (unless not `flag`)."""
    centres, bands = raw.wavelengths, raw.cube.shape[2]
    if centres is None or np.size(centres) != bands:
        return
    centres = np.asarray(centres, np.float64).ravel()
    gaps = np.isnan(centres) | (centres == 0)
    if not gaps.any() or gaps.all():
        return
    told = f"bands {listed(np.flatnonzero(gaps))} (from 0) have no wavelength"
    raw.wavelengths = _closed(np.where(gaps, np.nan, centres))
    if not flag:
        _warn("load_scene", f"{told}, they get one between their neighbours'")
        return
    _warn("load_scene", f"{told} and are flagged bad (good_bands= decides otherwise)")
    if raw.good_bands is None:
        raw.good_bands = ~gaps
    elif np.size(raw.good_bands) == bands:  # else the check says what is wrong with it
        raw.good_bands = np.asarray(raw.good_bands).ravel().astype(bool) & ~gaps


def are_band_numbers(values: ArrayLike, unit: str | None = None) -> bool:
    """Whether they count bands: 1, 2, ..., or from 0, or some of these.

    Examples
    --------
    >>> are_band_numbers([1, 2, 3]), are_band_numbers([4, 5, 8, 9]), are_band_numbers([400, 401, 402])
    (True, True, False)
    """
    array = np.asarray(values, np.float64).ravel()
    if array.size < 2 or not (array == np.rint(array)).all():
        return False
    steps = np.diff(array)
    if (steps == 1).all() and array[0] in (0, 1):
        return True
    longer = LENGTHS.get(_word(unit), 1.0) > 1.0  # 8, 9, ... um is a thermal sensor
    return bool(0 <= array[0] < SHORTEST and (steps > 0).all() and np.median(steps) == 1) and (
        not longer
    )


def _converted(
    values: ArrayLike, unit: str | None
) -> tuple[NDArray[np.float64] | None, str | None]:
    """The values in nm, or None; and what is to be said of them."""
    word, array = _word(unit), _positive(values)
    if not np.isfinite(array).any():
        return None, "are not above 0"
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if word in NO_LENGTHS:
        return None, f"are in {printable(unit, 40)}, which is no length"
    if are_band_numbers(values, unit):
        return None, f"are band numbers, {np.min(values):g} to {np.max(values):g}"
    if array.size > 2 and low == high:
        return None, f"are all {low:g}"
    name, factor = _by_range(high)
    if word in WAVENUMBERS:
        result = 1e7 / array
    elif word in LENGTHS:
        result = array * LENGTHS[word]
    else:
        return array * factor, None
    if not _is_usual(result) and _is_usual(array * factor):
        return (
            array * factor,
            f"are {low:g} to {high:g}, which is {name}, where the unit says {printable(unit, 40)}",
        )
    return result, None


def _by_range(high: float) -> tuple[str, float]:
    if high < LARGEST_M:
        return "m", 1e9
    return ("micrometres", 1e3) if high < LARGEST_UM else ("nm", 1.0)


def _is_usual(centres: NDArray[np.float64]) -> bool:
    return bool(np.nanmin(centres) >= SHORTEST and np.nanmax(centres) <= LONGEST)


def _word(unit: str | None) -> str:
    """A unit's word as the tables have it."""
    word = (unit or "").lower().replace("\u207b\u00b9", "-1").replace("**", "").replace("^", "")
    word = re.sub(r"[\s\[\](){}\"'._]", "", word)
    return word[:-1] if len(word) > 2 and word.endswith("s") else word


def _positive(values: ArrayLike) -> NDArray[np.float64]:
    """The values as a list, NaN where they are not above 0 or infinite."""
    array = np.asarray(values, np.float64).ravel()
    return np.where(np.isfinite(array) & (array > 0), array, np.nan)


def _closed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN replaced by what lies between the neighbours."""
    there, bands = np.isfinite(values), np.arange(values.size)
    return values if there.all() else np.interp(bands, bands[there], values[there])


def _warn(function: str, text: str) -> None:
    warnings.warn(f"{function}: {text}", UserWarning, stacklevel=4)
