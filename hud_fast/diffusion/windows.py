"""Which windows of a scene can be learned from; gaps of a few pixels, filled so that those around them can.

A missing pixel near valid ones gets the abundances of the nearest: a copy, since a mean of neighbours is a material
that stands nowhere, and has none of their zeros. Windows with such pixels are taken only where those without are
few, and never with more than `MOST` of them. Nothing that measures takes them for data.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REACH = 3.0  # pixels, to a valid one
MOST = 0.1  # of a window
FEW = 0.5  # of the windows that there are with gaps filled


def free_windows(
    valid: NDArray[np.bool_],  # (H, W)
    crop: int,
) -> NDArray[np.int64]:  # (n, 2)
    """Top-left corners (row, column) of all `crop` x `crop` windows whose pixels are all valid."""
    return np.argwhere(window_sums(valid, crop) == crop * crop).astype(np.int64)


def window_sums(
    flags: NDArray[np.bool_],  # (H, W)
    h: int,
    w: int | None = None,
) -> NDArray[np.int64]:  # (H - h + 1, W - w + 1)
    """How many pixels of each h x w window are set; w is h where it is not given."""
    (H, W), w = flags.shape, w or h
    total = np.zeros((H + 1, W + 1), dtype=np.int64)  # sums over rectangles from the corner
    total[1:, 1:] = np.cumsum(np.cumsum(flags, axis=0, dtype=np.int64), axis=1)
    inside: NDArray[np.int64] = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    return inside


def nearest_valid(
    valid: NDArray[np.bool_],  # (H, W)
) -> NDArray[np.int64]:  # (H, W)
    """The number of each pixel's nearest valid one within reach: its own where it is valid, -1 where there is none.

    Examples
    --------
    >>> nearest_valid(np.array([[True, False, False, False, False, False]])).tolist()
    [[0, 0, 0, 0, -1, -1]]
    """
    from scipy.ndimage import distance_transform_edt

    own = np.arange(valid.size).reshape(valid.shape)
    if valid.all() or not valid.any():
        return np.where(valid, own, -1)
    far, (i, j) = distance_transform_edt(~valid, return_indices=True)
    return np.where(far <= REACH, own[i, j], -1)


def mended(
    maps: Tensor,  # (H, W, ...), NaN where not valid
    valid: NDArray[np.bool_],  # (H, W)
) -> tuple[Tensor, NDArray[np.bool_]]:  # (H, W, ...), (H, W)
    """The maps with their gaps filled, and where that is."""
    if valid.all():
        return maps, np.zeros_like(valid)
    near = nearest_valid(valid)
    filled = ~valid & (near >= 0)
    copied = maps.clone()
    at, source = (torch.from_numpy(one).to(maps.device) for one in (filled, near[filled]))
    copied[at] = maps.flatten(0, 1)[source]
    return copied, filled


def training_windows(
    valid: NDArray[np.bool_],  # (H, W)
    crop: int,
    filled: NDArray[np.bool_] | None = None,  # (H, W)
    *,
    all_of: float | None = None,
) -> NDArray[np.int64]:  # (n, 2)
    """Corners of the windows to learn from: of valid pixels; where these are few, with a few filled ones, too.

    With `all_of` all windows of which at most so much is filled, however many are free.
    """
    free = free_windows(valid, crop)
    if filled is None or not filled.any():
        return free
    known = window_sums(valid | filled, crop) == crop * crop
    most = MOST if all_of is None else all_of
    with_gaps = np.argwhere(known & (window_sums(filled, crop) <= most * crop * crop))
    if all_of is not None:
        return with_gaps.astype(np.int64)
    return free if len(free) >= FEW * len(with_gaps) else with_gaps.astype(np.int64)


def largest_crop(
    valid: NDArray[np.bool_],  # (H, W)
    filled: NDArray[np.bool_] | None,  # (H, W)
    step: int,
) -> int:
    """The largest multiple of `step`, twice it at least, of which a window fits; 0 where none does.

    Examples
    --------
    >>> largest_crop(np.ones((20, 23), bool), None, 4)
    20
    """
    sides = range(min(valid.shape) // step * step, step, -step)
    return next((n for n in sides if len(training_windows(valid, n, filled))), 0)
