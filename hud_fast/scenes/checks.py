"""Checks of a scene's fields, shared by `Scene` and the readers. Each returns the clean value or raises."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._checks import check_number, refuse_masked
from hud_fast._limits import available_memory
from hud_fast._text import size_text


def array_of(function: str, name: str, values: Any) -> NDArray[Any]:
    """`values` as a numpy array; a tensor is brought to the host. Masked values are refused."""
    refuse_masked(function, name, values)
    try:
        if hasattr(values, "detach"):
            values = values.detach().resolve_neg().cpu()
            if values.dtype.is_floating_point and values.dtype.itemsize < 4:
                values = values.float()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:  # sparse, meta, a class
        raise TypeError(
            f"{function}: `{name}` must be an array or what numpy makes one of, got {type(values).__name__}"
        ) from error
    if 0 in array.strides:  # one number repeated: it may be larger than the machine
        room_for(function, name, 8 * array.size)
    return array


def whole_number(function: str, name: str, value: Any, least: int = 1) -> int:
    """An int of at least `least`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except (TypeError, RuntimeError):  # the second of a tensor without values
        raise TypeError(
            f"{function}: `{name}` must be a whole number above {least - 1}, got {value!r}"
        ) from None
    if number < least:
        raise ValueError(
            f"{function}: `{name}` must be a whole number above {least - 1}, got {number}"
        )
    return number


def real_cube(function: str, cube: Any) -> NDArray[Any]:  # (H, W, C)
    """Three axes, real numbers, not empty; a tensor is brought to the host."""
    array = array_of(function, "cube", cube)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: `cube` must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{function}: `cube` must have shape (H, W, C), none of them 0, got {array.shape}"
        )
    return array


def room_for(function: str, name: str, size: int) -> None:
    """Refuse what does not fit into the memory that is free now, `size` bytes for the sake of `name`."""
    free = available_memory()
    if free is not None and size > free:
        raise MemoryError(
            f"{function}: `{name}` must fit into memory, which takes {size_text(size)}, got {size_text(free)} free"
        )


def positive(function: str, name: str, value: float) -> float:
    """A finite number above zero."""
    size = check_number(function, name, value)
    if not (np.isfinite(size) and size > 0):
        raise ValueError(f"{function}: `{name}` must be finite and above 0, got {value!r}")
    return size


def positive_per_band(
    function: str, name: str, values: ArrayLike | None, bands: int
) -> NDArray[np.float64] | None:  # (C,)
    """One finite positive number a band."""
    return _per_band(function, name, values, bands, 0.0, "finite and above 0")


def finite_per_band(
    function: str, name: str, values: ArrayLike | None, bands: int
) -> NDArray[np.float64] | None:  # (C,)
    """One finite number a band."""
    return _per_band(function, name, values, bands, -np.inf, "finite")


def _per_band(
    function: str, name: str, values: ArrayLike | None, bands: int, above: float, words: str
) -> NDArray[np.float64] | None:  # (C,)
    if values is None:
        return None
    given = array_of(function, name, values)
    if given.dtype.kind not in "fiub":
        raise TypeError(f"{function}: `{name}` must hold numbers, got {given.dtype}")
    if given.size != bands:
        raise ValueError(
            f"{function}: `{name}` must hold one number for each of the {bands} bands, "
            f"got {given.size}"
        )
    array: NDArray[np.float64] = given.astype(np.float64).ravel()
    wrong = np.flatnonzero(~(np.isfinite(array) & (array > above)))
    if wrong.size:
        raise ValueError(
            f"{function}: `{name}` must be {words}, got {array[wrong[0]]} at band {wrong[0]}"
        )
    return array


def flags(
    function: str, name: str, values: ArrayLike | None, shape: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Booleans, or numbers that are 0 and 1 only, of this shape."""
    if values is None:
        return None
    array = array_of(function, name, values)
    if len(shape) == 1:
        array = array.reshape(-1)  # a view, where one number is repeated
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
    array = array_of(function, "labels", values)
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
        raise ValueError(
            f"{function}: `labels` must be 0 (unlabelled) or more, got {array.min()}: what stands for no label must "
            "be 0, or the no-data value that the file declares"
        )
    return array


def names(function: str, name: str, values: Any, count: int | None = None) -> Sequence[object]:
    """A tuple or list, of so many."""
    if not isinstance(values, (tuple, list)):
        kind = type(values).__name__
        raise TypeError(f"{function}: `{name}` must be a tuple of names, got {kind}")
    if count is not None and len(values) != count:
        raise ValueError(
            f"{function}: `{name}` must hold a name for each of the {count} bands, got {len(values)}"
        )
    return values


def rgb_bands(
    function: str, values: Sequence[int] | None, bands: int
) -> tuple[int, int, int] | None:
    """Three 0-based bands."""
    if values is None:
        return None
    given = array_of(function, "rgb_bands", values)
    if given.dtype.kind not in "iuf" or (given.dtype.kind == "f" and not (given % 1 == 0).all()):
        raise TypeError(f"{function}: `rgb_bands` must be three bands, got {values!r:.60}")
    chosen = tuple(int(band) for band in given.reshape(-1))
    if len(chosen) != 3 or not all(0 <= band < bands for band in chosen):
        raise ValueError(
            f"{function}: `rgb_bands` must be three bands in 0..{bands - 1}, got {chosen}"
        )
    return chosen[0], chosen[1], chosen[2]
