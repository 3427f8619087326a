"""The arguments of fitting and sampling: what type checkers are told is what there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from hud_fast.diffusion import HUD, fit_scenes
from hud_fast.diffusion.choices import Sampling, SamplingOptions, Training, TrainingOptions


def keywords(function: Callable[..., Any]) -> dict[str, tuple[str, Any]]:
    """Types and defaults by name."""
    found = inspect.signature(function).parameters.values()
    return {p.name: (p.annotation, p.default) for p in found if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("options", "template", "functions"),
    [
        (TrainingOptions, Training.of, (HUD.fit, fit_scenes)),
        (SamplingOptions, Sampling.of, (HUD.sample, HUD.sample_abundances)),
    ],
)
def test_names_types_and_defaults_agree(
    options: Any, template: Callable[..., Any], functions: tuple[Callable[..., Any], ...]
) -> None:
    there = keywords(template)
    told = {name: kind.__forward_arg__ for name, kind in options.__annotations__.items()}
    assert told == {name: kind for name, (kind, _) in there.items()}
    for function in functions:
        assert there.items() <= keywords(function).items()


@pytest.mark.parametrize("function", [HUD.fit, fit_scenes, HUD.sample, HUD.sample_abundances])
def test_a_misspelt_keyword_is_refused_by_the_name_that_was_called(
    function: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError, match=rf"{function.__qualname__}\(\) got .* 'stepz'"):
        function(None, stepz=3)
