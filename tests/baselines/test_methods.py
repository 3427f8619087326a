"""All methods by one interface: HUD beside its rivals."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from hud_fast.baselines import BUDGETS, METHODS, HUDMethod
from hud_fast.cli import compare
from hud_fast.comparison.protocols import PROTOCOLS
from hud_fast.comparison.published import METHODS as PUBLISHED
from hud_fast.scenes import simulate_scene


def test_the_command_s_names_are_those_of_the_rooms() -> None:
    assert tuple(METHODS) == compare.METHODS
    assert [one.value for one in compare.Budget] == list(BUDGETS)
    assert [one.value for one in compare.Protocol] == [*PROTOCOLS, "both"]


def test_the_paper_s_methods_are_there() -> None:
    assert tuple(METHODS) == PUBLISHED
    assert [name for name, method in METHODS.items() if not method.generates] == ["mprnet"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_every_budget_and_takes_the_same_arguments(name: str) -> None:
    method = METHODS[name]
    assert set(method.budgets) == set(BUDGETS)  # type: ignore[attr-defined]
    assert method.name == name
    arguments = ("budget", "seed", "device", "scaling", "settings", "checkpoint_dir", "resume")
    given = dict.fromkeys((*arguments, "progress"))
    inspect.signature(method.fit).bind("scene", **given)  # TypeError where one is not taken


def test_hud_is_saved_and_loaded_like_the_others(tmp_path) -> None:  # type: ignore[no-untyped-def]
    scene = simulate_scene(40, 40, C=10, D=3, seed=0)
    model = HUDMethod.fit(scene, budget="micro", device="cpu", seed=2)
    model.save(tmp_path / "model")
    again = HUDMethod.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(model.sample(2, seed=5), again.sample(2, seed=5))
    assert again.summary() == model.summary()
    assert model.summary()["gflop"] > 0
    assert model.summary()["budget"] == "micro"
