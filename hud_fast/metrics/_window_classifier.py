"""A linear rule that learns to tell windows of generated pictures from windows of a scene, and is asked elsewhere.

It learns from one half of the scene's tiles (24 x 24 pixels, drawn at random) and one half of the generated blocks, and
is asked about the other halves. Windows lose their colours and contrast first: what is left is local structure, in the
numbers of `_local_features`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.metrics._local_features import Bank, responses, structure_features
from hud_fast.metrics._two_samples import area_under_curve
from hud_fast.metrics.bootstrap import Estimate
from hud_fast.metrics.realism_windows import TILE, Windows, block_windows, tile_windows

Array = NDArray[np.float64]

WINDOW = 20  # pixels; smaller where the blocks are
SPLITS = 5
ENOUGH_TILES, FEWEST_TILES = 24, 8
EVEN = 0.15  # added to a window's standard deviation before dividing by it


@dataclass(frozen=True, eq=False)
class WindowClassifier:
    """Of one split: its filters, and windows of the scene to train and to test."""

    bank: Bank
    real: list[Array]  # features of the windows that train, and of those that test
    side: int
    rng: np.random.Generator  # of this split; goes on with each `auc`

    @classmethod
    def of(
        cls,
        bank: Bank,
        scene: Tensor,  # (H, W, K)
        corners: list[NDArray[np.int64]],  # of each tile's windows
        side: int,
        rng: np.random.Generator,
    ) -> WindowClassifier:
        """Draw the tiles that train and those that test."""
        parts = np.array_split(rng.permutation(len(corners)), 2)
        train, test = (tile_windows([corners[k] for k in part], side, rng) for part in parts)
        return cls(bank, _even_features(bank, scene[None], train, test), side, rng)

    def auc(self, pictures: Tensor) -> float:  # (n, h, w, K)
        """Of windows of the blocks that did not train."""
        n, h, w, _ = pictures.shape
        parts = np.array_split(self.rng.permutation(n), 2)
        train, test = (block_windows(part, (h, w), self.side, self.rng) for part in parts)
        own = _even_features(self.bank, pictures, train, test)
        return area_under_curve((own[0], self.real[0]), (own[1], self.real[1]))


def tile_note(found: int) -> str | None:
    """What so many tiles are too few for."""
    where = f"{found} tiles of {TILE} x {TILE} pixels in the scene"
    if found < FEWEST_TILES:
        return f"the classifier is undefined: {where}, it needs {FEWEST_TILES}"
    if found < ENOUGH_TILES:
        return f"the classifier's verdict is mostly chance: {where}, {ENOUGH_TILES} are enough"
    return None


def over_splits(values: list[float], most: float) -> Estimate | None:
    """Mean and two standard deviations of the splits' values."""
    if not values:
        return None
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    return Estimate(mean, max(0.0, mean - 2 * spread), min(most, mean + 2 * spread))


def _even_features(bank: Bank, pictures: Tensor, *windows: Windows) -> list[Array]:
    """Of windows without their colours and contrast."""
    cut = torch.cat([one.of(pictures) for one in windows])
    spread, mean = torch.std_mean(cut, dim=(1, 2), keepdim=True, correction=0)
    even = (cut - mean) / (spread + EVEN)
    own = responses(even, [bank])[0]
    found = rows(torch.cat([own, structure_features(even)], dim=1))
    return np.split(found, len(windows))


def rows(features: Tensor) -> Array:
    """Features in float64 on the host."""
    found: Array = features.double().cpu().numpy()
    return found
