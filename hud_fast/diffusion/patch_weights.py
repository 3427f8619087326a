"""Weights of a scene's patches: set in rounds of trial blocks, by what those show.

`balanced` weights make all parts of the scene appear about as often as they stand in it. `steered` weights make
classes appear with the shares that are asked for: the logarithm of a patch's weight grows by a number for each class
that was named, times the share of the patch that is of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.seeds import Stream

ROUNDS, TRIALS = 4, 32  # of balancing, blocks a round
PULL = 0.5  # of the mean use: added to both sides of a ratio, so that chance counts less
STRONGEST = 4.0  # |ln w|
STEERING_ROUNDS, STEERING_TRIALS = 5, 8
GAIN = 20.0  # of a log weight, by the difference of the shares' log odds; less in later rounds
STEEPEST = 120.0  # what a share of 1 adds to a log weight, at most
LEAST = 0.01  # of a share: its log odds are those of no smaller one


def balanced(
    patches: Patches,
    block: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Patches:
    """With weights by which every part of the scene is used about as often as it stands in its blocks."""
    pixels, P = patches.windows, len(patches.pictures)
    here = torch.zeros(P, dtype=torch.float64, device=patches.device)
    for row in pixels.T:  # how many candidates hold a pixel: blocks of any size would use it so
        here += torch.bincount(row, minlength=P)
    here /= here.sum()
    wanted = here[pixels].mean(dim=1)
    found = patches
    for k in range(ROUNDS):
        trials = range(k * TRIALS, (k + 1) * TRIALS)
        layouts = found.layouts(trials, (block, block), seed=found.seed, stream=Stream.BALANCING)
        used = torch.bincount(layouts.flatten(), minlength=P).double() / layouts.numel()
        pull = PULL * wanted.mean()
        ratio = (wanted + pull) / (used[pixels].mean(dim=1) + pull)
        weights = (found.log_weights + ratio.log().float()).clamp(-STRONGEST, STRONGEST)
        found = replace(found, log_weights=weights - weights.mean())
        if progress is not None:
            progress(k + 1, ROUNDS)
    return found


def steered(
    patches: Patches,
    shares: Tensor,  # (K,)
    told: Tensor,  # (K,) bool
    block: int,
) -> tuple[Patches, Tensor]:  # and (K,)
    """With weights by which classes have the shares asked for, as far as patches can, and the shares they came to.

    Of the rounds, the one whose shares of the classes in `told` came nearest.
    """
    assert patches.shares is not None
    known = patches.shares.double()
    held = known[patches.windows].mean(dim=1)  # (N, K)
    asked, named = shares.to(held), told.to(held.device)
    slope = torch.zeros_like(asked)
    best: tuple[float, Patches, Tensor] | None = None
    for k in range(STEERING_ROUNDS):
        weights = patches.log_weights + (held @ slope).float()
        found = replace(patches, log_weights=weights - weights.mean())
        trials = range(k * STEERING_TRIALS, (k + 1) * STEERING_TRIALS)
        layouts = found.layouts(trials, (block, block), seed=patches.seed, stream=Stream.STEERING)
        reached = known[layouts.flatten()].mean(dim=0)
        apart = float((reached - asked)[named].abs().max())
        if best is None or apart < best[0]:
            best = apart, found, reached
        step = GAIN / (1 + k) * (_odds(asked) - _odds(reached))
        slope = torch.where(named, (slope + step).clamp(-STEEPEST, STEEPEST), 0.0)
    assert best is not None
    return best[1], best[2].float()


def _odds(shares: Tensor) -> Tensor:
    return shares.clamp(LEAST, 1 - LEAST).logit()
