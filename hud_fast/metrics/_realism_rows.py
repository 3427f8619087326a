"""What `realism` returns: the values of generated blocks and of real ones, in two spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hud_fast.metrics.bootstrap import Estimate
from hud_fast.metrics.json_values import plain


@dataclass(frozen=True)
class SpaceValues:
    """The values in one space; None: undefined for these blocks and this scene."""

    classifier: Estimate | None
    straight_edges: Estimate
    grain: Estimate
    frechet: Estimate | None
    recall: Estimate | None
    coverage: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        return {k: None if v is None else v.to_dict() for k, v in vars(self).items()}


@dataclass(frozen=True)
class RealismRow:
    """The values of one set of blocks."""

    blocks: int
    spectra: SpaceValues
    z: SpaceValues
    zeros: Estimate  # share of abundances at the logarithm's floor
    copied_piece: Estimate  # share of a block, mean over blocks
    largest_copied_piece: float  # share of a block, the largest of all

    def to_dict(self) -> dict[str, Any]:
        return {
            "blocks": self.blocks,
            "spectra": self.spectra.to_dict(),
            "z": self.z.to_dict(),
            "zeros": self.zeros.to_dict(),
            "copied_piece": self.copied_piece.to_dict(),
            "largest_copied_piece": self.largest_copied_piece,
        }


@dataclass(frozen=True)
class Realism:
    """Generated blocks beside as many real ones."""

    generated: RealismRow
    real: RealismRow
    block: tuple[int, int]
    seed: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        result: dict[str, Any] = plain(
            {
                "generated": self.generated.to_dict(),
                "real": self.real.to_dict(),
                "notes": list(self.notes),
                "settings": {"block": list(self.block), "seed": self.seed},
            }
        )
        return result
