"""Distances of two sets of feature rows, each against its definition in plain loops or a closed form."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from hud_fast.metrics import (
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_distance,
    precision_recall_density_coverage,
)
from hud_fast.metrics.frechet import Moments

# Worst relative error measured: 3e-14.
FLOAT64 = 1e-11

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(30, 4))
OTHERS = RNG.normal(size=(40, 4)) + 0.5
LIKELY = RNG.dirichlet(np.ones(3), 20)
DISTANCES: dict[str, Callable[..., Any]] = {
    "frechet_distance": frechet_distance,
    "frechet_infinity": frechet_infinity,
    "kernel_distance": kernel_distance,
    "precision_recall_density_coverage": precision_recall_density_coverage,
}


def two_sets(F: int, seed: int, n: int = 40, m: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    one, other = (
        rng.normal(size=(count, F)) @ rng.normal(size=(F, F)) + rng.normal(size=F)
        for count in (n, m)
    )
    return one, other


def white(n: int, F: int) -> np.ndarray:
    """Rows of mean 0 and covariance 1."""
    rows = np.random.default_rng(0).normal(size=(n, F))
    rows -= rows.mean(axis=0)
    return rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T


# Frechet distance.


@given(st.integers(1, 6), st.integers(0, 10_000))
def test_frechet_distance_of_two_gaussians(F: int, seed: int) -> None:
    one, other = two_sets(F, seed)
    S, T = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (one, other))
    shift = one.mean(axis=0) - other.mean(axis=0)
    truth = shift @ shift + np.trace(S + T - 2 * np.real(sqrtm(S @ T)))
    # the root of an ill-conditioned product costs half of the digits, here and there
    assert frechet_distance(one, other) == pytest.approx(truth, rel=1e-6, abs=1e-6)


def test_frechet_distance_in_closed_form() -> None:
    rows = white(50, 4)
    # Gaussians of standard deviations 2 and 5, means 0 and 3 in each of 4 dimensions
    truth = 4 * (3**2 + 3**2)
    assert frechet_distance(2 * rows, 5 * rows + 3) == pytest.approx(truth, rel=FLOAT64)


@pytest.mark.parametrize(("n", "m", "F"), [(12, 400, 24), (5, 6, 10), (2, 3, 1), (70, 80, 20)])
def test_fewer_rows_than_features_cost_no_digits(n: int, m: int, F: int) -> None:
    one, other = two_sets(F, 3, n, m)
    # the trace of the root is the sum of the singular values of one factor of S times one of S'
    factors = [(rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (one, other)]
    between = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    shift = one.mean(axis=0) - other.mean(axis=0)
    truth = shift @ shift + sum((factor**2).sum() for factor in factors) - 2 * between
    assert frechet_distance(one, other) == pytest.approx(truth, rel=FLOAT64)
    assert frechet_distance(one, one) == pytest.approx(0, abs=FLOAT64 * (factors[0] ** 2).sum())


def test_constant_rows_are_apart_by_their_means() -> None:
    one, other = np.ones((3, 2)), np.full((4, 2), 4.0)
    assert frechet_distance(one, other) == 18
    # against what varies: its trace, as well
    assert frechet_distance(one, white(20, 2)) == pytest.approx(2 + 2, rel=FLOAT64)


@given(st.integers(2, 5), st.integers(0, 10_000))
def test_turned_or_shuffled_features_are_as_far_apart(F: int, seed: int) -> None:
    one, other = two_sets(F, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(F, F)))[0]
    shuffled = np.random.default_rng(seed).permutation(one)
    for measure in (frechet_distance, kernel_distance):
        truth = pytest.approx(measure(one, other), rel=1e-9, abs=1e-9)
        assert measure(one @ turn, other @ turn) == truth
        assert measure(shuffled, other) == truth
        assert measure(other, one) == truth
    found = precision_recall_density_coverage(one, other)
    assert precision_recall_density_coverage(shuffled, other) == found


def test_moments_of_parts_are_those_of_all() -> None:
    rows = 1e6 + RNG.normal(size=(60, 3))  # a mean that would eat half of the digits of plain sums
    truth = np.cov(rows, rowvar=False)
    merged = Moments.of(rows[:7]).merge(Moments.of(rows[7:8])).merge(Moments.of(rows[8:]))
    np.testing.assert_allclose(merged.covariance, truth, atol=1e-9)
    blocks = Moments.of(rows.reshape(6, 10, 3))
    counts = np.array([[1.0] * 6, [0, 2, 0, 1, 3, 0]])
    drawn = blocks.weighted(counts)
    again = np.concatenate([rows[10:20]] * 2 + [rows[30:40]] + [rows[40:50]] * 3)
    for k, part in enumerate((rows, again)):
        np.testing.assert_allclose(drawn.mean[k], part.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(drawn.covariance[k], np.cov(part, rowvar=False), atol=1e-9)


def test_infinity_takes_the_bias_of_few_rows_away() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(20_000, 8))
    plain, extrapolated = np.array(
        [
            (frechet_distance(rows, real), frechet_infinity(rows, real, seed=k))
            for k, rows in enumerate(rng.normal(size=(8, 150, 8)))
        ]
    ).T
    assert plain.mean() > 0.15  # of one law: all of it is bias
    assert abs(extrapolated.mean()) < 0.2 * plain.mean()


def test_infinity_draws_whole_groups() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(5000, 3))
    # ten rows of a group are nearly the same: 40 rows' worth of bias, not 400
    rows = np.repeat(rng.normal(size=(40, 3)), 10, axis=0) + 0.01 * rng.normal(size=(400, 3))
    groups = np.repeat(np.arange(40), 10)
    shuffle = rng.permutation(400)
    by_group = frechet_infinity(rows, real, groups=groups)
    assert frechet_infinity(rows[shuffle], real, groups=groups[shuffle]) == pytest.approx(by_group)
    assert by_group < frechet_infinity(rows, real) - 0.02
    assert frechet_infinity(rows, real, groups=groups, seed=1) != by_group


# Inception score.


def test_inception_score_by_hand() -> None:
    q = LIKELY.mean(axis=0)
    divergence = np.mean([sum(p[k] * np.log(p[k] / q[k]) for k in range(3)) for p in LIKELY])
    assert inception_score(LIKELY) == pytest.approx(np.exp(divergence), rel=FLOAT64)
    assert inception_score(LIKELY, per_class=True) == pytest.approx(
        np.exp(divergence / 3), rel=FLOAT64
    )
    assert inception_score(torch.from_numpy(LIKELY).float()) == pytest.approx(
        np.exp(divergence), rel=1e-6
    )
    assert inception_score(np.tile(LIKELY[:1], (5, 1))) == pytest.approx(1, rel=FLOAT64)
    # 17 classes, all of them there and each row sure: the largest values there are
    sure = np.eye(17)
    assert inception_score(sure) == pytest.approx(17, rel=FLOAT64)
    assert inception_score(sure, per_class=True) == pytest.approx(17 ** (1 / 17), rel=FLOAT64)


@pytest.mark.parametrize("change", [2.0, -1.0])
def test_what_is_no_probability_is_refused(change: float) -> None:
    with pytest.raises(ValueError, match=r"inception_score: `probabilities` must hold prob"):
        inception_score(change * LIKELY)


def test_the_flag_of_the_inception_score_is_checked() -> None:
    with pytest.raises(TypeError, match="inception_score: `per_class` must be"):
        inception_score(LIKELY, per_class="yes")


# Kernel distance.


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("degree", "gamma", "coef"), [(3, None, 1), (1, 0.5, 0), (2, 0.1, 2)])
def test_kernel_distance_by_loops(
    degree: int, gamma: float | None, coef: float, grouped: bool
) -> None:
    groups = np.random.default_rng(0).integers(5, 9, len(ROWS)) if grouped else np.arange(len(ROWS))
    scale = 1 / 4 if gamma is None else gamma

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((scale * (x @ y) + coef) ** degree)

    n, m = len(ROWS), len(OTHERS)
    own = [
        kernel(ROWS[i], ROWS[j])
        for i in range(n)
        for j in range(n)
        if i != j and groups[i] != groups[j]
    ]
    others = [kernel(OTHERS[i], OTHERS[j]) for i in range(m) for j in range(m) if i != j]
    between = [kernel(x, y) for x in ROWS for y in OTHERS]
    found = kernel_distance(
        ROWS,
        OTHERS,
        degree=degree,
        gamma=gamma,
        coef=coef,
        groups=groups if grouped else None,
    )
    truth = np.mean(own) + np.mean(others) - 2 * np.mean(between)
    assert found == pytest.approx(truth, rel=FLOAT64, abs=FLOAT64)


def test_kernel_distance_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kernel_distance(ROWS, OTHERS)
    module = sys.modules["hud_fast.metrics.kernel_distance"]  # the package's name is the function's
    monkeypatch.setattr(module, "_ROOM", 70)
    assert kernel_distance(ROWS, OTHERS) == pytest.approx(whole, rel=FLOAT64)


def test_kernel_distance_has_no_bias() -> None:
    rng = np.random.default_rng(0)
    same = [kernel_distance(*rng.normal(size=(2, 20, 5))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert kernel_distance(ROWS + 3, OTHERS) > 10 * np.std(same)


def test_a_degree_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="kernel_distance: `degree` must be at least 1, got 0"):
        kernel_distance(ROWS, OTHERS, degree=0)


# Precision, recall, density, coverage.


@pytest.mark.parametrize("room", [1 << 22, 50])
@given(st.integers(2, 25), st.integers(2, 25), st.integers(1, 6), st.integers(0, 10_000))
def test_the_manifold_by_loops(room: int, n: int, m: int, neighbours: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    generated, real = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + rng.normal()

    def reach(rows: np.ndarray, k: int) -> float:
        """Distance from row k to its last neighbour, or the farthest there is."""
        others = sorted(np.linalg.norm(rows - rows[k], axis=1))[1:]
        return others[min(neighbours, len(others)) - 1]

    apart = cdist(real, generated)
    inside = np.array([[apart[i, j] <= reach(real, i) for j in range(n)] for i in range(m)])
    near = [any(apart[i, j] <= reach(generated, j) for j in range(n)) for i in range(m)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hud_fast.metrics.manifold._ROOM", room)
        found = precision_recall_density_coverage(generated, real, neighbours=neighbours)
    assert found.precision == pytest.approx(inside.any(axis=0).mean(), rel=FLOAT64)
    assert found.recall == pytest.approx(np.mean(near), rel=FLOAT64)
    density = inside.sum() / n / min(neighbours, m - 1)
    assert found.density == pytest.approx(density, rel=FLOAT64)
    assert found.coverage == pytest.approx(inside.any(axis=1).mean(), rel=FLOAT64)
    assert list(found.to_dict()) == ["precision", "recall", "density", "coverage"]


def test_the_manifold_of_a_set_with_itself() -> None:
    found = precision_recall_density_coverage(ROWS, ROWS)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(6 / 5)  # each ball holds its own row and five more


def test_neighbours_are_counted() -> None:
    with pytest.raises(ValueError, match="density_coverage: `neighbours` must be at least 1"):
        precision_recall_density_coverage(ROWS, OTHERS, neighbours=0)


# What all of them refuse.


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize(
    ("generated", "real", "kind", "text"),
    [
        ("a", OTHERS, TypeError, "`generated` must be a numpy array or a torch tensor, got str"),
        (ROWS.astype(complex), OTHERS, TypeError, "`generated` must hold real numbers"),
        (ROWS[0], OTHERS, ValueError, r"`generated` must have shape \(n, F\).* got \(4,\)"),
        (ROWS, OTHERS[:1], ValueError, r"`real` must have shape .* n >= 2 .* got \(1, 4\)"),
        (ROWS[:, :0], OTHERS, ValueError, r"`generated` must have .* F >= 1, got \(30, 0\)"),
        (ROWS, OTHERS[:, :3], ValueError, "`real` must have 4 features .* got 3"),
        (ROWS, OTHERS * np.nan, ValueError, "`real` must be finite, got NaN or infinity"),
        (ROWS + np.inf, OTHERS, ValueError, "`generated` must be finite, got NaN or infinity"),
    ],
)
def test_rows_that_are_none(name: str, generated: Any, real: Any, kind: type, text: str) -> None:
    with pytest.raises(kind, match=f"{name}: {text}"):
        DISTANCES[name](generated, real)


@pytest.mark.parametrize("name", ["frechet_infinity", "kernel_distance"])
@pytest.mark.parametrize(
    ("groups", "kind", "text"),
    [
        (np.zeros(30, int), ValueError, "`groups` must be at least 2, got 1"),
        (np.arange(29), ValueError, r"`groups` must have shape \(30,\), .* got \(29,\)"),
        (np.arange(30.0), TypeError, "`groups` must be whole numbers, got float64"),
    ],
)
def test_groups_that_are_none(name: str, groups: Any, kind: type, text: str) -> None:
    with pytest.raises(kind, match=f"{name}: {text}"):
        DISTANCES[name](ROWS, OTHERS, groups=groups)


def test_infinity_needs_several_groups() -> None:
    with pytest.raises(ValueError, match="frechet_infinity: `generated` must have at least 8 rows"):
        frechet_infinity(ROWS, OTHERS, groups=np.arange(30) // 5)
