"""What takes two sets of blocks: classifier, Frechet distance, recall and coverage, each repeated over splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.metrics._local_features import Bank, responses, structure_features
from hud_fast.metrics._window_classifier import (
    FEWEST_TILES,
    SPLITS,
    WINDOW,
    WindowClassifier,
    over_splits,
    rows,
    tile_note,
)
from hud_fast.metrics.bootstrap import Estimate
from hud_fast.metrics.frechet import frechet_distance
from hud_fast.metrics.manifold import precision_recall_density_coverage
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.realism_windows import real_windows, tiles

Array = NDArray[np.float64]

FEWEST_BLOCKS = 3  # of which a Gaussian is fitted, and which have neighbours
REFERENCE = 400  # real blocks
AXES = 24  # of whole blocks' statistics
FARTHEST = 5.0  # standard deviations: what hardly varies in a scene would otherwise count alone


def compare(
    pictures: dict[str, Tensor],  # each (n, h, w, K)
    scene: Tensor,  # (H, W, K)
    valid: Tensor,  # (H, W) bool
    whole: Tensor,  # (H - h + 1, W - w + 1) bool
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, dict[str, Estimate | None]], list[str]]:
    """The values of each set against the scene, and notes on what is undefined or doubtful."""
    n, h, w, K = next(iter(pictures.values())).shape
    side = min(WINDOW, h, w)
    corners = tiles(valid, side)
    notes = _notes(n, len(corners))
    places = real_windows(whole, (h, w), REFERENCE, np.random.default_rng([seed, 5]))
    banks = [Bank.drawn(K, [seed, 3, split]) for split in range(SPLITS)]
    reference = _block_features(banks, places.of(scene[None]))
    blocks = {row: _block_features(banks, picture) for row, picture in pictures.items()}
    found: dict[str, list[dict[str, float]]] = {row: [] for row in pictures}
    for split, bank in enumerate(banks):
        rng = np.random.default_rng([seed, 4, split])
        axes = _Axes.of(reference[split])
        real = axes(reference[split])
        classifier = None
        if len(corners) >= FEWEST_TILES:
            classifier = WindowClassifier.of(bank, scene, corners, side, rng)
        for row, picture in pictures.items():
            values: dict[str, float] = {}
            if n >= FEWEST_BLOCKS:
                mine = axes(blocks[row][split])
                values["frechet"] = frechet_distance(mine, real)
                near = precision_recall_density_coverage(mine, real)
                values["recall"], values["coverage"] = near.recall, near.coverage
            if classifier is not None:
                values["classifier"] = classifier.auc(picture)
            found[row].append(values)
        if progress is not None:
            progress(split + 1, SPLITS)
    return {
        row: {
            key: over_splits([one[key] for one in splits if key in one], most)
            for key, most in _MOST.items()
        }
        for row, splits in found.items()
    }, notes


_MOST = {"classifier": 1.0, "frechet": np.inf, "recall": 1.0, "coverage": 1.0}


@dataclass(frozen=True, eq=False)
class _Axes:
    """Principal axes of standardised statistics, none more than `FARTHEST` from the scene's mean."""

    mean: Array  # (F,)
    spread: Array  # (F,)
    axes: Array  # (F, AXES)

    @classmethod
    def of(cls, rows: Array) -> _Axes:  # (m, F)
        mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
        return cls(
            mean, spread, np.linalg.svd((rows - mean) / spread, full_matrices=False)[2][:AXES].T
        )

    def __call__(self, rows: Array) -> Array:  # (n, F) -> (n, AXES)
        return np.clip((rows - self.mean) / self.spread, -FARTHEST, FARTHEST) @ self.axes


def _notes(blocks: int, found: int) -> list[str]:
    notes = []
    if blocks < FEWEST_BLOCKS:
        notes.append(
            f"Frechet distance, recall and coverage are undefined: {blocks} blocks, they need {FEWEST_BLOCKS}"
        )
    tiles_note = tile_note(found)
    return notes if tiles_note is None else [*notes, tiles_note]


def _block_features(banks: list[Bank], pictures: Tensor) -> list[Array]:
    """Of whole blocks as they are: colours, contrasts, structure; of each bank, for what it alone sees."""
    spread, mean = torch.std_mean(pictures, dim=(1, 2), correction=0)
    same = torch.cat([structure_features(pictures), mean, spread], dim=1)
    return [rows(torch.cat([own, same], dim=1)) for own in responses(pictures, banks)]
