"""Several scenes in one training: what each keeps for itself, what they share, and how a training starts elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.conftest import MICRO, smooth_abundances
from diffusion.test_capture import Watch, on_device
from torch import Tensor, nn

from hud_fast.diffusion import HUD, AbundanceModel, fit_scenes, training
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.fitting import trainer_of
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.preparation import (
    PreparedScene,
    abundances_of,
    choose_endmembers,
    in_ranks,
    ranks_of,
)
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.training import Trainer
from hud_fast.scenes import Scene, simulate_scene

RESIDUAL = replace(MICRO, prediction="residual")


def masked(scene: Scene, rows: slice, columns: slice) -> Scene:
    mask = np.ones((scene.H, scene.W), bool)
    mask[rows, columns] = False
    return scene.replace(mask=mask)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Of other sizes, bands and masks."""
    a = simulate_scene(24, 30, C=20, D=3, seed=0)
    b = simulate_scene(33, 17, C=45, D=3, seed=1)
    return [a.replace(name="a"), masked(b.replace(name="b"), slice(4, 7), slice(0, 3))]


@pytest.fixture(scope="module")
def fitted(scenes: list[Scene]) -> tuple[AbundanceModel, list[HUD]]:
    return fit_scenes(scenes, preset=RESIDUAL, seed=3, device="cpu")


def trainer(scenes: Sequence[Scene], preset: Any = RESIDUAL, **options: Any) -> Trainer:
    prepared = [
        PreparedScene.of(
            scene, scene.truth.endmembers, encoder="fcls", raw_latent=False, ranks=range(3)
        )
        for scene in scenes
        if scene.truth is not None
    ]
    return trainer_of(prepared, preset, seed=0, encoder="fcls", **options)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    mine, theirs = dict(a.named_parameters()), dict(b.named_parameters())
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def some_priors() -> list[Prior]:
    torch.manual_seed(0)
    return [
        Prior(-2 - torch.rand(3), torch.rand(3) * 0.5 + 0.2, torch.randn(3), one + 0.3, one + 0.1)
        for one in torch.rand(4, 3)
    ]


def by_hand(scene: Scene, preset: Preset, seed: int) -> Trainer:
    """The training of one scene from its parts, as it was before there were several."""
    A = choose_endmembers(scene, None, seed=seed)
    X = abundances_of(scene, A, encoder="fcls").numpy()
    valid = np.isfinite(X).all(axis=-1)
    latent = LatentSpace.of(X, valid=valid)
    z = latent.encode(X)[0]
    prior = Prior.of(z, torch.from_numpy(valid), latent.mean, latent.std)
    crops = CropSampler(z, valid, crop=preset.crop, augment=preset.augment)
    run = Trainer(build_network(preset, len(A), seed=seed, prior=prior), crops, preset, seed=seed)
    training.train(run)
    return run


def test_one_scene_the_new_way_is_that_scene_the_old_way(scenes: list[Scene]) -> None:
    common, (model,) = fit_scenes(scenes[:1], preset=RESIDUAL, seed=3, device="cpu")
    alone = HUD.fit(scenes[0], preset=RESIDUAL, seed=3, device="cpu")
    old = by_hand(scenes[0], RESIDUAL, seed=3)
    for name, value in old.averaged_weights().items():
        assert torch.equal(value, model.network.get_parameter(name))
    assert [e["loss"] for e in old.history] == [e["loss"] for e in model.history]
    assert_same_weights(model.network, alone.network)
    assert torch.equal(model.network.prior, alone.network.prior)
    np.testing.assert_array_equal(model.endmembers, alone.endmembers)
    np.testing.assert_array_equal(model.sample(2, seed=1), alone.sample(2, seed=1))
    assert [e["loss"] for e in model.history] == [e["loss"] for e in alone.history]
    assert common.digest == AbundanceModel.of(alone).digest


def test_every_item_gets_the_guess_of_its_scene() -> None:
    """Against networks of one scene each, item by item."""
    priors = some_priors()
    together = build_network(RESIDUAL, 3, prior=priors)
    nn.init.normal_(together.unet.conv_out.weight, std=0.1)
    z, t = torch.randn(6, 3, 9, 8), torch.tensor([0, 40, 999, 500, 500, 7])
    scene = torch.tensor([2, 0, 3, 3, 1, 0])
    found = together(z, t, scene)
    for i, number in enumerate(scene):
        alone = build_network(RESIDUAL, 3, prior=priors[number])
        alone.unet.load_state_dict(together.unet.state_dict())
        torch.testing.assert_close(alone(z[i : i + 1], t[i]), found[i : i + 1])
    assert not torch.allclose(together(z, t, scene.flip(0)), found, atol=1e-3)
    with pytest.raises(ValueError, match="`scene` must tell which of 4 scenes each item is of"):
        together(z, t)
    # where nothing can be read back, and no tensor of another device is welcome
    there = together.to("meta")(z.to("meta"), t.to("meta"), scene.to("meta"))
    assert there.shape == z.shape


def test_the_scenes_of_a_batch_are_those_of_its_windows(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the network is told, against where the windows lie in the scenes' own maps."""
    seen: list[tuple[Tensor, Tensor]] = []
    training_run = trainer(scenes, replace(RESIDUAL, batch=16))
    cut = training_run.crops.cut
    windows: list[Tensor] = []
    monkeypatch.setattr(
        training_run.crops, "cut", lambda chosen: windows.append(cut(chosen)) or windows[-1]
    )
    network = training_run.network
    forward = network.forward
    monkeypatch.setattr(
        network, "forward", lambda z, t, scene: seen.append((z, scene)) or forward(z, t, scene)
    )
    training_run.step()
    numbers = torch.cat([scene for _, scene in seen])
    assert sorted(set(numbers.tolist())) == [0, 1]
    pixels = [
        {tuple(p) for p in PreparedScene.of(
            s, s.truth.endmembers, encoder="fcls", raw_latent=False, ranks=range(3)
        ).z.flatten(1).T.tolist()}
        for s in scenes
        if s.truth is not None
    ]  # fmt: skip
    for window, number in zip(torch.cat(windows), numbers, strict=True):
        assert {tuple(p) for p in window.flatten(1).T.tolist()} <= pixels[number]


def test_two_scenes_sample_in_their_own_bands(
    fitted: tuple[AbundanceModel, list[HUD]], scenes: list[Scene], tmp_path: Path
) -> None:
    common, models = fitted
    assert common.scenes == ("a", "b")
    assert (common.D, common.steps, common.seed, common.ranks) == (3, 12, 3, (0, 1, 2))
    assert_same_weights(models[0].network, models[1].network)
    assert not torch.equal(models[0].network.prior, models[1].network.prior)
    for model, scene in zip(models, scenes, strict=True):
        prepared = PreparedScene.of(scene, model.endmembers, encoder="fcls", raw_latent=False)
        assert torch.equal(model.network.prior, torch.stack(prepared.prior))
        torch.testing.assert_close(model.latent.mean, prepared.latent.mean)
        assert model.abundances.shape == (scene.H, scene.W, 3)
        cubes = model.sample(2, seed=4, size=(9, 12))
        assert cubes.shape == (2, 9, 12, scene.C)
        model.save(tmp_path / model.scene.name)
        again = HUD.load(tmp_path / model.scene.name, device="cpu")
        np.testing.assert_array_equal(again.sample(2, seed=4, size=(9, 12)), cubes)
        assert again.summary() == model.summary()
    for name, value in common.weights.items():
        assert torch.equal(value, models[0].network.get_parameter(name))


def test_endmembers_of_several_scenes_fall_in_mean_abundance(
    fitted: tuple[AbundanceModel, list[HUD]],
) -> None:
    for model in fitted[1]:
        means = np.nanmean(model.abundances.reshape(-1, 3), axis=0)
        assert (np.diff(means) <= 0).all()
        mixed = model.abundances @ model.endmembers
        assert model.unmixing["reconstruction_cosine"] > 0.99, mixed.shape


def test_spectra_of_ones_own_are_taken_in_that_order(scenes: list[Scene]) -> None:
    given = [np.float32(scene.truth.endmembers) for scene in scenes if scene.truth is not None]
    _, models = fit_scenes(scenes, endmembers=given, preset=MICRO, steps=1, device="cpu")
    for model, spectra in zip(models, given, strict=True):
        assert {tuple(row) for row in model.endmembers} == {tuple(row) for row in spectra}


def test_ranks() -> None:
    x = smooth_abundances(9, 8, 5)
    x[2, 3] = np.nan
    means = np.nanmean(x.reshape(-1, 5), axis=0)
    ranks = ranks_of(x)
    assert [ranks.index(r) for r in range(5)] == list(np.argsort(-means))
    wanted = (3, 0, 4, 1, 2)
    assert ranks_of(x[..., in_ranks(x, wanted)]) == wanted
    assert list(in_ranks(x, ranks)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("prediction", ["epsilon", "residual"])
def test_resuming_with_several_scenes_is_exact(
    scenes: list[Scene], tmp_path: Path, prediction: Any
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 6:
            raise Stop

    options: dict[str, Any] = {
        "preset": replace(MICRO, prediction=prediction),
        "seed": 5,
        "device": "cpu",
    }
    _, whole = fit_scenes(scenes, **options)
    with pytest.raises(Stop):
        fit_scenes(scenes, **options, checkpoint_dir=tmp_path, progress=stop)
    seen: list[int] = []
    _, resumed = fit_scenes(
        scenes, **options, checkpoint_dir=tmp_path, progress=lambda done, _: seen.append(done)
    )
    assert seen[0] == 4
    for a, b in zip(whole, resumed, strict=True):
        assert_same_weights(a.network, b.network)
    with pytest.raises(ValueError, match="the checkpoint was made with `mean abundances`"):
        fit_scenes(scenes[::-1], **options, checkpoint_dir=tmp_path)


def test_a_batch_in_parts_keeps_its_scenes(scenes: list[Scene]) -> None:
    """`accumulate` only cuts the batch: the losses agree to rounding."""
    preset = replace(RESIDUAL, batch=8, steps=3, log_every=1)
    losses = []
    for parts in (1, 4):
        run = trainer(scenes, replace(preset, accumulate=parts))
        training.train(run)
        losses.append([entry["loss"] for entry in run.history])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_step_of_several_scenes_waits_for_nothing(
    scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "addressed_noise", on_device)
    run = trainer(scenes)
    run.step()
    with Watch() as watch:
        run.compute()
    assert watch.waits == []
    assert watch.count > 100


def test_a_start_is_where_the_training_and_the_average_begin(
    fitted: tuple[AbundanceModel, list[HUD]], scenes: list[Scene]
) -> None:
    common, _ = fitted
    begun = trainer(scenes[1:], start=common)
    for name, value in begun.averaged_weights().items():
        assert torch.equal(value, common.weights[name])
        assert torch.equal(begun.network.get_parameter(name), common.weights[name])
    fresh = trainer(scenes[1:])
    assert torch.equal(begun.network.prior, fresh.network.prior), "the guess is the new scene's"
    assert begun.settings() == {**fresh.settings(), "start": common.digest}


def test_every_kind_of_start_is_the_same_start(
    fitted: tuple[AbundanceModel, list[HUD]], tmp_path: Path
) -> None:
    common, models = fitted
    common.save(tmp_path / "abundance-model")
    models[1].save(tmp_path / "b")
    third = simulate_scene(20, 22, C=15, D=4, seed=9)
    starts = [common, models[0], tmp_path / "abundance-model", str(tmp_path / "b"), tmp_path]
    trained = [
        HUD.fit(third, preset=RESIDUAL, steps=2, seed=1, device="cpu", start=start)
        for start in starts
    ]
    for model in trained:
        assert model.D == 3, "as many endmembers as the start has"
        assert ranks_of(model.abundances) == (0, 1, 2)
        assert_same_weights(model.network, trained[0].network)
    fresh = HUD.fit(third, endmembers=3, preset=RESIDUAL, steps=2, seed=1, device="cpu")
    assert not torch.equal(
        fresh.network.unet.conv_in.weight, trained[0].network.unet.conv_in.weight
    )
    common_2, _ = fit_scenes([third], preset=RESIDUAL, steps=2, device="cpu", start=common)
    assert common_2.steps == common.steps + 2
    assert common_2.scenes == ("a", "b", third.name)


def test_a_start_of_one_scene_gives_its_order(scenes: list[Scene]) -> None:
    """A model of one scene keeps its endmembers as VCA found them: the next takes their ranks."""
    scene = scenes[0]
    assert scene.truth is not None
    order = [2, 0, 1]
    first = HUD.fit(
        scene, endmembers=scene.truth.endmembers[order], preset=RESIDUAL, steps=1, device="cpu"
    )
    model = HUD.fit(scenes[1], preset=RESIDUAL, steps=1, device="cpu", start=first)
    assert ranks_of(model.abundances) == ranks_of(first.abundances)


def test_a_checkpoint_of_another_start_is_refused(
    fitted: tuple[AbundanceModel, list[HUD]], scenes: list[Scene], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"preset": RESIDUAL, "device": "cpu", "checkpoint_dir": tmp_path}
    common, _ = fitted
    HUD.fit(scenes[0], **options, start=common)
    HUD.fit(scenes[0], **options, start=common)  # as it was
    other = replace_weight(common)
    with pytest.raises(ValueError, match="the checkpoint was made with `start` = "):
        HUD.fit(scenes[0], **options, start=other)
    with pytest.raises(ValueError, match=r"the checkpoint was made with `(mean|start)"):
        HUD.fit(scenes[0], **options)


def replace_weight(model: AbundanceModel) -> AbundanceModel:
    name = next(iter(model.weights))
    return replace(model, weights={**model.weights, name: model.weights[name] + 1e-6})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": (8, 16)}, r"`widths` = \(8, 16\) as this training has, got one with \(8, 8\)"),
        ({"layers": 2}, "`layers` = 2 as this training has, got one with 1"),
        ({"prediction": "epsilon"}, "`prediction` = epsilon"),
        ({"beta_end": 0.03}, "`beta_end` = 0.03"),
        ({"T": 900}, "`T` = 900"),
    ],
)
def test_a_start_of_another_network_is_refused(
    fitted: tuple[AbundanceModel, list[HUD]],
    scenes: list[Scene],
    change: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=f"HUD.fit: `start` must be a model with {message}"):
        HUD.fit(scenes[0], preset=replace(RESIDUAL, **change), device="cpu", start=fitted[0])


def test_other_starts_that_are_refused(
    fitted: tuple[AbundanceModel, list[HUD]], scenes: list[Scene], tmp_path: Path
) -> None:
    def fit(**options: Any) -> HUD:
        return HUD.fit(scenes[0], preset=RESIDUAL, device="cpu", **options)

    with pytest.raises(ValueError, match="`endmembers` = 4 as this training has, got one with 3"):
        fit(endmembers=4, start=fitted[0])
    with pytest.raises(ValueError, match="`raw_latent` = True as this training has"):
        fit(raw_latent=True, start=fitted[0])
    with pytest.raises(TypeError, match="`start` must be an AbundanceModel, a HUD or a folder"):
        fit(start=3)
    with pytest.raises(FileNotFoundError, match="`start` must be the folder of a model, got"):
        fit(start=tmp_path)


def test_errors_name_the_scene(scenes: list[Scene]) -> None:
    def fit(given: Any, **options: Any) -> None:
        fit_scenes(given, preset=MICRO, steps=1, device="cpu", **options)

    four = simulate_scene(24, 24, C=20, D=4, seed=2).replace(name="four")
    with pytest.raises(ValueError, match=r"same number for all scenes, got a 3, four 4; give one"):
        fit([scenes[0], four])
    with pytest.raises(ValueError, match=r"`scenes\[1\]` \(b\): `endmembers` must be at most 20"):
        fit([scenes[1], scenes[0].replace(name="b")], endmembers=30)
    plain = scenes[0].replace(cube=np.ones((24, 30, 20), np.float32), name="plain")
    with pytest.raises(ValueError, match=r"^fit_scenes: `scenes\[1\]` \(plain\): vca: `D` must be"):
        fit([scenes[0], plain], endmembers=3)
    with pytest.raises(ValueError, match=r"^vca: `D` must be at most"):
        HUD.fit(plain, endmembers=3, preset=MICRO, device="cpu")
    small = simulate_scene(6, 40, C=20, D=3, seed=0)
    with pytest.raises(ValueError, match=r"fit_scenes: `scenes\[1\]` must be at least 8 x 8"):
        fit([scenes[0], small])
    with pytest.raises(ValueError, match="one array for each of 2 scenes, got 1"):
        fit(scenes, endmembers=[np.ones((3, 20))])
    with pytest.raises(ValueError, match=r"one \(D, C\) array a scene, got one array of shape"):
        fit(scenes, endmembers=np.ones((3, 20)))
    with pytest.raises(ValueError, match="`scenes` must hold one scene or more, got none"):
        fit([])
    with pytest.raises(TypeError, match="`scenes` must be a sequence of scenes, got Scene"):
        fit(scenes[0])
