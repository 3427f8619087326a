"""RawScene: what a reader found in a file, before scaling and checking. One shape for every format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROWS_A_BLOCK = 32  # a block of a column-major cube reads whole cache lines of 32 rows


@dataclass
class RawScene:
    """File values (any strides, any real dtype) and the side information that came with them."""

    cube: NDArray[Any]  # (H, W, C) view in file units
    format: str
    dtype: np.dtype[Any]
    variable: str | None = None
    wavelengths: NDArray[np.float64] | None = None  # (C,) nm
    fwhm: NDArray[np.float64] | None = None  # (C,) nm
    good_bands: ArrayLike | None = None  # (C,)
    mask: ArrayLike | None = None  # (H, W)
    labels: ArrayLike | None = None  # (H, W)
    rgb_bands: tuple[int, int, int] | None = None
    reflectance_factor: float | None = None  # file value = reflectance * factor
    ignore_value: float | None = None  # file units
    geo: dict[str, str] | None = None
    details: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)  # further fields of Scene, by name


def float_cube(
    values: NDArray[Any],  # (H, W, C), any strides
    scale: float = 1.0,
) -> NDArray[np.float32]:  # (H, W, C), C-contiguous
    """values / scale as float32, by blocks of rows; values beyond float32 become infinite (missing)."""
    out = np.empty(values.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, values.shape[0], ROWS_A_BLOCK):
            rows = slice(start, start + ROWS_A_BLOCK)
            out[rows] = values[rows]
            if scale != 1.0:
                out[rows] /= np.float32(scale)
    return out


def nanometres(values: ArrayLike, unit: str | None = None) -> NDArray[np.float64] | None:
    """Wavelengths in nm. Without a usable unit, values below 100 are taken for micrometres.

    None where the unit is not one of length ("Index", or an unknown word with no numbers to go by).
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0 or not (np.isfinite(array).all() and (array > 0).all()):
        return None
    word = (unit or "unknown").strip().lower()
    if word in {"nanometers", "nanometres", "nanometer", "nanometre", "nm"}:
        return array
    micrometres = {"micrometers", "micrometres", "micrometer", "micrometre", "microns", "micron"}
    if word in micrometres | {"um", "\u00b5m", "\u03bcm"}:
        return array * 1e3
    if word in {"wavenumber", "wavenumbers", "cm-1"}:
        return 1e7 / array
    if word in {"angstroms", "angstrom"}:
        return array / 10.0
    if word in {"millimeters", "millimetres", "mm"}:
        return array * 1e6
    if word in {"meters", "metres", "m"}:
        return array * 1e9
    if word in {"index", "ghz", "mhz"}:
        return None
    return array * 1e3 if array.max() < 100.0 else array
