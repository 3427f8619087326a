"""The suite's own truths agree with the test suite's oracles, and see mistakes."""

from __future__ import annotations

import numpy as np
import oracles
import pytest

from hud_fast.bench import inputs, truth


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_fcls_error_is_the_oracle_gap_and_sees_a_broken_sum(rng):
    made = inputs.mixed_pixels(64, 20, 5)
    x = oracles.random_simplex(rng, 64, 5)
    gap = oracles.fcls_gap(made.pixels, made.endmembers, x).max()
    assert truth.fcls_error(made.pixels, made.endmembers, x) == pytest.approx(gap, rel=1e-12)
    best = np.stack([oracles.fcls_by_enumeration(y, made.endmembers) for y in made.pixels[:8]])
    assert truth.fcls_error(made.pixels[:8], made.endmembers, best) < 1e-12
    assert truth.fcls_error(made.pixels[:8], made.endmembers, best * 1.01) >= 0.0099
    best[0] = np.roll(best[0], 1)
    assert truth.fcls_error(made.pixels[:8], made.endmembers, best) > 1e-6


def test_cosine_max(rng):
    q, u = rng.normal(size=(9, 6)), rng.normal(size=(50, 6))
    assert np.allclose(truth.cosine_max(q, u), oracles.cosine_max(q, u)[0], rtol=0, atol=1e-14)


def test_window_value(rng):
    scene, block = rng.random((17, 15, 4)), rng.random((6, 5, 4))
    value, _ = oracles.window_search(block[None], scene)
    assert truth.window_value(block, scene) == pytest.approx(value[0], abs=1e-14)
    assert truth.window_value(scene[4:10, 3:8], scene) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("axis", [0, 1])
def test_log_project_and_softmax(rng, axis):
    x = rng.random((7, 5))
    assert np.array_equal(truth.log_project(x, axis), oracles.log_project(x, axis).astype(float))
    assert np.array_equal(truth.softmax(x, axis), oracles.softmax(x, axis).astype(float))


def test_the_hard_scene_has_near_duplicates():
    plain, hard = (inputs.mixed_pixels(64, 50, 8, hard=hard).endmembers for hard in (False, True))
    change = np.abs(hard[4:] / hard[:4] - 1).max(1)
    assert (change > 1e-4).all()
    assert (change < 0.02).all()
    assert np.linalg.cond(hard) > 20 * np.linalg.cond(plain)


def test_queries_are_what_they_are_called():
    scene = inputs.simulated("PaviaU-size", True)
    mixed = inputs.queries(scene, "HUD-like", 300)
    outside = [
        np.linalg.lstsq(scene.endmembers.T, rows.T.astype(float), rcond=None)[1].mean()
        / (rows**2).sum(1).mean()
        for rows in (
            mixed,
            inputs.queries(scene, "noisy", 300),
            inputs.queries(scene, "random", 300),
        )
    ]
    assert outside[0] < 1e-10
    assert 1e-6 < outside[1] < 1e-4
    assert outside[2] > 1e-2
    assert np.array_equal(mixed, inputs.mixture_abundances(scene, 300) @ scene.endmembers)
