"""Copies, as `quality` reports them: `copy_check` against the training half, with the held-out half beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hud_fast.metrics._quality_blocks import BlockSet, Inputs
from hud_fast.metrics._quality_rows import CopyValues
from hud_fast.metrics._turned_blocks import Looked, nearest_in_turns, turns_of
from hud_fast.metrics.bootstrap import estimate, means
from hud_fast.metrics.copies import CopyCheck, copy_check
from hud_fast.metrics.progress import Progress, Stages
from hud_fast.metrics.real_blocks import SceneTooSmall

Array = NDArray[np.float64]

QUANTILE = 0.95


def copy_values(
    inputs: Inputs,
    sets: dict[str, BlockSet],
    weights: dict[str, Array],
    count: int,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, CopyValues], tuple[str, ...]]:
    """Of each set of blocks; nothing and a note where the training half has no room.

    Real blocks are taken as the generator could have made them: mixed again from their exact abundances.
    """
    stages = Stages(progress, {"check": 2, "held_out": 1, "training": 1})
    try:
        check = copy_check(
            inputs.cubes,
            inputs.training,
            quantile=QUANTILE,
            count=count,
            seed=seed,
            endmembers=inputs.endmembers,
            progress=stages["check"],
        )
    except SceneTooSmall as error:
        return {}, (str(error),)
    _, scene = Looked(inputs.cubes).way(inputs.training, inputs.endmembers)
    similarity = {"generated": check.similarity}
    for key in ("held_out", "training"):
        blocks = sets[key].abundances.to(inputs.endmembers.dtype) @ inputs.endmembers
        found, _, _ = nearest_in_turns(Looked(blocks), scene, turns_of(*inputs.block), stages[key])
        similarity[key] = found.cpu().numpy()
    held_out = similarity["held_out"]
    return {
        key: _values(check, values, held_out, weights, key) for key, values in similarity.items()
    }, ()


def _values(
    check: CopyCheck,
    similarity: Array,  # (n,)
    real: Array,  # (m,) of the held-out half's blocks
    weights: dict[str, Array],
    key: str,
) -> CopyValues:
    near = similarity > check.threshold
    rank = max(1, int((len(real) + 1) * (1 - QUANTILE) + 1e-9))
    nearer = None
    if key != "held_out":  # of which that share is so by definition
        # The rank-th largest of each resample, from how often each block was drawn.
        order = np.argsort(real)[::-1]
        drawn = np.rint(weights["held_out"][:, order] * len(real)).cumsum(axis=1)
        limit = real[order][(drawn >= rank).argmax(axis=1)]  # (1 + R,)
        nearer = estimate(((similarity > limit[:, None]) * weights[key]).sum(axis=1))
    return CopyValues(
        near_copies=int(near.sum()),
        share=estimate(means(near.astype(np.float64), weights[key])),
        expected_share=check.expected_share,
        threshold=check.threshold,
        conclusive=check.conclusive,
        largest_similarity=float(similarity.max()),
        nearer=nearer,
        expected_nearer=rank / (len(real) + 1),
    )
