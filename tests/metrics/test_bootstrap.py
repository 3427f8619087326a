"""Bootstrap intervals: weights that are resamples, intervals that hold the value and shrink with more blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hud_fast.metrics.bootstrap import Estimate, estimate, means, resampling_weights


def test_every_row_of_weights_is_a_resample_of_as_many_blocks():
    weights = resampling_weights(7, 200, seed=0)
    assert weights.shape == (201, 7)
    assert np.allclose(weights[0], 1 / 7)
    drawn = weights[1:] * 7
    assert np.allclose(drawn, np.rint(drawn))
    assert np.allclose(drawn.sum(axis=1), 7)
    # Each block is drawn once on average, and not always once.
    assert np.abs(drawn.mean(axis=0) - 1).max() < 0.3
    assert drawn.std() > 0.5


def test_the_seed_decides():
    assert np.array_equal(resampling_weights(9, 20, 3), resampling_weights(9, 20, 3))
    assert not np.array_equal(resampling_weights(9, 20, 3), resampling_weights(9, 20, 4))


def test_means_are_those_of_the_blocks_drawn():
    rng = np.random.default_rng(0)
    statistics, weights = rng.random((5, 2, 3)), resampling_weights(5, 10, 1)
    counts = np.rint(weights * 5).astype(int)
    found = means(statistics, weights)
    assert np.allclose(found[0], statistics.mean(axis=0))
    for row, count in zip(found[1:], counts[1:], strict=True):
        assert np.allclose(row, np.repeat(statistics, count, axis=0).mean(axis=0))


@given(seed=st.integers(0, 10**6), n=st.integers(2, 80))
def test_the_interval_holds_the_value(seed, n):
    values = means(np.random.default_rng(seed).normal(size=n), resampling_weights(n, 400, seed))
    for centred, sample in ((False, values), (True, np.abs(values))):
        found = estimate(sample, centred=centred)
        assert found.low <= found.value <= found.high


def test_the_interval_of_a_mean_is_the_normal_one_and_shrinks():
    rng = np.random.default_rng(0)
    widths = {}
    for n in (50, 800):
        sample = rng.normal(size=n)
        found = estimate(means(sample, resampling_weights(n, 4000, 0)))
        widths[n] = found.high - found.low
        assert widths[n] == pytest.approx(2 * 1.96 * sample.std() / np.sqrt(n), rel=0.06)
    assert widths[50] / widths[800] == pytest.approx(4, rel=0.25)


def test_about_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for number in range(400):
        found = estimate(means(rng.normal(size=60), resampling_weights(60, 300, number)))
        held += found.low <= 0 <= found.high
    assert 0.90 <= held / 400 <= 0.98


def test_a_distance_near_zero_keeps_its_value_inside():
    # |mean a - mean b| of like sets: every resample has the noise twice, so most lie above the value.
    rng = np.random.default_rng(1)
    a = means(rng.normal(size=(40, 50)), resampling_weights(40, 500, 0))
    b = means(rng.normal(size=(40, 50)), resampling_weights(40, 500, 1))
    values = np.abs(a - b).mean(axis=1)
    assert np.quantile(values[1:], 0.025) > values[0]
    found = estimate(values, centred=True)
    assert found.low < found.value < found.high
    assert found.low >= 0
    width = np.subtract(*np.quantile(values[1:], [0.975, 0.025]))
    assert found.high - found.low == pytest.approx(width)


def test_without_resamples_there_is_no_interval():
    found = estimate(np.array([0.25]))
    assert found.value == 0.25
    assert found.to_dict() == {"value": 0.25, "interval": None}
    assert Estimate(1.0, 0.5, 2.0).to_dict() == {"value": 1.0, "interval": [0.5, 2.0]}


def test_bad_counts():
    with pytest.raises(ValueError, match=r"resampling_weights: `n` must be at least 1, got 0"):
        resampling_weights(0, 3, 0)
    with pytest.raises(ValueError, match=r"`count` must be at least 0, got -1"):
        resampling_weights(3, -1, 0)
    with pytest.raises(TypeError, match=r"`count` must be an int, got float"):
        resampling_weights(3, 2.5, 0)
