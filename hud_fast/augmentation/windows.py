"""Windows around pixels: what classifiers learn from, cut so that none sees the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
REACH = 3  # pixels around the one in the middle
SIDE = 2 * REACH + 1


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows with the class of the pixel in the middle of each.

    Attributes
    ----------
    values : (n, 7, 7, C) float32
    classes : (n,) int64
        The user's numbers.
    """

    values: Array
    classes: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Windows]) -> Windows:
        """One after the other."""
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.classes for part in parts]),
        )

    def at(self, index: NDArray[np.integer]) -> Windows:
        """Some of them."""
        return Windows(self.values[index], self.classes[index])


@dataclass(frozen=True, eq=False)
class Training:
    """What a classifier learns: windows, and how much each of them counts.

    Attributes
    ----------
    windows : Windows
    weights : (n,) float64
    numbers : tuple of int
        All classes, in the order of a classifier's scores.
    """

    windows: Windows
    weights: NDArray[np.float64]
    numbers: tuple[int, ...]

    @property
    def index(self) -> NDArray[np.int64]:  # (n,)
        """The classes as their places in `numbers`."""
        return np.searchsorted(self.numbers, self.windows.classes).astype(np.int64)

    @property
    def spectra(self) -> Array:  # (n, C)
        """The pixels in the middle."""
        middle = self.windows.values.shape[1] // 2
        return self.windows.values[:, middle, middle]


def own_side(
    cube: Array,  # (H, W, C)
    area: NDArray[np.bool_],  # (H, W)
) -> Array:  # (H, W, C)
    """The cube with every pixel outside `area` replaced by the nearest one inside.

    Windows cut from it hold pixels of `area` alone: none crosses to the other side.
    """
    from scipy.ndimage import distance_transform_edt

    if not area.any():
        raise ValueError("own_side: `area` must hold a pixel, got none")
    rows, columns = distance_transform_edt(~area, return_distances=False, return_indices=True)
    return np.ascontiguousarray(cube[rows, columns])


def cut_windows(
    images: Array,  # (n, H, W, F)
    places: tuple[NDArray[np.integer], ...],  # image, row, column: (m,) each
    reach: int = REACH,
) -> Array:  # (m, 2 reach + 1, 2 reach + 1, F)
    """The windows around these pixels; beyond the image's border its last pixels are repeated."""
    if reach == 0:
        pixels: Array = images[places][:, None, None]
        return pixels
    around = (0, 0), (reach, reach), (reach, reach), (0, 0)
    padded = np.pad(images, around, mode="edge")
    side = 2 * reach + 1
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    return np.ascontiguousarray(np.moveaxis(views[places], 1, -1))
