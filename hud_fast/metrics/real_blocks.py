"""Blocks of the real scene, drawn at random: held out (one half against the other) or anywhere.

The scene is cut in the middle of its longer side (of the other side where only that leaves room). A
block lies wholly in one half, and is compared with the other half only, in both directions, so that
it never meets itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hud_fast.metrics.samples import Counts, Spectra, whole_windows
from hud_fast.unmixing.pixels import BLOCK_VALUES

FEWEST = 4  # windows that a half of `quality` must hold: two to compare with two others


class SceneTooSmall(ValueError):
    """The scene has no room to hold real blocks out of."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Blocks of one half and the half that they are compared with."""

    origin: Tensor  # (n, 2) row and column in the whole scene
    other: Spectra  # (H', W', C) the other half


def held_out_blocks(
    function: str, real: Spectra, block: tuple[int, int], count: int, seed: int
) -> list[HeldOut]:
    """Draw up to `count` blocks, half of them from each half of the scene."""
    h, w = block
    H, W = real.valid.shape
    found = middle(real.valid, block)
    if found is None:
        raise SceneTooSmall(
            f"{function}: `real` must have a window of {h} x {w} valid pixels in each of its halves, "
            f"got a scene of {H} x {W} that has not: take a smaller block"
        )
    axis, cut = found
    halves = [_part(real, axis, 0, cut), _part(real, axis, cut, None)]
    whole = [whole_windows(half.valid, h, w) for half in halves]
    drawn = []
    for side, share in ((0, -(-count // 2)), (1, count // 2)):
        if share == 0:
            continue
        origin = draw(whole[side], share, np.random.default_rng([seed, side]))
        if side == 1:
            origin[:, axis] += cut
        drawn.append(HeldOut(origin, halves[1 - side]))
    return drawn


def middle(
    valid: Tensor,  # (H, W) bool
    block: tuple[int, int],
    least: int = 1,
) -> tuple[int, int] | None:
    """Where to cut a scene: (axis, row or column); None where a half then lacks `least` whole windows.

    The longer side is cut in the middle, the other where only that leaves room.
    """
    H, W = valid.shape
    for axis in (0, 1) if H >= W else (1, 0):
        cut = valid.shape[axis] // 2
        halves = (valid[:cut], valid[cut:]) if axis == 0 else (valid[:, :cut], valid[:, cut:])
        if all(_whole(half, block) >= least for half in halves):
            return axis, cut
    return None


def _whole(valid: Tensor, block: tuple[int, int]) -> int:
    h, w = block
    if h > valid.shape[0] or w > valid.shape[1]:
        return 0
    return int(whole_windows(valid, h, w).sum())


def draw(whole: Tensor, count: int, generator: np.random.Generator) -> Tensor:  # (n, 2) int64
    """Up to `count` different window positions, drawn evenly from those that are whole."""
    positions = whole.nonzero()
    chosen = generator.choice(len(positions), min(count, len(positions)), replace=False)
    return positions[torch.from_numpy(np.sort(chosen)).to(positions.device)].cpu()


def cut_out(real: Spectra, origin: Tensor, block: tuple[int, int]) -> Tensor:  # (n, h, w, C)
    """The scene's blocks at `origin`."""
    h, w = block
    return torch.stack([real.values[r : r + h, c : c + w] for r, c in origin.tolist()])


def groups(blocks: Tensor) -> Iterator[slice]:  # (n, ...)
    """All blocks, or lines of a scene, a few at a time: what is made of them in float64 stays small beside them."""
    step = max(1, BLOCK_VALUES // max(1, blocks[0].numel()))
    for first in range(0, len(blocks), step):
        yield slice(first, first + step)


def pixel_rows(
    origin: Tensor,  # (n, 2)
    block: tuple[int, int],
    W: int,
) -> Tensor:  # (n, h, w)
    """Rows of the flattened scene, W pixels wide, that the blocks at `origin` hold."""
    row = origin[:, 0, None] + torch.arange(block[0], device="cpu")
    column = origin[:, 1, None] + torch.arange(block[1], device="cpu")
    return row[:, :, None] * W + column[:, None, :]


def _part(real: Spectra, axis: int, first: int, last: int | None) -> Spectra:
    where = (slice(first, last), slice(None)) if axis == 0 else (slice(None), slice(first, last))
    values, valid = real.values[where], real.valid[where]
    # Counts of the whole scene are reported once; a half's own are not.
    return Spectra(values, valid, Counts(valid.numel(), int((~valid).sum()), 0, 0))
