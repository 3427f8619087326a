"""Pixels whose spectrum is spoilt in some bands: cut off at the sensor's ceiling, or fallen to 0.

They are pixels all the same, and are unmixed; but a spectrum with a plateau and holes is no endmember, and stands
further out than any other.

A ceiling is the largest value of the scene, or of a band where the file has a gain for each, that far more values share
than the next smaller one. A pixel is cut off where it is at a ceiling in two bands or more. Pixels that are the same
beside it, too, were not cut off but made so.

A band has fallen out of a pixel where it is 0, and the bands beside it are as bright as in other pixels, and brighter
than noise explains.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROWS_A_BLOCK = 64
LEAST_BANDS = 2  # of one pixel, at the ceiling
SCENE_VALUES, SCENE_TIMES = (
    4,
    4,
)  # values at the scene's ceiling: at least, and times those at the next value
BAND_VALUES, BAND_TIMES = 10, 10  # of one band there are fewer, and more bands to be lucky in
BRIGHT = 0.5  # of a band's median in the scene: the neighbours of what fell out
SEEN = 0.1  # of the pixel's largest value: they stand out
NOISE_TIMES = 10  # of a band's noise, by how far it differs from the mean of its neighbours
MEDIAN_PIXELS = 20_000


def spoilt(
    cube: NDArray[np.float32],  # (H, W, C)
    valid: NDArray[np.bool_],  # (H, W)
    good_bands: NDArray[np.bool_] | None = None,  # (C,)
) -> NDArray[np.bool_]:  # (H, W)
    """Which valid pixels are cut off at a ceiling or have bands that fell to 0.

    Examples
    --------
    >>> cube = np.random.default_rng(0).uniform(100, 1000, (20, 20, 30)).round().astype(np.float32)
    >>> bright = cube[:2] * 8
    >>> cube[:2] = np.minimum(bright, 4000)
    >>> found = spoilt(cube, np.ones((20, 20), bool))
    >>> bool((found[:2] == ((bright >= 4000).sum(-1) >= 2)).all()), bool(found[2:].any())
    (True, False)
    """
    bands = np.arange(cube.shape[-1])
    if good_bands is not None and good_bands.any():
        bands = np.flatnonzero(good_bands)
    if not valid.any() or len(bands) <= LEAST_BANDS:
        return np.zeros(valid.shape, bool)
    return _cut_off(cube, valid, bands) | _fallen(cube, valid, bands)


def _cut_off(
    cube: NDArray[np.float32], valid: NDArray[np.bool_], bands: NDArray[np.intp]
) -> NDArray[np.bool_]:  # (H, W)
    top = _largest(cube, valid, bands, np.full(len(bands), np.inf))
    count = _count(cube, valid, bands, top)
    highest = top == top.max()
    hopeful = count >= BAND_VALUES
    if count[highest].sum() >= SCENE_VALUES:
        hopeful |= highest
    found = np.zeros(valid.shape, bool)
    if hopeful.sum() < LEAST_BANDS:
        return found
    some, limit = bands[hopeful], top[hopeful]
    below = _largest(cube, valid, some, limit)
    fewer = _count(cube, valid, some, below)
    clipped = count[hopeful] >= np.maximum(BAND_VALUES, BAND_TIMES * fewer)
    at_top = limit == top.max()
    if at_top.any():
        n = count[highest].sum()
        others = top[~highest]
        second = max(below[at_top].max(), others.max(initial=-np.inf))
        beside = fewer[at_top & (below == second)].sum() + count[~highest][others == second].sum()
        if n >= max(SCENE_VALUES, SCENE_TIMES * beside):
            clipped |= at_top
    if clipped.sum() < LEAST_BANDS:
        return found
    for start in range(0, len(cube), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        there = cube[rows][..., some[clipped]] == limit[clipped]
        found[rows] = (there.sum(axis=-1) >= LEAST_BANDS) & valid[rows]
    spectra = cube[found][:, bands]
    spectra = spectra[(spectra != top.max()).any(axis=1)]  # nothing is left of the others
    made = len(spectra) > 1 and 2 * len(np.unique(spectra, axis=0)) <= len(spectra)
    return np.zeros_like(found) if made else found


def _largest(
    cube: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bands: NDArray[np.intp],
    limit: NDArray[np.floating],  # (K,)
) -> NDArray[np.float32]:  # (K,)
    """The largest value below the limit, -inf where there is none."""
    found = np.full(len(bands), -np.inf, np.float32)
    for start in range(0, len(cube), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        values = _values(cube[rows], valid[rows], bands)
        if np.isfinite(limit).any():
            values = np.where(values < limit, values, np.float32(-np.inf))
        found = np.maximum(found, values.max(axis=0, initial=-np.inf))
    return found


def _count(
    cube: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bands: NDArray[np.intp],
    value: NDArray[np.floating],  # (K,)
) -> NDArray[np.int64]:  # (K,)
    found = np.zeros(len(bands), np.int64)
    for start in range(0, len(cube), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        found += np.count_nonzero(_values(cube[rows], valid[rows], bands) == value, axis=0)
    return found


def _values(
    cube: NDArray[np.float32], valid: NDArray[np.bool_], bands: NDArray[np.intp]
) -> NDArray[np.float32]:  # (n, K)
    """These bands of the valid pixels, copied only where some are left out."""
    rows = cube.reshape(-1, cube.shape[-1]) if valid.all() else cube[valid]
    return rows if len(bands) == rows.shape[1] else rows[:, bands]


def _fallen(
    cube: NDArray[np.float32], valid: NDArray[np.bool_], bands: NDArray[np.intp]
) -> NDArray[np.bool_]:  # (H, W)
    found = np.zeros(valid.shape, bool)
    places = np.flatnonzero(valid)
    sample = places[:: -(-len(places) // MEDIAN_PIXELS)]
    known = cube.reshape(-1, cube.shape[-1])[sample][:, bands]
    median = np.median(known, axis=0)  # (K,)
    rough = known[:, 1:-1] - (known[:, :-2] + known[:, 2:]) / 2
    rough = np.abs(rough - np.median(rough, axis=0))
    noise = np.pad(1.5 * np.median(rough, axis=0), 1, mode="edge")  # (K,)
    order = np.arange(len(bands))
    for start in range(0, len(cube), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        holes = ((cube[rows] == 0).any(axis=-1)) & valid[rows]
        if not holes.any():
            continue
        y = cube[rows][holes][:, bands]  # (n, K)
        there = y != 0
        # the nearest band that is not 0, to the left and to the right
        left = np.maximum.accumulate(np.where(there, order, -1), axis=1)
        right = np.minimum.accumulate(np.where(there, order, len(order))[:, ::-1], axis=1)[:, ::-1]
        between = ~there & (left >= 0) & (right < len(order))
        beside = left.clip(0), right.clip(max=len(order) - 1)
        bright = y.max(axis=1, keepdims=True) * SEEN
        for near in beside:
            value = np.take_along_axis(y, near, axis=1)
            between &= (value > BRIGHT * median[near]) & (value > bright)
            between &= value > NOISE_TIMES * noise
        usual = np.minimum(median[beside[0]], median[beside[1]])
        between &= (median > 0) & (median > BRIGHT * usual)
        found[rows][holes] = between.any(axis=1)
    return found
