"""FCLS: ours against the plain torch reference and SciPy's NNLS with a weight row, with each one's error."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from inputs import scene_pixels
from scipy.optimize import nnls

import hud_fast as hud

SIZES = [(103, 9), (188, 12), (200, 16), (220, 16), (200, 32)]
COUNT = {"ours": 100_000, "reference": 2_000, "scipy-nnls": 2_000}


def with_weight_row(pixels, endmembers):
    """The sum constraint as one heavy equation, as it is usually done with an NNLS solver."""
    weight = 1e3
    A = np.vstack([endmembers.T, np.full(len(endmembers), weight)])
    return np.stack([nnls(A, np.append(pixel, weight))[0] for pixel in pixels])


PROVIDERS = {
    "ours": lambda y, A: hud.fcls(y, A),
    "reference": lambda y, A: hud.fcls(y, A, backend="torch"),
    "scipy-nnls": with_weight_row,
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("C", "D"), SIZES)
def test_fcls(benchmark, record, provider, C, D):
    benchmark.group = f"fcls C={C} D={D} float64"
    pixels, endmembers = scene_pixels(COUNT[provider], C, D)
    abundances = benchmark.pedantic(
        PROVIDERS[provider], args=(pixels, endmembers), rounds=5, warmup_rounds=1
    )
    sample = abundances[:2000]
    gap = oracles.fcls_gap(pixels[:2000], endmembers, sample).max()
    record(error=gap, pixels=len(pixels), sum_error=np.abs(sample.sum(1) - 1).max())
    if provider == "ours":
        assert gap <= 1e-12
