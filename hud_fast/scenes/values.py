"""From a scene's cube to the numbers that a file holds: file value = cube * scale, in the file's data type.

A scene of a file that keeps gains and offsets (file value * gain + offset = cube * scale) goes back into numbers of the
same integer type by them, where the format has words for them. Elsewhere cube * scale is written, without gains.

Integers are rounded and clipped to the type's range. Rounding that would spoil the scene (reflectance in
0..1 written as integers, say) is refused, not done silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from hud_fast.scenes.scene import Scene

ROWS_A_BLOCK = 32
# Root mean square of the rounding error over that of the values. Counts of 100 or more stay below 0.003.
COARSEST = 0.01


def real_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """A data type of real numbers."""
    try:
        kind = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"save_scene: `dtype` must be a data type, got {dtype!r}") from None
    if kind.kind not in "fiu":
        raise TypeError(f"save_scene: `dtype` must be of real numbers, got {kind}")
    return kind


def keeps_gains(scene: Scene, dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this type are written by the scene's gains and offsets."""
    calibrated = scene.gains is not None or scene.offsets is not None
    if not calibrated or scene.dtype is None or dtype.kind not in "iu":
        return False
    return dtype.newbyteorder("=") == scene.dtype.newbyteorder("=")


def file_values(
    cube: NDArray[np.float32],  # (H, W, C)
    valid: NDArray[np.bool_],  # (H, W)
    scale: float,
    dtype: np.dtype[Any],
    ignore_value: float | None,  # file units; None = leave masked pixels as they are
    gains: NDArray[np.float64] | None = None,  # (C,)
    offsets: NDArray[np.float64] | None = None,  # (C,)
) -> NDArray[Any]:  # (H, W, C) of dtype
    """The values to write: (cube * scale - offsets) / gains."""
    out = np.empty(cube.shape, dtype)
    whole = dtype.kind in "iu"
    error = power = 0.0
    for start in range(0, len(cube), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        block: NDArray[Any] = cube[rows]
        if scale != 1.0 or dtype.itemsize > 2:  # float32 holds integers of 16 bits exactly
            block = block.astype(np.float64) * scale
        if offsets is not None:
            block = block - offsets
        if gains is not None:
            block = block / gains
        if whole:
            rounded = np.rint(block)
            known = valid[rows][..., None] & np.isfinite(block)  # a bad band may lack values
            pair = (
                (rounded - block, block)
                if known.all()
                else ((rounded - block)[known], block[known])
            )
            error += float(np.vdot(pair[0], pair[0]))
            power += float(np.vdot(pair[1], pair[1]))
            low, high = integer_range(dtype)
            if not known.all():
                fill = 0.0 if ignore_value is None else ignore_value
                rounded = np.nan_to_num(rounded, nan=fill, posinf=high, neginf=low)
            block = np.clip(rounded, low, high)
        with np.errstate(over="ignore"):
            out[rows] = block
        if ignore_value is not None:
            out[rows][~valid[rows]] = np.asarray(ignore_value).astype(dtype)
    if error > COARSEST**2 * power:
        raise ValueError(
            f"save_scene: `dtype` must hold the scene's values to 1 %, got {dtype}, which rounds them by "
            f"{100 * np.sqrt(error / power):.0f} % (choose float32, or a larger scale)"
        )
    return out


def integer_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The type's smallest and largest number that a float64 can hold without overflowing it."""
    limits = np.iinfo(dtype)
    low, high = float(limits.min), float(limits.max)
    return low, float(np.nextafter(high, 0)) if high > 2**53 else high


def default_ignore_value(dtype: np.dtype[Any]) -> float:
    """The no-data value for masked pixels where the scene has none: -9999, or an unsigned type's largest."""
    if dtype.kind == "u":
        return integer_range(dtype)[1]
    return float(max(-9999, np.iinfo(dtype).min)) if dtype.kind == "i" else -9999.0
