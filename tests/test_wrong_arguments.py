"""Arguments of the wrong kind: one error in our words, which names function and argument, none from a library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hud_fast as hud
from hud_fast.diffusion import PRESETS

SCENE = hud.simulate_scene(24, 24, C=12, D=3, seed=0)
TINY = replace(PRESETS["tiny"], steps=1, batch=2, crop=16)
ARRAY = np.ones((2, 3))
WRONG = {"bytes": b"x", "ragged": [[1.0], [1.0, 2.0]], "array": ARRAY, "dict": {}, "class": int}


@pytest.fixture(scope="module")
def model() -> hud.HUD:
    return hud.HUD.fit(SCENE, preset=TINY, device="cpu")


def fit(**given: object) -> hud.HUD:
    return hud.HUD.fit(SCENE, **{"preset": TINY, "device": "cpu", **given})


def save(**given: object) -> Path:
    return hud.save_scene(SCENE, **{"path": "never-written.hdr", **given})


CALLS = {
    **{
        f"HUD.fit: `{name}`": lambda _, v, name=name: fit(**{name: v})
        for name in ("encoder", "raw_latent", "resume", "precision", "device", "start", "checkpoint_dir")
    },
    **{
        f"HUD.sample: `{name}`": lambda m, v, name=name: m.sample(**{"n": 1, "steps": 1, name: v})
        for name in ("n", "size", "sampler", "return_abundances", "as_tensors", "first", "tile")
    },
    **{
        f"save_scene: `{name}`": lambda _, v, name=name: save(**{name: v})
        for name in ("path", "like", "variable", "interleave", "byte_order", "version")
    },
    "HUD.load: `folder`": lambda _, v: hud.HUD.load(v, device="cpu"),
    "HUD.to: `device`": lambda m, v: m.to(v),
    "AbundanceModel.of: `model`": lambda _, v: hud.AbundanceModel.of(v),
    "AbundanceModel.load: `folder`": lambda _, v: hud.AbundanceModel.load(v),
    "load_scene: `path_or_name`": lambda _, v: hud.load_scene(v),
    "fetch: `name`": lambda _, v: hud.fetch(v),
    "rgb: `percentiles`": lambda _, v: SCENE.rgb(percentiles=v),
    "crop: `rows`": lambda _, v: SCENE.crop(v, slice(0, 5)),
    "crop: `columns`": lambda _, v: SCENE.crop(slice(0, 5), v),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", CALLS)
def test_it_is_told_in_our_words(name: str, kind: str, model, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        CALLS[name](model, WRONG[kind])
    assert str(caught.value).startswith(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["bytes", "ragged", "array", "dict"])
def test_progress_must_be_a_function(kind: str, model) -> None:
    maps = np.stack([SCENE.truth.abundances[:8, :8]] * 2)
    for name, call in {
        "HUD.fit": lambda v: fit(progress=v),
        "HUD.sample": lambda v: model.sample(1, steps=1, progress=v),
        "realism": lambda v: hud.realism(
            maps, SCENE.truth.abundances, SCENE.truth.endmembers, progress=v
        ),
    }.items():
        with pytest.raises(TypeError, match=rf"^{name}: `progress` must be a function or None"):
            call(WRONG[kind])


@pytest.mark.parametrize("argument", ["n", "first"])
def test_numbers_of_samples_have_an_end(argument: str, model) -> None:
    with pytest.raises(ValueError, match=rf"`{argument}` must be below 2\*\*62"):
        model.sample(**{"n": 1, "steps": 1, argument: 2**70})


def test_ragged_lists_where_lists_are_taken() -> None:
    ragged = WRONG["ragged"]
    for name, call in {
        "log_standardize: `mean`": lambda: hud.log_standardize(np.ones((4, 2)), ragged, [1.0, 1.0]),
        "Scene: `cube`": lambda: hud.Scene(ragged),
        "Scene: `wavelengths`": lambda: hud.Scene(np.ones((2, 2, 2)), wavelengths=ragged),
    }.items():
        with pytest.raises(TypeError, match=f"^{name} must be "):
            call()
    with pytest.raises(TypeError, match=r"^Scene: `dtype` must be a data type, got str"):
        hud.Scene(np.ones((2, 2, 2)), dtype="x")  # type: ignore[arg-type]
