"""Clusters of unlabelled scenes: materials found again, other halves put into the same, what is left out, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hud_fast.metrics import Clusters


def fields(seed: int, C: int = 8) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Four materials, of falling area, each under shadows that halve it and noise of 2 %."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, (20, 24), p=[0.4, 0.3, 0.2, 0.1])
    spectra = np.exp(np.random.default_rng(0).normal(0, 1, (4, C)))
    cube = spectra[truth] * rng.uniform(0.9, 1.1, (20, 24, 1)) * rng.normal(1, 0.02, (20, 24, C))
    return cube, truth


def test_materials_are_found_the_largest_first_and_again_in_another_half() -> None:
    cube, truth = fields(1)
    clusters = Clusters.fit(cube, 4)
    np.testing.assert_array_equal(clusters.labels(cube), truth + 1)
    other, truth = fields(2)
    np.testing.assert_array_equal(clusters.labels(other), truth + 1)
    assert clusters.K == 4


def test_labels_are_the_nearest_centre_in_components_of_the_logarithms() -> None:
    cube, _ = fields(1)
    clusters = Clusters.fit(cube, 6, seed=2)
    logs = np.log(cube).reshape(-1, 8)
    np.testing.assert_allclose(clusters.mean, logs.mean(0), atol=1e-12)
    size, axes = np.linalg.eigh(np.cov(logs.T, ddof=0))
    axes = axes[:, ::-1][:, (size > 1e-3 * size.sum())[::-1]][:, :6]
    assert clusters.axes.shape == axes.shape
    points, own = (logs - logs.mean(0)) @ axes, clusters.axes.numpy()
    centres = clusters.centres @ own.T @ axes
    far = np.square(points[:, None] - centres).sum(-1)
    np.testing.assert_array_equal(clusters.labels(cube).ravel(), far.argmin(1) + 1)
    sizes = np.bincount(far.argmin(1), minlength=6)
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()


def test_left_out_pixels_have_no_cluster_and_no_say() -> None:
    cube, truth = fields(1)
    mask = np.ones((20, 24), bool)
    mask[:3] = False
    cube[:3], cube[5, 5] = 1e6, np.nan
    clusters = Clusters.fit(cube, 4, mask=mask)
    left_out = ~mask
    left_out[5, 5] = True
    want = np.where(left_out, 0, truth + 1)
    np.testing.assert_array_equal(clusters.labels(cube, mask), want)


def test_same_seed_same_clusters_in_any_unit() -> None:
    cube, _ = fields(1)
    first = Clusters.fit(cube, 7, seed=3).labels(cube)
    np.testing.assert_array_equal(Clusters.fit(cube, 7, seed=3).labels(cube), first)
    scaled = (1024 * cube).astype(np.float32)
    agree = Clusters.fit(scaled, 7, seed=3).labels(scaled) == first
    assert agree.mean() > 0.99
    starts = {Clusters.fit(cube, 7, seed=seed).centres.tobytes() for seed in range(4)}
    assert len(starts) > 1


@pytest.mark.parametrize(
    ("cube", "K", "match"),
    [
        (np.ones((4, 4)), 2, r"`cube` must have shape \(H, W, C\), got \(4, 4\)"),
        (np.ones((4, 4, 3)), 1, "`K` must be at least 2, got 1"),
        (np.ones((4, 4, 3)), 2, "`K` must be at most the 1 different spectra, got 2"),
        (np.zeros((4, 4, 3)), 2, "`K` must be at most the 1 different spectra, got 2"),
    ],
)
def test_refused(cube: Any, K: int, match: str) -> None:
    with pytest.raises(ValueError, match=f"Clusters.fit: {match}"):
        Clusters.fit(cube, K)


def test_other_bands_are_refused() -> None:
    clusters = Clusters.fit(fields(1)[0], 2)
    must = r"`cube` must have the C = 8 bands of the clusters, got 7"
    with pytest.raises(ValueError, match=f"Clusters.labels: {must}"):
        clusters.labels(fields(1, C=7)[0])
