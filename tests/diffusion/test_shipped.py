"""The start that comes with the package: it fits any number of endmembers, and it helps."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import refused

from hud_fast import cli
from hud_fast.diffusion import HUD, PRESETS, AbundanceModel, fit_scenes
from hud_fast.diffusion.abundance_model import SHIPPED_FOLDER, as_start, with_channels
from hud_fast.diffusion.fitting import trainer_of
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.preparation import PreparedScene, choose_endmembers
from hud_fast.scenes import Scene, save_scene, simulate_scene

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def shipped() -> AbundanceModel:
    found = as_start("shipped")
    assert found is not None
    return found


def test_it_lies_in_the_package_and_is_small(shipped: AbundanceModel) -> None:
    package = importlib.util.find_spec("hud_fast")
    assert package is not None
    assert package.submodule_search_locations is not None
    assert any(SHIPPED_FOLDER.is_relative_to(p) for p in package.submodule_search_locations)
    assert sum(p.stat().st_size for p in SHIPPED_FOLDER.parent.rglob("*")) < 3e6
    assert "Apache-2.0" in (SHIPPED_FOLDER.parent / "README.md").read_text()
    assert shipped.scenes == ("simulated fields",), "nothing of a real scene"
    assert all(weight.isfinite().all() for weight in shipped.weights.values())


@pytest.mark.parametrize("D", [1, 3, 16, 20, 64])
def test_it_fits_any_number_of_endmembers(shipped: AbundanceModel, D: int) -> None:
    network = build_network(TINY, D, seed=1)
    fresh = {name: value.clone() for name, value in network.named_parameters()}
    shipped.load_into(network)
    assert shipped.ranks_for(D) == tuple(range(D))
    assert shipped.count is None
    both = min(D, 16)
    for name, value in network.named_parameters():
        given = shipped.weights[name].float()
        if name == "unet.conv_in.weight":
            # z, the guess, the atom and the guess beside it, D channels each
            new, old, first = (x.unflatten(1, (4, -1)) for x in (value, given, fresh[name]))
            assert torch.equal(new[:, :, :both], old[:, :, :both])
            assert torch.equal(new[:, :, both:], first[:, :, both:])
        elif name.startswith("unet.conv_out"):
            assert torch.equal(value[:both], given[:both])
            assert not value[both:].any(), "says nothing of them at first, as a fresh one does"
        else:
            assert torch.equal(value, given)


def test_weights_for_fewer_channels_are_those_of_a_network_that_hears_nothing_of_the_others(
    shipped: AbundanceModel,
) -> None:
    """What the pre-training trains for D = 3 is what a training with D = 3 gets."""
    few = build_network(TINY, 3).eval()
    many = build_network(TINY, 16).eval()
    shipped.load_into(few)
    shipped.load_into(many)
    told = torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    silent = torch.cat([told, torch.zeros(2, 4, 13, 16, 16)], dim=2)
    t = torch.tensor([3, 700])
    with torch.no_grad():
        a = few.unet(told.flatten(1, 2), t, return_dict=False)[0]
        b = many.unet(silent.flatten(1, 2), t, return_dict=False)[0]
    assert torch.allclose(a, b[:, :3], atol=1e-5)
    assert a.abs().max() > 0.01


def test_channels_are_differentiable(shipped: AbundanceModel) -> None:
    weights = {name: value.float().requires_grad_() for name, value in shipped.weights.items()}
    fresh = dict(build_network(TINY, 3).named_parameters())
    found = with_channels(weights, fresh)
    sum(value.sum() for value in found.values()).backward()  # type: ignore[union-attr]
    gradient = weights["unet.conv_out.bias"].grad
    assert gradient is not None
    assert gradient.tolist() == [1.0] * 3 + [0.0] * 13


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 44, C=40, D=5, seed=3)


def test_a_training_from_it_starts_lower(shipped: AbundanceModel, scene: Scene) -> None:
    A = choose_endmembers(scene, 5, seed=0)
    prepared = PreparedScene.of(scene, A, encoder="fcls", raw_latent=False, ranks=range(5))
    first = {}
    for name, start in (("scratch", None), ("shipped", shipped)):
        preset = replace(TINY, steps=2, batch=32, log_every=1)
        trainer = trainer_of([prepared], preset, seed=0, encoder="fcls", start=start)
        trainer.step()
        first[name] = trainer.history[0]["loss"]
    assert first["shipped"] < 0.97 * first["scratch"]


def test_fits_with_it_and_without(scene: Scene) -> None:
    """By its name, and with as many endmembers as the scene has, in the order of falling mean."""
    options = {"preset": "tiny", "steps": 1, "device": "cpu"}
    model = HUD.fit(scene, start="shipped", **options)  # type: ignore[arg-type]
    scratch = HUD.fit(scene, **options)  # type: ignore[arg-type]
    assert model.D == scratch.D == 5
    means = model.abundances.mean(axis=(0, 1))
    assert (np.diff(means) <= 0).all()
    assert model.network is not None
    assert scratch.network is not None
    name = "unet.mid_block.resnets.0.conv1.weight"
    ours, theirs = (m.network.get_parameter(name) for m in (model, scratch))
    assert not torch.allclose(ours, theirs)
    other = simulate_scene(36, 36, C=25, D=5, seed=4)
    common, models = fit_scenes([scene, other], start="shipped", **options)  # type: ignore[arg-type]
    assert [one.D for one in models] == [5, 5]
    assert common.scenes[0] == "simulated fields"
    assert common.count == 5, "what was trained with five endmembers is of five"


def test_what_it_does_not_go_with_is_refused(
    shipped: AbundanceModel, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ValueError, match=r"`widths` = \(64, 128, 128\) as this training has, got one"
    ):
        HUD.fit(scene, preset="small", start="shipped", device="cpu")
    with pytest.raises(ValueError, match="`raw_latent` = True as this training has"):
        HUD.fit(scene, preset="tiny", raw_latent=True, start="shipped", device="cpu")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be the folder of a model, got shippped"):
        as_start("shippped")
    with pytest.raises(FileNotFoundError, match="must be the folder of a model, got shipped"):
        as_start(Path("shipped"))
    with pytest.raises(TypeError, match="or a folder of one, or 'shipped', got int"):
        as_start(3)  # type: ignore[arg-type]


def test_saved_and_loaded_it_still_goes_with_any_number(
    shipped: AbundanceModel, tmp_path: Path
) -> None:
    shipped.save(tmp_path / "m")
    again = AbundanceModel.load(tmp_path / "m")
    assert again.any_D
    assert again.digest == shipped.digest
    assert {value.dtype for value in again.weights.values()} == {torch.float16}


def test_on_the_command_line(
    scene: Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, out = str(tmp_path / "scene.mat"), tmp_path / "model"
    save_scene(scene, path)
    few = ["--steps", "2", "--device", "cpu", "--threads", "1", "--out", str(out)]
    monkeypatch.chdir(tmp_path)
    small = ["--preset", "small", "--start-from", "shipped"]
    assert "as this training has, got one with (32, 64, 64)" in refused(
        capsys, "fit", path, *small, *few
    )
    folder = refused(capsys, "fit", path, "--start-from", "./shipped", *few)
    assert "`start` must be the folder of a model, got" in folder, "./ makes it a folder"
    assert not out.exists()
    four = ["--endmembers", "4", "--start-from", "shipped"]
    assert cli.main(["fit", path, *four, *few]) == 0
    assert HUD.load(out, device="cpu").D == 4
