"""Where the judge looks: windows of a scene or of blocks, each in a random turn, cut all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.metrics.real_blocks import draw
from hud_fast.metrics.samples import whole_windows

Indices = NDArray[np.int64]

TILE = 24  # pixels, of the scene's parts that train or test the classifier
WINDOWS = 160  # of a class, to train and to test


@dataclass(frozen=True, eq=False)
class Windows:
    """Places of m windows of one size; which of several pictures, upper left corner, turn."""

    which: Indices  # (m,)
    corner: Indices  # (m, 2)
    turn: Indices  # (m,) of 8: 1 turns rows about, 2 columns, 4 swaps them where the window is a square
    size: tuple[int, int]

    def of(self, pictures: Tensor) -> Tensor:  # (n, H, W, K) -> (m, h, w, K)
        """Cut them out."""
        (h, w), (_, H, W, K) = self.size, pictures.shape
        row, column = (
            np.where(self.turn[:, None] & bit, side - 1 - np.arange(side), np.arange(side)) + first
            for bit, side, first in ((1, h, self.corner[:, :1]), (2, w, self.corner[:, 1:]))
        )
        place = ((self.which[:, None] * H + row) * W)[:, :, None] + column[:, None, :]
        if h == w:
            swapped = (self.turn & 4).astype(bool)
            place[swapped] = place[swapped].transpose(0, 2, 1)
        rows = torch.from_numpy(place.reshape(-1)).to(pictures.device)
        return pictures.reshape(-1, K)[rows].reshape(-1, h, w, K)

    def first(self, n: int) -> Windows:
        """The first n of them."""
        return Windows(self.which[:n], self.corner[:n], self.turn[:n], self.size)


def turned(n: int, size: tuple[int, int], rng: np.random.Generator) -> Windows:
    """Each of n pictures whole: which way is up is not judged."""
    return Windows(np.arange(n), np.zeros((n, 2), np.int64), rng.integers(8, size=n), size)


def real_windows(
    whole: Tensor,  # (H - h + 1, W - w + 1) bool
    size: tuple[int, int],
    count: int,
    rng: np.random.Generator,
) -> Windows:
    """Up to `count` different ones from random places of a scene, in random order."""
    corner = draw(whole, count, rng).numpy()
    corner = corner[rng.permutation(len(corner))]
    n = len(corner)
    return Windows(np.zeros(n, np.int64), corner, rng.integers(8, size=n), size)


def tiles(valid: Tensor, side: int) -> list[Indices]:  # each (n, 2)
    """Corners of the whole windows in each tile of the scene that has any."""
    H, W = valid.shape
    if min(H, W) < side:
        return []
    fits = whole_windows(valid, side, side).cpu().numpy()
    tile = max(TILE, side)
    found = []
    for top in range(0, H - side + 1, tile):
        for left in range(0, W - side + 1, tile):
            room = (min(top + tile, H) - side + 1, min(left + tile, W) - side + 1)
            inside = np.argwhere(fits[top : room[0], left : room[1]])
            if len(inside):
                found.append(inside + np.array([top, left]))
    return found


def tile_windows(corners: list[Indices], side: int, rng: np.random.Generator) -> Windows:
    """Windows from these tiles, each tile as often."""
    place, turn = [], []
    for k in range(WINDOWS):
        of = corners[k % len(corners)]
        place.append(of[rng.integers(len(of))])
        turn.append(rng.integers(8))
    return Windows(np.zeros(WINDOWS, np.int64), np.array(place), np.array(turn), (side, side))


def block_windows(
    part: Indices, size: tuple[int, int], side: int, rng: np.random.Generator
) -> Windows:
    """Windows from random places of the blocks of `part`, each block as often."""
    h, w = size
    # row, column and turn of one window after the other
    drawn = rng.integers([h - side + 1, w - side + 1, 8], size=(WINDOWS, 3))
    which = part[np.arange(WINDOWS) % len(part)]
    return Windows(which, drawn[:, :2], drawn[:, 2], (side, side))
