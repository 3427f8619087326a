"""Endmembers and pixels of the FCLS tests, and the certificate that every answer must carry."""

from __future__ import annotations

import numpy as np
import oracles

GAP = 1e-12  # worst measured over this suite, every level, singular endmembers included: 5e-15


def certify(pixels, endmembers, abundances, gap=GAP):
    D = len(endmembers)
    x = abundances.reshape(-1, D)
    assert (x >= 0).all()
    assert np.abs(x.astype(np.float64).sum(1) - 1).max(initial=0) <= D * np.finfo(x.dtype).eps
    if x.dtype == np.float64 and len(x):
        found = oracles.fcls_gap(pixels.reshape(len(x), -1), endmembers, x)
        assert found.max() <= gap, found.max()


def smooth_endmembers(D, C, seed=0):
    """Reflectance-like: smooth, positive, different."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, C)
    waves = [
        np.sin((k + 1) * np.pi * t[None] + rng.uniform(0, 6, (D, 1))) / (k + 1) for k in range(6)
    ]
    return (
        0.4
        + 0.15 * sum(rng.normal(size=(D, 1)) * wave for wave in waves)
        + 0.02 * rng.random((D, C))
    )


def mixtures(endmembers, count, noise, seed=0):
    rng = np.random.default_rng(seed)
    x = oracles.random_simplex(rng, count, len(endmembers), 0.4)
    y = x @ endmembers
    return y + noise * rng.normal(size=y.shape)
