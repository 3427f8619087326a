"""Checks of a scene's fields, shared by `Scene` and the readers. Each returns the clean value or raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def real_cube(function: str, cube: Any) -> NDArray[Any]:  # (H, W, C)
    """Three axes, real numbers, not empty; a tensor is brought to the host."""
    if hasattr(cube, "detach"):
        cube = cube.detach().cpu()
        cube = cube.float() if cube.dtype.is_floating_point and cube.dtype.itemsize < 4 else cube
    array = np.asarray(cube)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: `cube` must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{function}: `cube` must have shape (H, W, C), none of them 0, got {array.shape}"
        )
    return array


def positive(function: str, name: str, value: float) -> float:
    """A finite number above zero."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}: `{name}` must be a number, got {value!r}") from None
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{function}: `{name}` must be finite and above 0, got {value!r}")
    return number


def positive_per_band(
    function: str, name: str, values: ArrayLike | None, bands: int
) -> NDArray[np.float64] | None:  # (C,)
    """One finite positive number a band."""
    if values is None:
        return None
    try:
        array = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise TypeError(f"{function}: `{name}` must hold numbers, got {values!r}") from None
    if array.size != bands:
        raise ValueError(
            f"{function}: `{name}` must hold one number for each of the {bands} bands, "
            f"got {array.size}"
        )
    wrong = np.flatnonzero(~(np.isfinite(array) & (array > 0)))
    if wrong.size:
        raise ValueError(
            f"{function}: `{name}` must be finite and above 0, "
            f"got {array[wrong[0]]} at band {wrong[0]}"
        )
    return array


def flags(
    function: str, name: str, values: ArrayLike | None, shape: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Booleans, or numbers that are 0 and 1 only, of this shape."""
    if values is None:
        return None
    array = np.asarray(values)
    if len(shape) == 1:
        array = array.ravel()
    if array.shape != shape:
        raise ValueError(f"{function}: `{name}` must have shape {shape}, got {array.shape}")
    if array.dtype != np.bool_:
        if array.dtype.kind not in "fiu" or not np.isin(array, (0, 1)).all():
            raise TypeError(
                f"{function}: `{name}` must be boolean, or 0 and 1 only, got dtype {array.dtype}"
            )
        array = array.astype(bool)
    return array


def labels(
    function: str, values: ArrayLike | None, shape: tuple[int, int]
) -> NDArray[np.integer[Any]] | None:  # (H, W)
    """Whole numbers >= 0 of the scene's shape."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != shape:
        raise ValueError(
            f"{function}: `labels` must have the scene's shape {shape}, got {array.shape}"
        )
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: `labels` must hold whole numbers, got dtype {array.dtype}")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and (array == np.rint(array)).all()):
            raise TypeError(f"{function}: `labels` must hold whole numbers, got fractions")
        array = array.astype(np.int64)
    if array.min() < 0:
        raise ValueError(f"{function}: `labels` must be 0 (unlabelled) or more, got {array.min()}")
    return array


def rgb_bands(
    function: str, values: Sequence[int] | None, bands: int
) -> tuple[int, int, int] | None:
    """Three 0-based bands."""
    if values is None:
        return None
    try:
        chosen = tuple(int(band) for band in values)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{function}: `rgb_bands` must be three bands, got {values!r}") from None
    if len(chosen) != 3 or not all(0 <= band < bands for band in chosen):
        raise ValueError(
            f"{function}: `rgb_bands` must be three bands in 0..{bands - 1}, got {chosen}"
        )
    return chosen[0], chosen[1], chosen[2]
