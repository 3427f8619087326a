from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusion.conftest import MICRO

from hud_fast.diffusion import HUD, AbundanceModel
from hud_fast.diffusion.abundance_model import trained_weights
from hud_fast.diffusion.network import build_network


@pytest.fixture
def model() -> AbundanceModel:
    return AbundanceModel(
        weights=trained_weights(build_network(MICRO, 3, seed=1)),
        preset=MICRO,
        D=3,
        ranks=(1, 0, 2),
        raw_latent=False,
        scenes=("a", "b"),
        steps=12,
        seed=1,
    )


def test_save_and_load(model: AbundanceModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "network.safetensors",
    ]
    again = AbundanceModel.load(tmp_path / "m")
    assert again.weights.keys() == model.weights.keys()
    assert all(torch.equal(again.weights[name], model.weights[name]) for name in model.weights)
    for name in ("preset", "D", "ranks", "raw_latent", "scenes", "steps", "seed", "digest"):
        assert getattr(again, name) == getattr(model, name)
    again.save(tmp_path / "m")  # may be replaced


def test_it_knows_no_sensor(model: AbundanceModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert not {"C", "wavelengths", "scene", "unmixing"} & config.keys()
    assert all(name.startswith("unet.") for name in model.weights)


def test_the_digest_is_of_weights_and_meaning(model: AbundanceModel) -> None:
    name = next(iter(model.weights))
    changed = {**model.weights, name: model.weights[name] * 2}
    others = [
        replace(model, weights=changed),
        replace(model, ranks=(0, 1, 2)),
        replace(model, raw_latent=True),
        replace(model, preset=replace(MICRO, T=500)),
    ]
    assert len({model.digest, *(other.digest for other in others)}) == 5
    assert replace(model, seed=9, preset=replace(MICRO, steps=99)).digest == model.digest


def test_damaged_and_foreign_folders(model: AbundanceModel, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    with pytest.raises(FileNotFoundError, match=r"AbundanceModel.load: .* a folder that is not"):
        AbundanceModel.load(folder)
    model.save(folder)
    with pytest.raises(FileNotFoundError, match=r'HUD.load: .*"hud_fast abundance model"'):
        HUD.load(folder)
    config, network = folder / "config.json", folder / "network.safetensors"
    whole = network.read_bytes()
    network.write_bytes(whole[:-1])
    with pytest.raises(OSError, match=r"AbundanceModel.load: .* is damaged"):
        AbundanceModel.load(folder)
    network.unlink()
    with pytest.raises(OSError, match="a file is missing"):
        AbundanceModel.load(folder)
    network.write_bytes(whole)
    text = config.read_text()
    config.write_text(text.replace('"D": 3', '"D": 4'))
    with pytest.raises(OSError, match="its checksum does not match"):
        AbundanceModel.load(folder)
    config.write_text("{")
    with pytest.raises(OSError, match=r"config\.json is damaged"):
        AbundanceModel.load(folder)
    record = json.loads(text)
    config.write_text(json.dumps({**record, "version": 99}))
    with pytest.raises(ValueError, match="file version 1 or older, got 99"):
        AbundanceModel.load(folder)
    replace(model, D=5).save(tmp_path / "n")
    with pytest.raises(OSError, match="is of another network"):
        AbundanceModel.load(tmp_path / "n")


def test_saving_never_removes_what_is_something_else(model: AbundanceModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(
        FileExistsError, match=r"must be new, empty or a saved abundance model, got .* thesis.tex"
    ):
        model.save(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"format": "of something else"}')
    with pytest.raises(FileExistsError, match=r"config.json of another kind in it"):
        model.save(other)
