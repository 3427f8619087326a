"""Rows of features or of class probabilities, read in float64 and checked in one way."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import as_numpy

Array = NDArray[np.float64]

SUM_OF_ONE = 1e-3  # how far probabilities of 16 bits may be from their sum


def read_rows(
    function: str, argument: str, value: Any, *, least: int = 2, F: int | None = None
) -> Array:  # (n, F)
    """At least `least` finite rows; of F features where F is known."""
    rows = as_numpy(function, argument, value)
    if rows.ndim != 2 or len(rows) < least or rows.shape[1] < 1:
        raise ValueError(
            f"{function}: `{argument}` must have shape (n, F) with n >= {least} and F >= 1, got {rows.shape}"
        )
    if F is not None and rows.shape[1] != F:
        raise ValueError(
            f"{function}: `{argument}` must have {F} features as the other rows do, got {rows.shape[1]}"
        )
    return finite(function, argument, rows)


def read_two(function: str, generated: Any, real: Any) -> tuple[Array, Array]:  # (n, F), (m, F)
    """Two sets of rows in one space."""
    one = read_rows(function, "generated", generated)
    return one, read_rows(function, "real", real, F=one.shape[1])


def check_seen(function: str, argument: str, count: float) -> None:
    """Refuse fewer than two rows or cubes in all that was seen."""
    if count < 2:
        raise ValueError(
            f"{function}: `{argument}` must hold at least 2 items since the last reset, got {count:g}"
        )


def finite(function: str, argument: str, values: NDArray[Any]) -> Array:
    """`values` in float64; NaN and infinity are refused."""
    wide: Array = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError(f"{function}: `{argument}` must be finite, got NaN or infinity")
    return wide


def check_probabilities(function: str, argument: str, rows: Array) -> Array:  # (..., K)
    """`rows`, each of shares that are not negative and sum to one."""
    total = rows.sum(axis=-1)
    if rows.min() < 0 or np.abs(total - 1).max() > SUM_OF_ONE:
        raise ValueError(
            f"{function}: `{argument}` must hold probabilities that sum to one in each row, got values from "
            f"{rows.min():g} and sums from {total.min():g} to {total.max():g}"
        )
    return rows


def read_groups(function: str, groups: Any, n: int) -> NDArray[np.intp] | None:  # (n,)
    """The group of each of n generated rows, numbered from 0; None stays None."""
    if groups is None:
        return None
    given = as_numpy(function, "groups", groups)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{function}: `groups` must be whole numbers, got {given.dtype}")
    if given.shape != (n,):
        raise ValueError(
            f"{function}: `groups` must have shape ({n},), a number a row of `generated`, got {given.shape}"
        )
    number: NDArray[np.intp] = np.unique(given, return_inverse=True)[1]
    if number.max() == 0:
        raise ValueError(f"{function}: `groups` must be at least 2, got 1")
    return number
