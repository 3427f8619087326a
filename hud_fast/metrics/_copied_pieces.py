"""The largest piece of a block that stands in the scene as it is: one offset, one turn, pixel beside pixel.

`copies` asks whether a whole block is a near copy. A block sewn together from copied pieces is none, so this asks for
the pieces. A pixel of the block and one of the scene match if they lie closer (in the principal components of the
log spectra) than all but a share `MATCH` of the scene's pairs of pixels. Every pair that matches votes for the offset
and turn that would bring it together; of the offsets with most votes the largest connected area (four neighbours) of
matching pixels counts, as a share of the block.

Uniform ground matches by chance, so real blocks stand beside it, held out as in `copies`: offsets within half a block
of their own place do not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MATCH = 5e-4  # share of the scene's pairs of pixels that match by chance
LEAST_REACH = 1e-3  # standard deviations of the scene
PAIRS = 200_000  # drawn to find the distance of that share
CANDIDATES = 12  # offsets whose areas are looked at
MOST = 64  # matches of one pixel that vote: where more match, the ground is uniform


class Pieces:
    """A scene ready to be asked.

    Parameters
    ----------
    scene : array, (H, W, K)
        Maps in space S; NaN where masked.
    """

    def __init__(self, scene: Array, seed: list[int]) -> None:
        H, W, K = scene.shape
        self.width, self.height = W, H
        flat = scene.reshape(-1, K)
        self.rows = np.flatnonzero(np.isfinite(flat).all(axis=1))  # (P,) of the flattened scene
        self.pixels = flat[self.rows]
        rng = np.random.default_rng(seed)
        one, other = rng.integers(len(self.rows), size=(2, PAIRS))
        apart = np.linalg.norm(self.pixels[one] - self.pixels[other], axis=1)
        # pure pixels can be equal to the bit: they match, at any distance above 0
        self.reach = max(float(np.quantile(apart[one != other], MATCH)), LEAST_REACH)
        from scipy.spatial import cKDTree

        self.tree = cKDTree(self.pixels)
        self.scene = flat

    def largest(
        self,
        block: Array,  # (h, w, K)
        origin: Sequence[int] | None = None,
    ) -> float:
        """Share of the block's pixels in its largest copied piece; with `origin`, its own place does not count."""
        h, w, K = block.shape
        pixels = block.reshape(-1, K)
        near = min(MOST, len(self.pixels))
        apart, found = self.tree.query(pixels, k=near, distance_upper_bound=self.reach)
        hit = np.isfinite(apart.reshape(len(pixels), -1))
        mine, which = np.nonzero(hit)
        place = self.rows[found.reshape(len(pixels), -1)[mine, which]]
        row, column = np.divmod(place, self.width)
        i, j = np.divmod(mine, w)
        best = 0
        for turn in range(8 if h == w else 4):
            di, dj = _turned(i, j, h, w, turn)
            # offsets from -h and -w on, as one number
            span = self.width + max(h, w)
            offset = (row - di + h) * span + (column - dj + w)
            values, votes = np.unique(offset, return_counts=True)
            order = np.argsort(-votes, kind="stable")[:CANDIDATES]
            for value, count in zip(values[order], votes[order], strict=True):
                if count <= best:
                    break
                down, right = int(value // span) - h, int(value % span) - w
                if origin is not None and (
                    abs(down - origin[0]) < h // 2 and abs(right - origin[1]) < w // 2
                ):
                    continue
                best = max(best, self._area(pixels, h, w, turn, down, right, best))
        return float(best / (h * w))

    def _area(
        self, pixels: Array, h: int, w: int, turn: int, down: int, right: int, least: int
    ) -> int:
        """Pixels of the largest area at this offset; 0 where it cannot be above `least`."""
        i, j = np.divmod(np.arange(h * w), w)
        di, dj = _turned(i, j, h, w, turn)
        row, column = di + down, dj + right
        inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        there = self.scene[np.where(inside, row * self.width + column, 0)]
        alike = inside & (np.square(pixels - there).sum(axis=1) <= self.reach**2)  # NaN is not
        if int(alike.sum()) <= least:
            return 0
        from scipy.ndimage import label

        areas, _ = label(alike.reshape(h, w))
        return int(np.bincount(areas.ravel())[1:].max())


def _turned(
    i: NDArray[np.int64], j: NDArray[np.int64], h: int, w: int, turn: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where pixel (i, j) of a block lies in its orientation: 1 counts rows from below, 2 columns, 4 swaps."""
    i, j = (h - 1 - i if turn & 1 else i), (w - 1 - j if turn & 2 else j)
    return (j, i) if turn & 4 else (i, j)
