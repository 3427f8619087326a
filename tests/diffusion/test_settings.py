from __future__ import annotations

import pytest

from hud_fast.diffusion.presets import TINY, Preset
from hud_fast.diffusion.settings import changed


def test_each_kind_of_value(micro: Preset) -> None:
    texts = [
        "prediction=v",
        "zero-terminal-snr=Yes",
        "min_snr_gamma = 4.5",
        "batch=6",
        "attention=no,yes",
    ]
    preset = changed(micro, texts)
    assert (preset.prediction, preset.zero_terminal_snr, preset.min_snr_gamma) == ("v", True, 4.5)
    assert (preset.batch, preset.attention, preset.name) == (6, (False, True), micro.name)
    assert changed(micro, []) == micro


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch", "a setting must be NAME=VALUE, got 'batch'"),
        ("colour=red", "a setting must be one of T, accumulate, .* got 'colour'"),
        ("name=mine", "a setting must be one of .* got 'name'"),
        ("batch=many", "`batch` must be a whole number, got 'many'"),
        ("batch=1.5", "`batch` must be a whole number, got '1.5'"),
        ("clip=x", "`clip` must be a number, got 'x'"),
        ("augment=maybe", "`augment` must be yes or no, got 'maybe'"),
        ("widths=32,x", "`widths` must be a whole number, got 'x'"),
        ("schedule=none", "`schedule` must be one of linear, cosine, got none"),
        ("learning_rate=nan", "`learning_rate` must be positive, got nan"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        changed(TINY, [text])
