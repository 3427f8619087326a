"""Which axis is which: from the layout in the file to a band-last view (H, W, C).

Three-axis layouts are the orders of "HWC". Two-axis ones, "CP" (bands x pixels) and "PC" (pixels x bands),
also need the image's shape (H, W); the pixels' order is that of the file's home: column by column in MATLAB
files (`reshape` there), row by row in NumPy files.

Without a word from the user or the file, three axes are read as (H, W, C), as MATLAB and NumPy scenes are by
convention. The values must not speak against it: pixels are mixtures of a few materials, so unfolding the
array along its band axis gives a matrix of low rank, along another axis not. Where that clearly points to
another axis than the convention, we ask. An axis of few entries has a low rank by itself; then the other two are
compared, which says less, and we only warn.
"""

from __future__ import annotations

import warnings
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
# The same for a short axis that may be the bands, measured on 950 crops of 19 public scenes: two axes of pixels have
# ratios of 0.5 and more in 99 %, an axis of pixels and one of bands 0.66 and less in 99 %.
ALIKE, LIKELY = 0.8, 0.5
SPREAD = 0.05  # of the variance: the means of bands differ by so much, where rows are alike
NEIGHBOURS = 0.3  # correlation below which the values are noise, and say nothing
# The energy of ranks 6 to 10, over that of as many ranks of white noise with all that is beyond rank 5.
STRUCTURED, LITTLE = 2.5, 1.5

ORDERS = ("CHW", "HCW", "HWC")  # by the axis of bands


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


def sampled(array: NDArray[Any]) -> NDArray[np.float64] | None:
    """At most about twice `SAMPLES_AN_AXIS` entries an axis, scaled to 1; None where none is finite."""
    steps = [max(1, size // SAMPLES_AN_AXIS) for size in array.shape]
    with np.errstate(over="ignore", invalid="ignore"):
        sample = np.asarray(array[:: steps[0], :: steps[1], :: steps[2]]).astype(np.float64)
    finite = np.isfinite(sample) & (np.abs(sample) < np.finfo(np.float32).max)
    if not finite.any():
        return None
    sample = np.where(finite, sample, sample[finite].mean())
    return sample / (np.abs(sample).max() or 1.0)


def energy_beyond_rank(sample: NDArray[np.float64]) -> NDArray[np.float64]:  # (3,)
    """For each axis: the share of energy beyond rank 5 of the array unfolded along it (1 for short axes)."""
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
    """The layout of a three-axis array; `bands`, if known, settles it where one axis alone has that length.

    Raises
    ------
    ValueError
        If the values clearly speak against the convention.

    Warns
    -----
    UserWarning
        If they do, but less clearly.
    """
    if bands is not None:
        fitting = [axis for axis in range(3) if array.shape[axis] == bands]
        if len(fitting) == 1:
            return ORDERS[fitting[0]]
    if sum(size >= FEWEST_SAMPLES for size in array.shape) < 2:
        return "HWC"  # nothing to compare
    sample = sampled(array)
    if sample is None:
        return "HWC"
    beyond = energy_beyond_rank(sample)
    best = int(beyond.argmin())
    if array.shape[2] < FEWEST_SAMPLES:
        other = beyond[1 - best]  # a short band axis leaves two of pixels, which are alike
        if other > 1e-9 and other > CLEARLY * beyond[best]:
            spread, *pixels = (_spread_of_means(sample, axis) for axis in (best, 1 - best, 2))
            if spread > max(
                sum(pixels), SPREAD
            ):  # a smooth picture of few bands has a low rank too
                _warn(function, array, best)
    elif best != 2 and beyond[2] > 1e-9 and beyond[2] > CLEARLY * beyond[best]:
        raise ValueError(
            f"{function}: `layout` must be given for this array of shape {array.shape}: its values look "
            f"like {ORDERS[best]} (bands on axis {best}), by convention it would be HWC; say "
            f'layout="{ORDERS[best]}", or "HWC" where it is; got None'
        )
    else:
        for short in (0, 1):
            if array.shape[short] < FEWEST_SAMPLES and _few_bands(sample, beyond, short):
                _warn(function, array, short)
    return "HWC"


def _few_bands(
    sample: NDArray[np.float64],  # (a, b, c)
    beyond: NDArray[np.float64],  # (3,)
    short: int,
) -> bool:
    """Whether a short axis looks like bands, and the last one, bands by convention, like the other axis of pixels."""
    other = 1 - short
    if beyond[2] <= 1e-9 or min(_correlation(sample, axis) for axis in (other, 2)) < NEIGHBOURS:
        return False
    ratio = beyond[2] / max(beyond[other], 1e-300)
    if ratio <= LIKELY:
        return False
    structure = min(
        _structure(sample, axis) for axis in (other, 2)
    )  # two axes of noise are alike too
    if ratio > ALIKE and structure > STRUCTURED:
        return True
    spread = [_spread_of_means(sample, axis) for axis in (short, 2)]
    return structure > LITTLE and spread[0] > max(CLEARLY * spread[1], SPREAD)


def _structure(sample: NDArray[np.float64], axis: int) -> float:
    """How far from white noise it is what lies beyond rank 5 of the array unfolded along an axis."""
    unfolded = np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1)
    energies = np.linalg.eigvalsh(unfolded @ unfolded.T).clip(0)[:-RANK]
    share = energies[-RANK:].sum() / max(float(energies.sum()), 1e-300)
    return float(share * len(energies) / RANK)


def _correlation(sample: NDArray[np.float64], axis: int) -> float:
    """Of neighbours along an axis."""
    centred = np.moveaxis(sample - sample.mean(), axis, 0)
    a, b = centred[:-1], centred[1:]
    return float((a * b).sum() / max(float((a * a).sum() * (b * b).sum()) ** 0.5, 1e-300))


def _spread_of_means(sample: NDArray[np.float64], axis: int) -> float:
    """The variance of the means along an axis, over that of all values."""
    means = sample.mean(axis=tuple(i for i in range(3) if i != axis))
    return float(means.var() / max(float(sample.var()), 1e-300))


def _warn(function: str, array: NDArray[Any], axis: int) -> None:
    warnings.warn(
        f"{function}: `layout` was not given for an array of shape {array.shape}, which is read as HWC; its values "
        f'look like {ORDERS[axis]} (bands on axis {axis}): say layout="{ORDERS[axis]}", or "HWC" where it is',
        UserWarning,
        stacklevel=4,
    )
