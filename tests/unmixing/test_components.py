"""Principal components of log spectra against NumPy's, whole and in parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hud_fast.unmixing import components
from hud_fast.unmixing.components import LogComponents

TOLERANCE = 1e-9  # of components of order 1; worst measured 4e-14


@pytest.mark.parametrize("room", [1 << 24, 70])
def test_they_are_those_of_a_singular_value_decomposition(room, monkeypatch):
    monkeypatch.setattr(components, "ROOM", room)
    rng = np.random.default_rng(0)
    x, spectra = rng.dirichlet(np.ones(4), 300), rng.random((4, 11)) + 0.1
    found = LogComponents.of(
        torch.from_numpy(x), torch.from_numpy(spectra), most=3, least_share=1e-6
    )
    logs = np.log(x @ spectra)
    centred = logs - logs.mean(axis=0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:3].T
    scores = found(torch.from_numpy(x.reshape(30, 10, 4))).numpy()
    assert scores.shape == (30, 10, 3)
    signs = np.sign((scores.reshape(300, 3) * expected).sum(axis=0))
    assert np.abs(scores.reshape(300, 3) - signs * expected).max() < TOLERANCE
    assert np.abs(found.spread.numpy() - size[:3] / np.sqrt(300)).max() < TOLERANCE


def test_small_components_and_dark_bands():
    x = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    spectra = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0]])  # the last band is dark: no -inf
    found = LogComponents.of(x, spectra, most=5, least_share=1e-2)
    assert bool(torch.isfinite(found(x)).all())
    assert len(found.spread) == 1  # the other axes hold less than a hundredth
