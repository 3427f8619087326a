"""Which axis is which: from the layout in the file to a band-last view (H, W, C).

Three-axis layouts are the orders of "HWC". Two-axis ones, "CP" (bands x pixels) and "PC" (pixels x bands),
also need the image's shape (H, W); the pixels' order is that of the file's home: column by column in MATLAB
files (`reshape` there), row by row in NumPy files.

Without a word from the user or the file, three axes are read as (H, W, C), as MATLAB and NumPy scenes are by
convention. The values must not speak against it: pixels are mixtures of a few materials, so unfolding the
array along its band axis gives a matrix of low rank, along another axis not. Where that clearly points to
another axis than the convention, we ask.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

THREE_AXES = tuple("".join(order) for order in permutations("HWC"))
TWO_AXES = ("CP", "PC")
LAYOUTS = THREE_AXES + TWO_AXES

SAMPLES_AN_AXIS = 48  # enough for the rank test, cheap on any cube
FEWEST_SAMPLES = 20  # shorter axes have a low rank by themselves
RANK = 5
# Energy beyond rank 5, unfolded along a spatial axis, over that along the bands. Public scenes lie well
# above; asked for is less, since the answer "which layout?" costs the user little.
CLEARLY = 3.0


def check_layout(function: str, layout: str | None) -> str | None:
    """The layout in capitals."""
    if layout is None:
        return None
    word = str(layout).upper()
    if word not in LAYOUTS:
        raise ValueError(
            f"{function}: `layout` must be one of {', '.join(LAYOUTS)}, got {layout!r}"
        )
    return word


def band_last(
    function: str,
    array: NDArray[Any],
    layout: str,
    shape: tuple[int, int] | None,
    column_major: bool,
) -> NDArray[Any]:  # (H, W, C) view
    """The array seen as (H, W, C)."""
    if layout in THREE_AXES:
        if array.ndim != 3:
            raise ValueError(
                f"{function}: `layout` {layout} must meet an array of 3 axes, got shape {array.shape}"
            )
        cube = array.transpose([layout.index(axis) for axis in "HWC"])
        if shape is not None and cube.shape[:2] != shape:
            raise ValueError(
                f"{function}: `shape` must be left out for an array of 3 axes, or be the (H, W) = "
                f"{cube.shape[:2]} that it has as {layout}, got {shape}"
            )
        return cube
    if array.ndim != 2:
        raise ValueError(
            f"{function}: `layout` {layout} must meet an array of 2 axes, got shape {array.shape}"
        )
    if shape is None:
        raise ValueError(f"{function}: `shape` must be (H, W) with layout {layout}, got None")
    height, width = int(shape[0]), int(shape[1])
    pixels_first = array if layout == "PC" else array.T  # (P, C)
    if pixels_first.shape[0] != height * width:
        raise ValueError(
            f"{function}: `shape` must have H * W = {pixels_first.shape[0]} pixels, "
            f"got {height} x {width}"
        )
    if column_major:
        return pixels_first.reshape(width, height, -1).transpose(1, 0, 2)
    return pixels_first.reshape(height, width, -1)


def energy_beyond_rank(array: NDArray[Any]) -> NDArray[np.float64]:  # (3,)
    """For each axis: the share of energy beyond rank 5 of the array unfolded along it (1 for short axes)."""
    steps = [max(1, size // SAMPLES_AN_AXIS) for size in array.shape]
    with np.errstate(over="ignore", invalid="ignore"):
        sample = array[:: steps[0], :: steps[1], :: steps[2]].astype(np.float64)
    finite = np.isfinite(sample) & (np.abs(sample) < np.finfo(np.float32).max)
    if not finite.any():
        return np.ones(3)
    sample = np.where(finite, sample, sample[finite].mean())
    sample /= np.abs(sample).max() or 1.0
    shares = np.ones(3)
    for axis in range(3):
        unfolded = np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1)
        if unfolded.shape[0] >= FEWEST_SAMPLES:
            energies = np.linalg.eigvalsh(unfolded @ unfolded.T)  # ascending
            shares[axis] = energies[:-RANK].clip(0).sum() / max(energies.sum(), 1e-300)
    return shares


def guess_layout(
    function: str,
    array: NDArray[Any],  # three axes
    bands: int | None = None,
) -> str:
    """The layout of a three-axis array; `bands`, if known, settles it where one axis alone has that length."""
    if bands is not None:
        fitting = [axis for axis in range(3) if array.shape[axis] == bands]
        if len(fitting) == 1:
            return ("CHW", "HCW", "HWC")[fitting[0]]
    if array.shape[2] < FEWEST_SAMPLES:
        return "HWC"  # too few on the conventional band axis for its rank to say anything
    beyond = energy_beyond_rank(array)
    best = int(beyond.argmin())
    if best != 2 and beyond[2] > 1e-9 and beyond[2] > CLEARLY * beyond[best]:
        raise ValueError(
            f"{function}: `layout` must be given for this array of shape {array.shape}: its values look "
            f"like {('CHW', 'HCW', 'HWC')[best]} (bands on axis {best}), by convention it would be HWC; "
            "got None"
        )
    return "HWC"
