"""simulate_scene: the truth holds, seeds reproduce, the noise is as asked, maps are smooth and sparse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.scenes import simulate_scene
from hud_fast.scenes.simulate import project_on_simplex


def test_the_linear_model_holds_at_the_snr_asked_for() -> None:
    scene = simulate_scene(64, 48, C=50, D=5, snr_db=30.0, seed=1)
    assert scene.truth is not None
    signal = scene.truth.abundances @ scene.truth.endmembers
    noise = scene.cube - signal
    assert 10 * np.log10((signal**2).mean() / noise.var()) == pytest.approx(30.0, abs=0.05)
    assert abs(noise.mean()) < 3 * noise.std() / np.sqrt(noise.size)
    clean = simulate_scene(64, 48, C=50, D=5, snr_db=np.inf, seed=1)
    np.testing.assert_array_equal(clean.cube, signal.astype(np.float32))


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    count=st.integers(1, 6),
    smoothness=st.sampled_from([0.0, 0.5, 3.0, 50.0]),
    seed=st.integers(0, 2**32),
)
def test_abundances_lie_on_the_simplex(
    height: int, width: int, count: int, smoothness: float, seed: int
) -> None:
    scene = simulate_scene(height, width, C=7, D=count, smoothness=smoothness, seed=seed)
    assert scene.truth is not None
    abundances = scene.truth.abundances
    assert abundances.shape == (height, width, count)
    assert (abundances >= 0).all()
    np.testing.assert_allclose(abundances.sum(-1), 1.0, atol=1e-12)
    assert scene.shape == (height, width, 7)
    assert np.isfinite(scene.cube).all()


def test_maps_are_sparse_smooth_and_nearly_pure_somewhere() -> None:
    scene = simulate_scene(128, 128, seed=0)
    assert scene.truth is not None
    maps = scene.truth.abundances
    assert 0.4 < (maps == 0).mean() < 0.66
    assert (maps.max(axis=(0, 1)) > 0.95).all()  # every endmember has a nearly pure pixel
    steps = np.abs(np.diff(maps, axis=1)).mean()
    rough = simulate_scene(128, 128, smoothness=1.0, seed=0)
    assert rough.truth is not None
    assert steps < 0.3 * np.abs(np.diff(rough.truth.abundances, axis=1)).mean()


def test_seeds() -> None:
    first, same, other = (simulate_scene(16, 16, C=9, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.cube, same.cube)
    assert not np.array_equal(first.cube, other.cube)
    more_bands = simulate_scene(16, 16, C=30, seed=1)
    assert first.truth is not None
    assert more_bands.truth is not None
    np.testing.assert_array_equal(first.truth.abundances, more_bands.truth.abundances)


def test_built_in_spectra_are_physical_and_distinct() -> None:
    scene = simulate_scene(8, 8, C=120, D=16, seed=0)
    assert scene.truth is not None
    spectra = scene.truth.endmembers
    assert spectra.min() >= 0.02
    assert spectra.max() <= 1.0
    unit = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    assert np.triu(unit @ unit.T, 1).max() < 0.9999
    assert np.abs(np.diff(spectra, 2, axis=1)).max() < 0.05  # smooth
    assert scene.wavelengths is not None
    assert (scene.wavelengths[0], scene.wavelengths[-1]) == (400.0, 2500.0)
    assert scene.simulated
    assert scene.endmember_count == 16


def test_a_given_library_is_drawn_from_without_repetition() -> None:
    library = np.random.default_rng(0).random((7, 11))
    scene = simulate_scene(8, 8, library=library, D=7)
    assert scene.truth is not None
    assert scene.wavelengths is None
    np.testing.assert_array_equal(np.sort(scene.truth.endmembers, axis=0), np.sort(library, axis=0))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"H": 0}, ValueError, "`H` must be a whole number above 0, got 0"),
        ({"D": 2.5}, TypeError, "`D` must be a whole number above 0, got 2.5"),
        ({"C": -1}, ValueError, "`C` must be a whole number above 0"),
        ({"smoothness": -1.0}, ValueError, "`smoothness` must be 0 or more"),
        ({"snr_db": np.nan}, ValueError, "`snr_db` must be a number of decibels"),
        ({"library": np.ones((3, 4))}, ValueError, "D = 6 spectra or more, got 3"),
        ({"library": np.ones(4)}, ValueError, r"of shape \(K, C\), got \(4,\)"),
        ({"library": np.full((9, 4), np.nan)}, ValueError, "must be finite"),
        ({"library": np.full((9, 4), "x")}, TypeError, "`library` must hold real numbers"),
    ],
)
def test_wrong_options(options: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=r"^simulate_scene: .*" + message):
        simulate_scene(**options)


@given(st.lists(st.lists(st.floats(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5))
def test_projection_is_the_nearest_point(rows: list[list[float]]) -> None:
    values = np.array(rows)
    nearest = project_on_simplex(values)
    np.testing.assert_allclose(nearest.sum(-1), 1.0, atol=1e-9)
    assert (nearest >= 0).all()
    # Optimality: (values - nearest) . (vertex - nearest) <= 0 for every vertex of the simplex.
    outward = values - nearest
    inner = outward - (outward * nearest).sum(-1, keepdims=True)
    assert inner.max() < 1e-8
