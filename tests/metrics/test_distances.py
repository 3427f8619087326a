"""The distance of abundance distributions, against scipy's on the values themselves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from hud_fast.metrics.distances import EDGES, SHOWN_EDGES, distributions, wasserstein


def mixed(rng, n, D, zeros):
    """Abundances with exact zeros, as unmixing gives them."""
    x = rng.dirichlet(np.full(D, 0.4), size=(n, 30))
    x[rng.random(x.shape) < zeros] = 0
    x[..., 0] += x.sum(axis=-1) == 0
    return x / x.sum(axis=-1, keepdims=True)


@given(seed=st.integers(0, 10**6), zeros=st.floats(0, 0.9))
def test_the_distance_is_scipys(seed, zeros):
    rng = np.random.default_rng(seed)
    a, b = mixed(rng, 3, 4, zeros), mixed(rng, 5, 4, 0.2)
    found = wasserstein(distributions(a).area.mean(axis=0), distributions(b).area.mean(axis=0))
    truth = [wasserstein_distance(a[..., d].ravel(), b[..., d].ravel()) for d in range(4)]
    assert (found <= np.array(truth) + 1e-12).all()
    assert np.allclose(found, truth, atol=1e-3)


def test_distributions_that_do_not_cross_are_exact():
    rng = np.random.default_rng(0)
    low = rng.random((2, 50, 1)) * 0.3
    found = wasserstein(
        distributions(low).area.mean(axis=0), distributions(low + 0.4).area.mean(axis=0)
    )
    assert found[0] == pytest.approx(0.4, abs=1e-14)


def test_an_atom_at_zero_and_tiny_values_lie_close():
    exact, soft = np.zeros((1, 100, 1)), np.full((1, 100, 1), 2e-5)
    a, b = distributions(exact), distributions(soft)
    assert wasserstein(a.area[0], b.area[0])[0] == pytest.approx(2e-5)
    assert a.near_zeros[0, 0] == b.near_zeros[0, 0] == 1.0


def test_identical_blocks_have_no_distance():
    x = mixed(np.random.default_rng(0), 3, 5, 0.5)
    assert (wasserstein(distributions(x).area, distributions(x.copy()).area) == 0).all()


def test_shares_and_histogram_count_values():
    x = mixed(np.random.default_rng(2), 4, 3, 0.4)
    found = distributions(x)
    for edge in (0, 21, 100, -1):
        assert np.allclose(found.share[..., edge], (x <= EDGES[edge]).mean(axis=1))
    assert np.allclose(found.near_zeros, (x <= 1e-3).mean(axis=1))
    assert np.allclose(found.histogram.sum(axis=-1), 1)
    values = x[1, :, 2]
    counts = [((values > a) & (values <= b)).mean() for a, b in itertools.pairwise(SHOWN_EDGES)]
    counts[0] += (values == 0).mean()
    assert np.allclose(found.histogram[1, 2], counts)


def test_tensors_and_maps_give_the_same_as_arrays():
    x = mixed(np.random.default_rng(3), 2, 3, 0.4).astype(np.float32)
    flat, maps = distributions(x), distributions(torch.from_numpy(x.reshape(2, 5, 6, 3)))
    assert np.array_equal(flat.area, maps.area)


def test_bad_abundances():
    with pytest.raises(ValueError, match=r"`abundances` must have shape \(n, ..., D\)"):
        distributions(np.zeros(3))
    with pytest.raises(ValueError, match=r"not be empty, got \(0, 3\)"):
        distributions(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got 0 to 1.5"):
        distributions(np.array([[0.0, 1.5]]))
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], got nan"):
        distributions(np.array([[0.0, np.nan]]))
    with pytest.raises(TypeError, match=r"`abundances` must hold real numbers"):
        distributions(np.array([["a"]]))
