"""What the judge measures, each against an independent truth: edges, grain, filters, and two sets of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter, median_filter

from hud_fast.metrics._local_features import (
    KINDS,
    SHOWN,
    Bank,
    grain,
    responses,
    straight_edges,
    structure,
)
from hud_fast.metrics._realism_sets import FARTHEST, _Axes
from hud_fast.metrics._two_samples import area_under_curve
from hud_fast.metrics.frechet import frechet_distance

# Worst relative error measured against the oracles in double precision: 3e-6 (the maps are float32).
FLOAT32 = 2e-5


def picture(values: np.ndarray) -> torch.Tensor:  # (h, w) -> (1, h, w, 1)
    return torch.from_numpy(values)[None, ..., None].float()


def share(parts: tuple[np.ndarray, np.ndarray]) -> float:
    return float((parts[0] / parts[1]).mean())


# Edges and grain.


@pytest.mark.parametrize("degrees", [0, 20, 45, 90, 130])
def test_a_straight_edge_is_one(degrees: float) -> None:
    row, column = np.mgrid[:32, :32] - 15.5
    across = np.cos(np.radians(degrees)) * column + np.sin(np.radians(degrees)) * row
    assert share(straight_edges(picture(np.tanh(across)))) > 0.99


def test_noise_and_round_things_have_no_straight_edges() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(64, 32, 32, 3))).float()
    assert share(straight_edges(noise)) < 0.05
    row, column = np.mgrid[:32, :32] - 15.5
    dot = np.exp(-(row**2 + column**2) / 8)
    edge = np.tanh(row)
    assert share(straight_edges(picture(dot))) < 0.5 * share(straight_edges(picture(edge)))


def test_the_structure_tensor_is_that_of_the_definition() -> None:
    values = gaussian_filter(np.random.default_rng(0).normal(size=(24, 19)), 1)
    gy, gx = (np.gradient(values, axis=axis)[1:-1, 1:-1] for axis in (0, 1))
    # reach 5, reflected about the pixel at the border, as the judge's
    xx, yy, xy = (gaussian_filter(p, 1.5, mode="mirror", radius=5) for p in (gx**2, gy**2, gx * gy))
    tensor = np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -1)
    small, large = np.moveaxis(np.linalg.eigvalsh(tensor), -1, 0)
    energy, coherence = (found[0, 0].numpy() for found in structure(picture(values)))
    np.testing.assert_allclose(energy, small + large, rtol=FLOAT32)
    np.testing.assert_allclose(coherence, (large - small) / (large + small), atol=FLOAT32)
    part, whole = straight_edges(picture(values))
    truth = ((small + large) * (large - small > 0.8 * (large + small))).mean()
    assert part[0, 0] == pytest.approx(truth, rel=FLOAT32)
    assert whole[0, 0] == pytest.approx((small + large).mean(), rel=FLOAT32)


def test_grain_is_the_difference_from_the_median() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(5, 17, 14, SHOWN + 1))
    rough, spread = grain(torch.from_numpy(noise).float())
    assert rough.shape == spread.shape == (5, SHOWN)
    for n in range(5):
        for k in range(SHOWN):
            rest = noise[n, :, :, k] - median_filter(noise[n, :, :, k], 3)
            assert rough[n, k] == pytest.approx((rest[1:-1, 1:-1] ** 2).mean(), rel=FLOAT32)
            assert spread[n, k] == pytest.approx(noise[n, :, :, k].var(), rel=FLOAT32)
    assert np.sqrt(rough / spread).mean() > 0.8  # white noise
    ramp = np.add.outer(np.arange(16.0), 2 * np.arange(16.0))  # its median is the middle
    rough, spread = grain(picture(ramp))
    assert rough[0, 0] == pytest.approx(0, abs=1e-9)
    assert spread[0, 0] == pytest.approx(ramp.var(), rel=FLOAT32)


# What is measured of two sets.


def test_the_classifier_by_hand() -> None:
    rng = np.random.default_rng(0)
    one, real, two, rest = (rng.normal(size=(n, 7)) + n / 50 for n in (30, 40, 25, 20))
    two[3], rest[5] = two[0], two[0]  # ties count half
    rows = np.concatenate([one, real])
    scaled = [(part - rows.mean(axis=0)) / rows.std(axis=0) for part in (rows, two, rest)]
    y = np.repeat([1.0, -1.0], [30, 40])
    X = scaled[0]
    # ridge over features where the judge solves over rows: the same weights
    w = np.linalg.solve(X.T @ X + len(X) * np.eye(7), X.T @ (y - y.mean()))
    pairs = (scaled[1] @ w)[:, None] - (scaled[2] @ w)[None]
    equal = np.abs(pairs) < 1e-12
    truth = ((pairs > 0) & ~equal).mean() + 0.5 * equal.mean()
    assert area_under_curve((one, real), (two, rest)) == pytest.approx(truth, rel=1e-3)


def test_the_classifier_tells_what_can_be_told() -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(400, 20)) for _ in range(4)]
    same = area_under_curve((sets[0], sets[1]), (sets[2], sets[3]))
    assert same == pytest.approx(0.5, abs=0.1)  # 2.5 standard deviations of chance are 0.05
    far = area_under_curve((sets[0] + 3, sets[1]), (sets[2] + 3, sets[3]))
    assert far == pytest.approx(1)
    assert area_under_curve((sets[0] + 3, sets[1]), (sets[2] - 3, sets[3])) == pytest.approx(0)
    sets[3][0, 0] = np.nan
    assert np.isnan(area_under_curve((sets[0], sets[1]), (sets[2], sets[3])))


def test_filters_are_convolutions() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 14, 11, 2))
    banks = [Bank.drawn(2, [seed]) for seed in (0, 1)]
    found = responses(torch.from_numpy(maps).float(), banks).numpy()
    for bank, rows in zip(banks, found, strict=True):
        truth = []
        for (side, step), weights, levels in zip(KINDS, bank.weights, bank.levels, strict=True):
            K, m = levels.shape
            kernel = np.zeros((K, m, (side - 1) * step + 1, (side - 1) * step + 1))
            kernel[:, :, ::step, ::step] = weights.numpy().reshape(K, m, side, side)
            edge = (side - 1) * step // 2
            y = np.array(
                [
                    [[correlate(one[..., k], kernel[k, j]) for j in range(m)] for k in range(K)]
                    for one in maps
                ]
            )[..., edge : 14 - edge, edge : 11 - edge]
            above = y > levels.numpy()[..., None, None]
            truth += [v.mean(axis=(3, 4)).reshape(3, -1) for v in (y, abs(y), above)]
        np.testing.assert_allclose(rows, np.concatenate(truth, axis=1), atol=FLOAT32)


def test_a_statistic_that_hardly_varies_does_not_count_alone() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(400, 30)), rng.normal(size=(64, 30))
    real[:, 0] *= 1e-3  # flat in the scene, not in what was generated
    axes = _Axes.of(real)
    far = np.abs(axes(made)) / np.sqrt(30)
    assert far.max() <= FARTHEST
    # without a bound, this one statistic would be a distance of about (1 / 1e-3)^2
    assert frechet_distance(axes(made), axes(real)) < 100
    inside = np.clip(made, -1, 1)
    inside[:, 0] *= 1e-3
    truth = (inside - real.mean(axis=0)) / real.std(axis=0) @ axes.axes
    np.testing.assert_allclose(axes(inside), truth, atol=1e-6)  # the spread has 1e-9 added
