"""Scores against scikit-learn's, intervals against scipy's own t tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hud_fast.augmentation.scores import Score, difference, mean_of
from hud_fast.augmentation.summary import summary_of

NUMBERS = (1, 4, 5, 9)


def test_scores_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth = rng.choice(NUMBERS, size=300, p=[0.5, 0.3, 0.15, 0.05])
    said = np.where(rng.uniform(size=300) < 0.6, truth, rng.choice(NUMBERS, size=300))
    score = Score.of(truth, said, NUMBERS)
    np.testing.assert_array_equal(score.confusion, metrics.confusion_matrix(truth, said))
    assert score.oa == pytest.approx(metrics.accuracy_score(truth, said))
    assert score.aa == pytest.approx(metrics.balanced_accuracy_score(truth, said))
    assert score.kappa == pytest.approx(metrics.cohen_kappa_score(truth, said))
    np.testing.assert_allclose(score.f1, metrics.f1_score(truth, said, average=None))


def test_a_class_that_is_never_said_has_no_f1_above_zero() -> None:
    score = Score.of(np.array([1, 1, 4, 5]), np.array([1, 1, 1, 5]), NUMBERS)
    assert score.f1[:3].tolist() == pytest.approx([0.8, 0.0, 1.0])
    assert np.isnan(score.f1[3])  # neither in the truth nor said
    assert score.aa == pytest.approx(2 / 3)


def test_intervals_are_students() -> None:
    one = np.random.default_rng(1).normal(0.5, 0.1, size=10)
    other = one + np.random.default_rng(2).normal(0.02, 0.01, size=10)
    found = mean_of(one.tolist())
    known = stats.t.interval(0.95, 9, loc=one.mean(), scale=stats.sem(one))
    assert found["interval"] == pytest.approx(known)
    paired = difference(other.tolist(), one.tolist())
    test = stats.ttest_rel(other, one).confidence_interval(0.95)
    assert paired["interval"] == pytest.approx((test.low, test.high))
    assert paired["value"] == pytest.approx((other - one).mean())


def test_what_is_unknown_in_a_draw_does_not_count() -> None:
    assert mean_of([None, 0.5, float("nan"), 0.7])["value"] == pytest.approx(0.6)
    assert difference([0.5, None, 0.9], [0.4, 0.1, None]) == {
        "value": pytest.approx(0.1),
        "interval": None,
        "sd": None,
    }
    assert mean_of([None])["value"] is None


def test_the_best_control_is_the_best_of_this_table() -> None:
    def scored(oa: float) -> dict[str, object]:
        return {
            "svm": {"oa": oa, "aa": oa, "kappa": oa, "f1": [oa, oa], "confusion": [[1, 0], [0, 1]]}
        }

    draws = [
        {
            "counts": {
                "5": {
                    "rows": {
                        "real": scored(0.5 + shift),
                        "flips": scored(0.6 + shift),
                        "pseudo": scored(0.55 + 3 * shift),
                        "spread": scored(0.7),
                        "hud": scored(0.65 + 2 * shift),
                    }
                }
            }
        }
        for shift in (-0.02, 0.0, 0.05)
    ]
    rows = ("real", "flips", "pseudo", "spread", "hud")
    table = summary_of(draws, (5,), ("svm",), rows)["5"]["svm"]
    assert table["best_control"] == "flips"
    assert set(table["differences"]) == {
        *(f"{row} - real" for row in rows[1:]),
        "hud - control",
        "hud - spread",
    }
    against = table["differences"]["hud - control"]
    assert (against["against"], against["is_control"]) == ("flips", True)
    assert against["oa"]["value"] == pytest.approx(np.mean([0.03, 0.05, 0.1]))
    assert table["differences"]["flips - real"]["oa"]["sd"] == pytest.approx(0, abs=1e-12)
    assert table["rows"]["hud"]["confusion"] == [[3, 0], [0, 3]]
