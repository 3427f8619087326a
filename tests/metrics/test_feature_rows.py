"""Intervals over blocks: each resample against the public functions on the rows that were drawn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hud_fast.metrics import (
    FeatureValues,
    block_estimates,
    frechet_distance,
    frechet_infinity,
    inception_score,
    kernel_distance,
    precision_recall_density_coverage,
)
from hud_fast.metrics.bootstrap import resampling_weights

# Worst relative error measured: 2e-13.
FLOAT64 = 1e-10

B, M, N, F, K = 10, 4, 50, 6, 3
RNG = np.random.default_rng(0)
# rows of one block resemble each other
GENERATED = [
    RNG.normal(size=(B, 1, F)) + 0.3 * RNG.normal(size=(B, M, F)),
    2 * RNG.normal(size=(B, M, F - 1)) + 0.5,
]
REAL = [RNG.normal(size=(N, F)), RNG.normal(size=(N, F - 1))]
LIKELY = [RNG.dirichlet(np.ones(K), (B, M)) for _ in range(2)]
NAMES = ["fid", "kid", "precision", "recall", "density", "coverage", "inception"]
BIASED = {"fid", "kid", "recall", "coverage", "inception"}


def drawn_values(space: int, drawn: list[int]) -> dict[str, float]:
    """Of the drawn blocks, from their rows; balls are those of all blocks."""
    own, real = GENERATED[space], REAL[space]
    rows = own[drawn].reshape(-1, own.shape[2])

    def within(rows: np.ndarray, k: int = 5) -> np.ndarray:
        return np.sort(np.linalg.norm(rows[:, None] - rows[None], axis=2), axis=1)[:, k]

    apart = np.linalg.norm(real[:, None] - rows[None], axis=2)
    inside = apart <= within(real)[:, None]
    balls = within(own.reshape(-1, own.shape[2])).reshape(B, M)[drawn].reshape(-1)
    return {
        "fid": frechet_distance(rows, real),
        "kid": kernel_distance(rows, real, groups=np.repeat(drawn, M)),
        "precision": inside.any(axis=0).mean(),
        "recall": (apart <= balls).any(axis=1).mean(),
        "density": inside.sum(axis=0).mean() / 5,
        "coverage": inside.any(axis=1).mean(),
        "inception": inception_score(LIKELY[space][drawn].reshape(-1, K)),
    }


def test_each_resample_is_its_rows() -> None:
    found = block_estimates(GENERATED, REAL, bootstrap=12, seed=3, probabilities=LIKELY)
    counts = np.rint(resampling_weights(B, 12, 3) * B).astype(int)
    drawn = [np.repeat(np.arange(B), one).tolist() for one in counts]
    truth = [[drawn_values(space, one) for one in drawn] for space in range(2)]
    least = {"inception": 1.0, "kid": -np.inf}
    most = {"precision": 1.0, "recall": 1.0, "coverage": 1.0}
    for name in NAMES:
        values = np.array([[one[name] for one in rows] for rows in truth])
        assert getattr(found, name).value == pytest.approx(values[:, 0].mean(), rel=FLOAT64)
        rest = values[:, 1:]
        if name in BIASED:
            rest = rest - np.median(rest, axis=1, keepdims=True) + values[:, :1]
        ends = np.quantile(rest, [0.025, 0.975])
        ends = np.clip(ends, least.get(name, 0.0), most.get(name, np.inf))
        assert [getattr(found, name).low, getattr(found, name).high] == pytest.approx(
            ends.tolist(), rel=FLOAT64, abs=FLOAT64
        ), name


def test_the_values_are_those_of_all_rows() -> None:
    found = block_estimates(GENERATED[:1], REAL[:1], bootstrap=0)
    rows, groups = GENERATED[0].reshape(-1, F), np.repeat(np.arange(B), M)
    near = precision_recall_density_coverage(rows, REAL[0])
    for name, value in near.to_dict().items():
        assert getattr(found, name).value == pytest.approx(value, rel=FLOAT64)
    assert found.inception is None
    assert found.fid_infinity is not None
    # other subsets of the same sizes
    assert found.fid_infinity.value == pytest.approx(
        np.mean([frechet_infinity(rows, REAL[0], groups=groups, seed=k) for k in range(20)]),
        abs=0.3 * found.fid.value,
    )
    assert found.fid_infinity.value < found.fid.value
    assert np.isnan([found.fid.low, found.fid.high, found.fid_infinity.low]).all()


def test_infinity_has_an_interval_of_its_own() -> None:
    found = block_estimates(GENERATED, REAL, bootstrap=30)
    one = found.fid_infinity
    assert one is not None
    assert one.low < one.value < one.high
    few = block_estimates([own[:7] for own in GENERATED], REAL, bootstrap=2)
    assert few.fid_infinity is None


def test_a_resample_of_one_block_has_no_pairs() -> None:
    found = block_estimates([GENERATED[0][:2]], REAL[:1], bootstrap=20)
    assert found.kid.low <= found.kid.value <= found.kid.high
    # all resamples with pairs are the sample itself
    assert found.kid.high - found.kid.low == pytest.approx(0, abs=FLOAT64)
    assert found.fid.high > found.fid.low


def test_intervals_cover_what_blocks_vary_by() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(200, 3))

    def made(spread: float) -> FeatureValues:
        rows = spread * rng.normal(size=(20, 1, 3)) + rng.normal(size=(20, 6, 3))
        return block_estimates([rows], [real], bootstrap=60)

    alike, apart = made(0.0), made(1.0)
    assert alike.kid.low < 0 < alike.kid.high
    assert apart.kid.high - apart.kid.low > 2 * (alike.kid.high - alike.kid.low)


def test_more_spaces_make_intervals_wider() -> None:
    far = [GENERATED[0], GENERATED[0] + 2]
    one, two = (block_estimates(far[:S], [REAL[0]] * S, bootstrap=30) for S in (1, 2))
    assert two.fid.low < two.fid.value < two.fid.high
    assert two.fid.high - two.fid.low > one.fid.high - one.fid.low
    assert two.fid.value > one.fid.high


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, two, other = (
        block_estimates(GENERATED, REAL, bootstrap=5, seed=seed).to_dict() for seed in (0, 0, 1)
    )
    assert json.dumps(one) == json.dumps(two)
    assert one["fid"]["value"] == other["fid"]["value"]
    assert one["fid"] != other["fid"]
    assert one["inception"] is None


def test_identical_sets_are_not_apart() -> None:
    found = block_estimates([REAL[0].reshape(10, 5, F)], REAL[:1], bootstrap=10)
    assert found.fid.value == pytest.approx(0, abs=FLOAT64)
    assert found.fid.low == 0 or found.fid.low == pytest.approx(0, abs=FLOAT64)
    assert (found.recall.value, found.coverage.value, found.precision.value) == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"generated": GENERATED[0]}, TypeError, "`generated` must be a list of arrays, one a"),
        ({"generated": []}, ValueError, "`generated` must hold at least 1 array, got 0"),
        ({"real": REAL[:1]}, ValueError, "`real` must hold 2 arrays as `generated` has, got 1"),
        ({"real": REAL[::-1]}, ValueError, "`real` must have 6 features .* got 5"),
        ({"generated": REAL}, ValueError, r"`generated` must hold .* \(B, m, F\) .* \(50, 6\)"),
        (
            {"generated": [GENERATED[0][:1]] * 2},
            ValueError,
            r"`generated` must hold .* B >= 2, .* got \(1, 4, 6\)",
        ),
        (
            {"generated": [GENERATED[0], GENERATED[1][:4]]},
            ValueError,
            r"`generated` must hold .* B = 10, .* got \(4, 4, 5\)",
        ),
        ({"generated": [g * np.nan for g in GENERATED]}, ValueError, "`generated` must be finite"),
        ({"real": [r + np.inf for r in REAL]}, ValueError, "`real` must be finite"),
        ({"probabilities": LIKELY[:1]}, ValueError, "`probabilities` must hold 2 arrays"),
        ({"probabilities": GENERATED}, ValueError, "`probabilities` must hold probabilities"),
        ({"probabilities": LIKELY[0]}, TypeError, "`probabilities` must be a list of arrays"),
        ({"bootstrap": -1}, ValueError, "`bootstrap` must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "`seed` must be an int, got float"),
    ],
)
def test_what_is_refused(change: dict[str, Any], kind: type, text: str) -> None:
    given = {"generated": GENERATED, "real": REAL, "bootstrap": 0} | change
    with pytest.raises(kind, match=f"block_estimates: {text}"):
        block_estimates(**given)
