"""The smallest settings that still have every part: two levels, windows of 8 x 8."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hud_fast.diffusion.presets import Preset

MICRO = Preset(
    name="micro",
    summary="for tests",
    widths=(8, 8),
    layers=1,
    attention=(False, False),
    groups=4,
    crop=8,
    steps=12,
    batch=2,
    learning_rate=1e-3,
    warmup=2,
    ema_decay=0.9,
    sampler="ddim",
    sampler_steps=4,
    log_every=3,
    checkpoint_every=4,
)


@pytest.fixture(scope="session")
def micro() -> Preset:
    return MICRO


def smooth_abundances(H: int, W: int, D: int, seed: int = 0) -> NDArray[np.float32]:
    """(H, W, D) on the simplex, smooth in space, with exact zeros as FCLS gives them."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:H, :W]
    waves = [
        np.sin(rows * random.uniform(0.1, 0.5) + columns * random.uniform(0.1, 0.5) + phase)
        for phase in random.uniform(0, 6, D)
    ]
    x = np.maximum(np.stack(waves, axis=-1), 0) + 0.01 * random.random((H, W, D))
    x[x < 0.005] = 0
    x[..., 0] += x.sum(axis=-1) == 0
    return (x / x.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def abundances() -> NDArray[np.float32]:
    return smooth_abundances(20, 24, 3)
