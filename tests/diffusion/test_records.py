"""Folders written by a stranger, their checksums right: each lie is told by its name, and nothing large is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion.conftest import MICRO
from torch import Tensor

from hud_fast.diffusion import HUD, AbundanceModel
from hud_fast.diffusion.checkpoint import DamagedFileError, read_tensors, write_tensors
from hud_fast.diffusion.folders import _digest
from hud_fast.scenes import simulate_scene


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each kind; the scene's is also laid of patches."""
    folder = tmp_path_factory.mktemp("saved")
    preset = replace(MICRO, patches="guided", prediction="residual", steps=1)
    model = HUD.fit(simulate_scene(24, 30, C=20, D=3, seed=0), preset=preset, device="cpu")
    model.save(folder / "hud")
    AbundanceModel.of(model).save(folder / "maps")
    HUD.load(folder / "hud", device="cpu")
    return folder


def forge(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change config.json and compute its checksum anew."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("sha256")
    change(config)
    path.write_text(json.dumps({**config, "sha256": _digest(config)}))


def put(place: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set ``a.b`` to a value, or with ``...`` take it away."""

    def change(config: dict[str, Any]) -> None:
        *parts, last = place.split(".")
        for part in parts:
            config = config[part]
        if value is ...:
            del config[last]
        else:
            config[last] = value

    return change


NOT = (..., None, "x", [], -1)
LIES = [
    *[("version", value) for value in (0, -1, True, "1", ...)],
    *[("D", value) for value in (*NOT, 4, True, 10**9)],
    *[("seed", value) for value in NOT],
    *[("raw_latent", value) for value in (..., 0, "no")],
    *[("preset", value) for value in NOT],
    ("preset.layers", 10**6),
    ("preset.layers", 2),
    ("preset.widths", [10**6, 10**6]),
    ("preset.widths", []),
    ("preset.widths", 8),
    ("preset.groups", 0),
    ("preset.T", 10**12),
    ("preset.T", 1000.5),
    ("preset.beta_end", float("nan")),
    ("preset.surprise", 1),
    ("preset.steps", ...),
]
OF_A_SCENE = [
    *[("C", value) for value in (*NOT, 21)],
    ("encoder", "magic"),
    ("preset.crop", 10**6),
    *[("scene", value) for value in NOT],
    *[
        ("scene.scale", value)
        for value in (0, -1, float("nan"), float("inf"), 10**400, "1", True, ...)
    ],
    *[("scene.rgb_bands", value) for value in ([0, 1], [0, 1, 20], [0, 1, -1], [0, 1, 2.5], "012")],
    ("scene.name", 7),
    ("scene.simulated", "no"),
    *[("history", value) for value in (..., 5, [5], [{"step": 1}], [{"step": "a"}])],
    ("unmixing", [1]),
    ("patches_seed", ...),
]
OF_MAPS = [
    ("ranks", [0, 1]),
    ("ranks", [0, 1, 3]),
    ("scenes", [1]),
    ("steps", -1),
    ("any_D", "yes"),
]


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [("hud", *lie) for lie in LIES + OF_A_SCENE] + [("maps", *lie) for lie in LIES + OF_MAPS],
)
def test_a_forged_config_is_refused_by_name(
    saved: Path, tmp_path: Path, kind: str, place: str, value: Any
) -> None:
    shutil.copytree(saved / kind, tmp_path / "m")
    forge(tmp_path / "m", put(place, value))
    load = {"hud": HUD.load, "maps": AbundanceModel.load}[kind]
    caller = {"hud": "HUD", "maps": "AbundanceModel"}[kind]
    with pytest.raises(DamagedFileError, match=rf"^{caller}\.load: .*m.* is damaged \(.+\)"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    ("file", "name", "change"),
    [
        *[
            ("statistics", name, change)
            for name in ("endmembers", "mean", "std", "abundances", "patches.log_weights")
            for change in (
                lambda _: None,
                lambda value: value.double(),
                lambda value: value.fill_(float("inf")),
                lambda value: value[..., :-1],
            )
        ],
        ("statistics", "abundances", lambda value: value.fill_(float("nan"))),
        (
            "statistics",
            "abundances",
            lambda value: value.index_fill_(2, torch.tensor([0]), torch.nan),
        ),
        ("statistics", "std", lambda value: value.neg_()),
        ("statistics", "wavelengths", lambda _: torch.ones(3)),
        ("network", "unet.conv_out.bias", lambda value: value.fill_(float("nan"))),
        ("network", "unet.conv_out.bias", lambda _: None),
        ("network", "unet.conv_out.bias", lambda value: value.int()),
        ("network", "unet.conv_in.weight", lambda _: torch.zeros(10**6)),
    ],
)
def test_forged_tensors_are_refused(
    saved: Path, tmp_path: Path, file: str, name: str, change: Callable[[Tensor], Tensor | None]
) -> None:
    shutil.copytree(saved / "hud", tmp_path / "m")
    path = tmp_path / "m" / f"{file}.safetensors"
    tensors, record = read_tensors(path)
    new = change(tensors.pop(name))
    write_tensors(path, tensors if new is None else {**tensors, name: new}, record)
    with pytest.raises(DamagedFileError, match=r"^HUD\.load: .*m is damaged \(.+\)"):
        HUD.load(tmp_path / "m")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"version": ' + "1" * 5000 + "}", "\ud800", "[1]", ""]
)
def test_text_that_is_no_config(saved: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(saved / "hud", tmp_path / "m")
    (tmp_path / "m" / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises((DamagedFileError, FileNotFoundError), match=r"^HUD.load: .*config\.json"):
        HUD.load(tmp_path / "m")


def test_the_same_model_is_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    """Whatever order a hash gives the names of safetensors' metadata; tensors and record as before."""
    HUD.load(saved / "hud").save(tmp_path / "again")
    for name in ("network.safetensors", "statistics.safetensors"):
        first = (saved / "hud" / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == first
        tensors, record = read_tensors(saved / "hud" / name)
        for _ in range(8):
            write_tensors(tmp_path / name, tensors, record)
            assert (tmp_path / name).read_bytes() == first
