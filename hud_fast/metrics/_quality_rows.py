"""What `quality` returns: rows of values with their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.metrics.bootstrap import LEVEL, Estimate
from hud_fast.metrics.distances import NEAR_ZERO, SHOWN_EDGES
from hud_fast.metrics.json_values import plain
from hud_fast.metrics.power_spectrum import FLOOR

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EndmemberEstimates:
    """One value an endmember, and their mean."""

    mean: Estimate
    each: tuple[Estimate, ...]  # (D,)

    def to_dict(self) -> dict[str, Any]:
        return {"mean": self.mean.to_dict(), "each": [one.to_dict() for one in self.each]}


@dataclass(frozen=True)
class CopyValues:
    """How many blocks are near copies of training windows; see `copy_check`."""

    near_copies: int
    share: Estimate  # of near copies
    expected_share: float  # of near copies among honest blocks
    threshold: float  # similarity above which a block is one
    conclusive: bool  # a perfect copy would be found
    largest_similarity: float  # no interval: a bootstrap tells nothing of a maximum
    nearer: Estimate | None  # share nearer to a training window than the nearest 5 % held out
    expected_nearer: float  # that share among blocks like those held out

    def to_dict(self) -> dict[str, Any]:
        return {
            "near_copies": self.near_copies,
            "share": self.share.to_dict(),
            "expected_share": self.expected_share,
            "threshold": self.threshold,
            "conclusive": self.conclusive,
            "largest_similarity": self.largest_similarity,
            "nearer_than_held_out": None if self.nearer is None else self.nearer.to_dict(),
            "expected_nearer_than_held_out": self.expected_nearer,
        }


@dataclass(frozen=True, eq=False)
class QualityRow:
    """The values of one set of blocks. None: trivial or undefined for these blocks."""

    blocks: int
    point_fidelity: Estimate | None  # against the training half
    block_diversity: Estimate | None  # against the training half
    ratio: Estimate | None  # block_diversity / point_fidelity
    angle_to_training: Estimate | None  # degrees, mean over pixels to the nearest real one
    angle_to_held_out: Estimate | None
    histogram_distance: EndmemberEstimates  # 1-Wasserstein, to the held-out half
    histogram_to_training: EndmemberEstimates  # to the training half
    near_zeros: EndmemberEstimates  # share of abundances of at most 1e-3
    spectrum_distance: EndmemberEstimates  # dB, to the held-out half
    spectrum_to_training: EndmemberEstimates  # to the training half
    copies: CopyValues | None
    power: Array  # (D, J) mean power spectrum of the abundance maps
    histogram: Array  # (D, K) share of abundances between SHOWN_EDGES

    def to_dict(self) -> dict[str, Any]:
        values = {
            name: None if value is None else value.to_dict()
            for name in (
                "point_fidelity",
                "block_diversity",
                "ratio",
                "angle_to_training",
                "angle_to_held_out",
                "histogram_distance",
                "histogram_to_training",
                "near_zeros",
                "spectrum_distance",
                "spectrum_to_training",
                "copies",
            )
            for value in [getattr(self, name)]
        }
        return {
            "blocks": self.blocks,
            **values,
            "power": self.power.tolist(),
            "histogram": self.histogram.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Quality:
    """Generated blocks beside the held-out half (what is honestly within reach) and the training half.

    Each row's values are comparable with the same values of the other rows, but for the distances of a half to
    itself: they compare one random half of its blocks with the other, and are the statistic's noise, below which no
    distance can be expected.
    """

    generated: QualityRow
    held_out: QualityRow
    training: QualityRow
    frequencies: Array  # (J,) cycles a pixel, of `power`
    block: tuple[int, int]
    count: int
    bootstrap: int
    quantile: float
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        result: dict[str, Any] = plain(
            {
                "generated": self.generated.to_dict(),
                "held_out": self.held_out.to_dict(),
                "training": self.training.to_dict(),
                "frequencies": self.frequencies.tolist(),
                "histogram_edges": SHOWN_EDGES.tolist(),
                "notes": list(self.notes),
                "settings": {
                    "block": list(self.block),
                    "count": self.count,
                    "bootstrap": self.bootstrap,
                    "interval": LEVEL,
                    "quantile": self.quantile,
                    "near_zero": NEAR_ZERO,
                    "spectrum_floor": FLOOR,
                    "seed": self.seed,
                },
            }
        )
        return result
