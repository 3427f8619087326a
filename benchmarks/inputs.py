"""Inputs of the benchmarks: scenes of a stated size, made the same way each time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scene_pixels(
    P: int, C: int, D: int, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels (P, C) mixed from D smooth endmembers (D, C), 1 to 5 of them a pixel, 30 dB."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, C)
    waves = np.stack([np.sin((k + 1) * np.pi * t + p) for k, p in enumerate(rng.uniform(0, 6, 8))])
    endmembers = 0.4 + rng.normal(size=(D, 8)) * 0.1 @ waves
    endmembers = np.abs(endmembers) + 0.01 * rng.random((D, C))
    abundances = np.zeros((P, D))
    for row, count in zip(abundances, rng.integers(1, 6, P), strict=True):
        row[rng.choice(D, min(count, D), replace=False)] = rng.dirichlet(np.ones(min(count, D)))
    clean = abundances @ endmembers
    noise = np.sqrt((clean**2).mean() / 10**3)
    return clean + noise * rng.normal(size=clean.shape), endmembers
