"""What the whole experiment takes, from some steps of each method."""

from __future__ import annotations

import json
from pathlib import Path

import experiment_hours
import pytest

from hud_fast.baselines import METHODS
from hud_fast.scenes import save_scene, simulate_scene


def test_hours_are_seconds_a_step_times_the_budget_s_steps(tmp_path: Path) -> None:
    save_scene(simulate_scene(72, 36, C=8, D=3, seed=0), tmp_path / "field.npz")
    words = [str(tmp_path / "field.npz"), "--budget", "micro", "--steps", "3", "--device", "cpu"]
    experiment_hours.main([*words, "--out", str(tmp_path / "hours.json")])
    found = json.loads((tmp_path / "hours.json").read_text())
    assert [row["method"] for row in found["rows"]] == list(METHODS)
    for row in found["rows"]:
        expected = sum(
            a * b for a, b in zip(row["seconds a step"], row["steps"].values(), strict=True)
        )
        expected += row["seconds of sampling 8 cubes"]
        assert row["hours of a scene"] == pytest.approx(expected / 3600)
        assert min(row["seconds a step"]) > 0
    assert found["hours of five scenes"] == pytest.approx(
        5 * sum(row["hours of a scene"] for row in found["rows"])
    )


def test_the_first_tenth_warms_up() -> None:
    slow = [{"stage": "a", "step": n + 1, "seconds": 50.0 * n} for n in range(2)]
    history = slow + [{"stage": "a", "step": n + 1, "seconds": 100.0 + n} for n in range(2, 20)]
    other = [{"stage": "b", "step": n + 1, "seconds": 500.0 + n / 2} for n in range(20)]
    assert experiment_hours.per_step(history + other, "a") == pytest.approx(1.0)
    assert experiment_hours.per_step(history + other, "b") == pytest.approx(0.5)
