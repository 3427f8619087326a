from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.presets import PAPER, PRESETS, SMALL, TINY, Preset, resolve_preset


def test_the_four() -> None:
    assert list(PRESETS) == ["instant", "tiny", "small", "paper"]
    assert all(name == preset.name and preset.summary for name, preset in PRESETS.items())


def test_the_paper_is_kept_where_it_speaks() -> None:
    assert (PAPER.T, PAPER.crop, PAPER.sampler, PAPER.sampler_steps) == (1000, 32, "ddpm", 1000)
    assert PAPER.prediction == "epsilon"
    assert (PAPER.beta_start, PAPER.beta_end, PAPER.sigma) == (1e-4, 0.02, "beta_tilde")


@pytest.mark.parametrize(
    ("preset", "millions"), [(TINY, (0.5, 3)), (SMALL, (5, 9)), (PAPER, (30, 45))]
)
def test_sizes(preset: Preset, millions: tuple[float, float]) -> None:
    low, high = millions
    assert low < build_network(preset, 16).parameter_count / 1e6 < high


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_json_round_trip(preset: Preset) -> None:
    assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset


def test_resolving(micro: Preset) -> None:
    assert resolve_preset("tiny") is TINY
    assert resolve_preset(micro) is micro
    with pytest.raises(
        ValueError, match="`preset` must be one of instant, tiny, small, paper, got 'large'"
    ):
        resolve_preset("large")
    with pytest.raises(TypeError, match="`preset` must be a name or a Preset, got int"):
        resolve_preset(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"widths": (12, 10)}, "`widths` must be multiples of groups = 4, got"),
        ({"attention": (True,)}, "`attention` must have one entry for each of the 2 widths"),
        ({"crop": 9}, "`crop` must be a multiple of 2 and at least 4, got 9"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"sampler_steps": 1001}, "`sampler_steps` must be at most T = 1000"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"clip": -1.0}, "`clip` must be positive"),
        ({"warmup": -1}, "`warmup` must not be negative"),
        ({"weight_decay": -1.0}, "`weight_decay` must not be negative"),
        ({"ema_decay": 1.0}, r"`ema_decay` must lie in \[0, 1\)"),
        ({"sampler": "euler"}, r"`sampler` must be one of ddpm, ddim, dpm\+\+, got euler"),
        ({"prediction": "x"}, "`prediction` must be one of epsilon, v, residual, got x"),
        ({"sigma": "x"}, "`sigma` must be one of beta_tilde, beta"),
        ({"decay": "linear"}, "`decay` must be one of cosine, constant"),
        ({"schedule": "x"}, "`schedule` must be one of linear, cosine, got x"),
        ({"loss_weight": "x"}, "`loss_weight` must be one of uniform, min_snr, got x"),
        ({"min_snr_gamma": 0.0}, "`min_snr_gamma` must be positive, got 0.0"),
        ({"accumulate": 0}, "`accumulate` must be at least 1, got 0"),
        ({"batch": 4, "accumulate": 3}, "`accumulate` must divide batch = 4, got 3"),
        (
            {"zero_terminal_snr": True},
            "`zero_terminal_snr` must go with prediction = v.*got prediction = epsilon",
        ),
    ],
)
def test_errors(micro: Preset, changes: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        replace(micro, **changes)  # type: ignore[arg-type]


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValueError, match="unknown setting `colour`"):
        Preset.from_dict({**TINY.to_dict(), "colour": 1})
