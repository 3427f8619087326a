"""Which bands to show as red, green and blue, and the stretch from values to 0..255.

The stretch is linear in each of the three bands between two percentiles of the real scene. It is never taken
from a generated cube itself: pictures side by side would then not be comparable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable

RED_GREEN_BLUE = (640.0, 550.0, 460.0)  # nm
WITHOUT_WAVELENGTHS = (0.5, 0.3, 0.1)  # shares of the bands, about red, green, blue for 0.4-1.0 um
FARTHEST = 60.0  # nm; beyond that the band is not of this colour (an infrared-only sensor)


def choose_bands(
    bands: int,
    wavelengths: NDArray[np.float64] | None,  # (C,) nm
    good_bands: NDArray[np.bool_] | None,  # (C,)
) -> tuple[int, int, int]:
    """The bands nearest to red, green and blue, or at fixed shares of the bands. Bad ones are passed by."""
    good = np.arange(bands)
    if good_bands is not None and good_bands.any():
        good = np.flatnonzero(good_bands)
    if wavelengths is not None:
        distance = np.abs(wavelengths[good] - np.array(RED_GREEN_BLUE)[:, None])
        nearest = good[distance.argmin(axis=1)]
        if len(set(nearest.tolist())) == 3 and distance.min(axis=1).max() <= FARTHEST:
            return int(nearest[0]), int(nearest[1]), int(nearest[2])
    red, green, blue = (int(good[int(share * (good.size - 1))]) for share in WITHOUT_WAVELENGTHS)
    return red, green, blue


def stretch_limits(
    values: NDArray[Any],  # (n, 3) values of valid pixels
    percentiles: tuple[float, float],
) -> NDArray[np.float64]:  # (2, 3)
    """The values shown as 0 and as 255, for each of the three bands."""
    try:
        low, high = (float(number) for number in percentiles)
    except (TypeError, ValueError):
        raise TypeError(
            f"rgb: `percentiles` must be two numbers, got {printable(repr(percentiles), 60)}"
        ) from None
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"rgb: `percentiles` must be two numbers in 0..100, low < high, got {percentiles}"
        )
    finite = values[np.isfinite(values).all(axis=-1)]
    if finite.size == 0:
        raise ValueError("rgb: `cube` must have a valid pixel, got none")
    limits: NDArray[np.float64] = np.percentile(finite.astype(np.float64), (low, high), axis=0)
    return limits


def stretch(
    values: NDArray[Any],  # (..., 3)
    limits: NDArray[np.float64],  # (2, 3)
) -> NDArray[np.uint8]:  # (..., 3)
    """Linear from the limits to 0..255, clipped; missing values are black."""
    low, high = limits
    width = np.where(high > low, high - low, 1.0)
    share = np.nan_to_num((values - low) / width, nan=0.0, posinf=1.0, neginf=0.0)
    levels: NDArray[np.uint8] = np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels
