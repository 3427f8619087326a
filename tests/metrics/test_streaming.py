"""Measures that see parts: the value of all at once, however the rows come, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hud_fast.metrics import (
    ClassifierTwoSampleTest,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    ManifoldValues,
    Streaming,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall_density_coverage,
)

RNG = np.random.default_rng(0)
ROWS, OTHERS = RNG.normal(size=(20, 4)) + 3, RNG.normal(size=(30, 4)) + 3.5
LIKELY = RNG.dirichlet(np.ones(5), 20)
SCENE = RNG.random((16, 16, 3))
TWO_SETS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "FrechetDistance": (FrechetDistance, frechet_distance),
    "KernelDistance": (
        lambda: KernelDistance(degree=2, gamma=0.1),
        lambda one, other: kernel_distance(one, other, degree=2, gamma=0.1),
    ),
    "ManifoldValues": (
        lambda: ManifoldValues(neighbours=2),
        lambda one, other: precision_recall_density_coverage(one, other, neighbours=2),
    ),
}


def values(found: Any) -> list[float]:
    return list(found.to_dict().values()) if hasattr(found, "to_dict") else [found]


@pytest.mark.parametrize("name", TWO_SETS)
def test_parts_and_merged_objects_give_what_all_at_once_gives(name: str) -> None:
    make, function = TWO_SETS[name]
    truth = pytest.approx(values(function(ROWS, OTHERS)), rel=1e-12)
    one, two, empty = make(), make(), make()
    one.update(ROWS[:1], real=False)
    one.update(ROWS[1:8], real=False)
    two.update(ROWS[8:], real=False)
    two.update(OTHERS[:29], real=True)
    one.update(OTHERS[29:], real=True)
    one.merge(empty)
    one.merge(two)
    assert values(one.compute()) == truth
    assert values(one.compute()) == truth  # a value takes nothing away
    two.update(ROWS[:8], real=False)  # and what was merged stays its own
    two.update(OTHERS[29:], real=True)
    assert values(two.compute()) == truth
    assert values(one.compute()) == truth
    one.reset()
    one.update(OTHERS, real=False)
    one.update(ROWS, real=True)
    assert values(one.compute()) == pytest.approx(values(function(OTHERS, ROWS)), rel=1e-12)


@pytest.mark.parametrize("per_class", [False, True])
def test_the_inception_score_of_parts(per_class: bool) -> None:
    one, two = InceptionScore(per_class=per_class), InceptionScore(per_class=per_class)
    one.update(LIKELY[:1])
    one.update(LIKELY[1:9])
    two.update(LIKELY[9:])
    one.merge(two)
    assert one.compute() == pytest.approx(inception_score(LIKELY, per_class=per_class), rel=1e-12)


def test_other_measures_are_not_merged() -> None:
    with pytest.raises(TypeError, match=r"KernelDistance.merge: `other` must be a KernelDistance"):
        KernelDistance().merge(ManifoldValues())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"InceptionScore.merge: `other` must have the settings"):
        InceptionScore().merge(InceptionScore(per_class=True))


@pytest.mark.parametrize("name", TWO_SETS)
def test_too_little_was_seen(name: str) -> None:
    measure = TWO_SETS[name][0]()
    measure.update(ROWS, real=False)
    with pytest.raises(ValueError, match=f"{name}.compute: `real` must have been given by update"):
        measure.compute()
    measure.update(OTHERS[:1], real=True)
    with pytest.raises(ValueError, match=f"{name}.compute: `real` must hold at least 2 .* got 1"):
        measure.compute()
    with pytest.raises(ValueError, match=f"{name}.update: `rows` must have 4 features .* got 3"):
        measure.update(OTHERS[:, :3], real=True)
    with pytest.raises(TypeError, match=f"{name}.update: `real` must be"):
        measure.update(OTHERS, real="yes")
    measure.update(OTHERS[1:], real=True)
    measure.compute()


def test_too_few_probabilities() -> None:
    score = InceptionScore()
    score.update(LIKELY[:1])
    with pytest.raises(ValueError, match=r"InceptionScore.compute: `probabilities` must hold at"):
        score.compute()
    with pytest.raises(
        ValueError, match=r"InceptionScore.update: `probabilities` must have 5 feat"
    ):
        score.update(LIKELY[:, :4])


def test_cubes_of_one_size() -> None:
    test = ClassifierTwoSampleTest(SCENE)
    test.update(RNG.random((1, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"ClassifierTwoSampleTest.compute: `generated` must hold"):
        test.compute()
    with pytest.raises(ValueError, match=r"update: `generated` must be of \(8, 8, 3\) as before"):
        test.update(RNG.random((1, 9, 8, 3)))


def test_states_of_all_processes_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    others = InceptionScore()
    others.update(LIKELY[9:])
    mine = InceptionScore()
    mine.update(LIKELY[:9])
    monkeypatch.setattr(
        "hud_fast.metrics.streaming._everybodys", lambda states: [states, others.states]
    )
    for _ in range(2):
        assert mine.compute() == pytest.approx(inception_score(LIKELY), rel=1e-12)
    assert mine.states["count"] == 9
    assert others.states["count"] == 11


def test_a_measure_says_what_it_needs() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Streaming()  # type: ignore[abstract]
