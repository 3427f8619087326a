from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hud_fast.diffusion import HUD
from hud_fast.diffusion.presets import Preset
from hud_fast.scenes import Scene, simulate_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(24, 30, C=20, D=3, seed=0)


@pytest.fixture(scope="module")
def model(scene: Scene, micro: Preset) -> HUD:
    return HUD.fit(scene, preset=micro, seed=1, device="cpu")


def test_what_a_model_holds(model: HUD, scene: Scene, micro: Preset) -> None:
    assert model.endmembers.shape == (3, 20)
    assert model.abundances.shape == (24, 30, 3)
    assert (model.D, model.C, model.seed, model.encoder) == (3, 20, 1, "fcls")
    assert model.scene.name == scene.name
    assert model.scene.simulated
    assert [entry["step"] for entry in model.history] == [3, 6, 9, 12]
    summary = json.loads(json.dumps(model.summary()))
    assert summary["parameters"] == model.network.parameter_count
    assert summary["unmixing"]["reconstruction_cosine"] > 0.99


def test_samples(model: HUD) -> None:
    cubes, abundances = model.sample(3, seed=0, return_abundances=True)
    assert cubes.shape == (3, 8, 8, 20)
    assert abundances.shape == (3, 8, 8, 3)
    assert cubes.dtype == abundances.dtype == np.float32
    assert abundances.min() >= 0
    assert np.abs(abundances.astype(np.float64).sum(axis=-1) - 1).max() <= 1e-6
    np.testing.assert_allclose(cubes, abundances @ model.endmembers, rtol=1e-6)
    np.testing.assert_array_equal(model.sample(3, seed=0), cubes)
    np.testing.assert_array_equal(model.sample_abundances(3, seed=0), abundances)


def test_samples_do_not_depend_on_their_company(model: HUD) -> None:
    together = model.sample(5, seed=2)
    np.testing.assert_array_equal(model.sample(5, seed=2, batch_size=2), together)
    np.testing.assert_array_equal(model.sample(2, seed=2, first=3), together[3:])
    assert not np.array_equal(model.sample(1, seed=3)[0], together[0])


@pytest.mark.parametrize(
    ("size", "expected"), [(8, (8, 8)), (13, (13, 13)), ((9, 24), (9, 24)), (None, (8, 8))]
)
def test_sizes(model: HUD, size: Any, expected: tuple[int, int]) -> None:
    assert model.sample(1, size=size).shape[1:3] == expected


def test_samplers_and_progress(model: HUD) -> None:
    calls: list[tuple[int, int]] = []
    model.sample(
        2, sampler="ddpm", steps=5, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (10, 10)
    default, ddim = model.sample(1), model.sample(1, sampler="ddim", steps=4)
    np.testing.assert_array_equal(default, ddim)
    assert not np.array_equal(model.sample(1, sampler="ddpm", steps=4), ddim)


def test_ddpm_without_steps_takes_all_of_T(scene: Scene, micro: Preset) -> None:
    model = HUD.fit(scene, preset=replace(micro, T=60), steps=1, device="cpu")
    totals: set[int] = set()
    for sampler in ("ddpm", "ddim", None):
        model.sample(1, sampler=sampler, progress=lambda _, total: totals.add(total))
    assert totals == {60, 4}


def test_same_seed_same_model(scene: Scene, model: HUD, micro: Preset) -> None:
    again = HUD.fit(scene, preset=micro, seed=1, device="cpu")
    np.testing.assert_array_equal(again.sample(1), model.sample(1))
    other = HUD.fit(scene, preset=micro, seed=2, device="cpu")
    assert not np.array_equal(other.sample(1), model.sample(1))


def test_fitting_with_checkpoints_resumes(
    scene: Scene, model: HUD, micro: Preset, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise Stop

    with pytest.raises(Stop):
        HUD.fit(scene, preset=micro, seed=1, device="cpu", checkpoint_dir=tmp_path, progress=stop)
    seen: list[int] = []
    resumed = HUD.fit(
        scene,
        preset=micro,
        seed=1,
        device="cpu",
        checkpoint_dir=tmp_path,
        progress=lambda done, _: seen.append(done),
    )
    assert seen[0] == 4  # the checkpoint before step 6
    np.testing.assert_array_equal(resumed.sample(1), model.sample(1))
    with pytest.raises(ValueError, match="`raw_latent` = False, this training has True"):
        HUD.fit(scene, preset=micro, seed=1, device="cpu", raw_latent=True, checkpoint_dir=tmp_path)


def test_save_and_load(model: HUD, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == [
        "config.json",
        "network.safetensors",
        "statistics.safetensors",
    ]
    again = HUD.load(tmp_path / "m", device="cpu")
    np.testing.assert_array_equal(again.sample(2, seed=4), model.sample(2, seed=4))
    np.testing.assert_array_equal(again.abundances, model.abundances)
    assert again.summary() == model.summary()
    assert again.history == model.history
    assert again.scene.rgb_bands == model.scene.rgb_bands
    if model.wavelengths is None:
        assert again.wavelengths is None
    else:
        np.testing.assert_array_equal(again.wavelengths, model.wavelengths)
    again.save(tmp_path / "m")  # a model may be replaced


def test_widths_and_the_files_factor_are_saved(model: HUD, tmp_path: Path) -> None:
    facts = replace(model.scene, fwhm=np.full(model.C, 9.5), reflectance_factor=10000.0)
    replace(model, scene=facts).save(tmp_path / "m")
    again = HUD.load(tmp_path / "m", device="cpu").scene
    np.testing.assert_array_equal(again.fwhm, facts.fwhm)
    assert again.reflectance_factor == 10000.0
    replace(model, scene=replace(facts, fwhm=None, reflectance_factor=None)).save(tmp_path / "m")
    without = HUD.load(tmp_path / "m", device="cpu").scene  # as all models of before
    assert without.fwhm is None
    assert without.reflectance_factor is None


def test_saving_never_removes_what_is_not_a_model(model: HUD, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(FileExistsError, match=r"must be new, empty or a saved model.*thesis.tex"):
        model.save(tmp_path)
    with pytest.raises(FileExistsError, match="a file"):
        model.save(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_loading_what_is_not_a_model(model: HUD, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"written by HUD.save, got a folder that is not there"
    ):
        HUD.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"without config.json"):
        HUD.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FileNotFoundError, match="got a foreign"):
        HUD.load(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "network.safetensors", "statistics.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_loading_a_damaged_model(model: HUD, tmp_path: Path, name: str, damage: str) -> None:
    model.save(tmp_path / "m")
    path = tmp_path / "m" / name
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:  # the file stays readable, a number in it is another
        at = content.rindex(b'"steps": 12') + 10 if name == "config.json" else len(content) - 5
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(OSError, match=r"HUD.load: .*is damaged"):
        HUD.load(tmp_path / "m")


def test_loading_a_model_with_a_file_missing(model: HUD, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    (tmp_path / "m" / "network.safetensors").unlink()
    with pytest.raises(OSError, match=r"is damaged .a file is missing"):
        HUD.load(tmp_path / "m")


def test_loading_a_newer_model(model: HUD, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "version": 2}))
    with pytest.raises(ValueError, match="file version 1 or older, got 2, written by hud_fast"):
        HUD.load(tmp_path / "m")


def test_a_moved_model_still_loads(model: HUD, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    shutil.move(tmp_path / "m", tmp_path / "elsewhere")
    assert HUD.load(tmp_path / "elsewhere").D == 3


@pytest.mark.parametrize("encoder", ["fcls", "linear"])
@pytest.mark.parametrize("raw_latent", [False, True])
def test_options(scene: Scene, micro: Preset, encoder: Any, raw_latent: bool) -> None:
    model = HUD.fit(
        scene, endmembers=4, preset=micro, encoder=encoder, raw_latent=raw_latent, device="cpu"
    )
    x = model.sample_abundances(1)
    assert x.shape[-1] == 4
    assert np.abs(x.astype(np.float64).sum(axis=-1) - 1).max() <= 1e-6
    assert model.latent.raw is raw_latent


def test_given_endmembers_and_plain_arrays(scene: Scene, micro: Preset) -> None:
    assert scene.truth is not None
    model = HUD.fit(scene.cube, endmembers=scene.truth.endmembers, preset=micro, device="cpu")
    np.testing.assert_allclose(model.endmembers, scene.truth.endmembers, rtol=1e-6)
    one = HUD.fit(scene, endmembers=scene.truth.endmembers[:1], preset=micro, device="cpu")
    np.testing.assert_allclose(one.sample(1), np.broadcast_to(one.endmembers[0], (1, 8, 8, 20)))


def test_bad_bands_and_masked_pixels_are_left_out(scene: Scene, micro: Preset) -> None:
    cube, good, mask = scene.cube.copy(), np.ones(20, bool), np.ones((24, 30), bool)
    cube[..., 4], good[4] = np.nan, False
    cube[0, 0], mask[1, 1] = np.nan, False
    model = HUD.fit(
        Scene(cube, good_bands=good, mask=mask), endmembers=3, preset=micro, device="cpu"
    )
    assert model.C == 19
    assert np.isnan(model.abundances[0, 0]).all()
    assert np.isnan(model.abundances[1, 1]).all()
    assert np.isfinite(model.abundances[2:, 2:]).all()
    assert np.isfinite(model.sample(1)).all()


def test_the_count_is_found_when_nobody_knows_it(scene: Scene, micro: Preset) -> None:
    assert 3 <= HUD.fit(scene.cube, preset=micro, device="cpu", steps=1).D <= 16


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"endmembers": 0}, ValueError, "`endmembers` must be at least 1, got 0"),
        ({"endmembers": 21}, ValueError, "`endmembers` must be at most 20 .* got 21"),
        ({"endmembers": 2.5}, TypeError, "`endmembers` must be an int, got float"),
        ({"endmembers": np.ones((3, 19))}, ValueError, r".*C = 20 as in `scene`, got \(3, 19\)"),
        ({"endmembers": np.full((3, 20), np.nan)}, ValueError, "`endmembers` must be finite"),
        ({"preset": "huge"}, ValueError, "`preset` must be one of instant, tiny, small, paper"),
        ({"preset": "tiny"}, ValueError, "`scene` must be at least 32 x 32 .* got 24 x 30"),
        ({"encoder": "magic"}, ValueError, "`encoder` must be one of fcls, linear, got 'magic'"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, "`seed` must be an int, got float"),
        ({"steps": 0}, ValueError, "`steps` must be at least 1, got 0"),
        ({"device": "abacus"}, RuntimeError, "`device` must be a torch device, got 'abacus'"),
        ({"device": "meta"}, RuntimeError, "`device` must be cpu or cuda, got meta"),
    ],
)
def test_fit_errors(
    scene: Scene, micro: Preset, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"HUD.fit: {text}"):
        HUD.fit(scene, **({"preset": micro, "device": "cpu"} | arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(scene: Scene, micro: Preset) -> None:
    with pytest.raises(RuntimeError, match="`device` must be available, got cuda"):
        HUD.fit(scene, preset=micro, device="cuda")


def test_a_scene_without_a_valid_pixel(scene: Scene, micro: Preset) -> None:
    masked = scene.replace(mask=np.zeros((24, 30), bool))
    with pytest.raises(ValueError, match="`scene` must have valid pixels, got 24 x 30"):
        HUD.fit(masked, preset=micro, device="cpu")


def test_a_scene_without_a_free_window(scene: Scene, micro: Preset) -> None:
    mask = np.ones((24, 30), bool)
    mask[::7] = False
    with pytest.raises(ValueError, match="must hold a 8 x 8 window without masked pixels"):
        HUD.fit(scene.replace(mask=mask), preset=micro, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"n": 0}, ValueError, "`n` must be at least 1, got 0"),
        ({"n": 1.0}, TypeError, "`n` must be an int, got float"),
        ({"seed": -3}, ValueError, "`seed` must be at least 0"),
        ({"size": 7}, ValueError, "`size` must be at least 8, got 7"),
        ({"size": (8, 8, 8)}, TypeError, "`size` must be an int or a pair"),
        ({"sampler": "euler"}, ValueError, "`sampler` must be one of ddpm, ddim"),
        ({"steps": 1001}, ValueError, "`steps` must be from 1 to T = 1000, got 1001"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"first": -1}, ValueError, "`first` must be at least 0"),
    ],
)
def test_sample_errors(
    model: HUD, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"HUD.sample: {text}"):
        model.sample(**({"n": 1} | arguments))


def test_the_prior_travels_with_the_model(scene: Scene, micro: Preset, tmp_path: Path) -> None:
    model = HUD.fit(scene, preset=replace(micro, prediction="residual"), steps=3, device="cpu")
    assert (model.preset.steps, model.preset.prediction) == (3, "residual")
    model.save(tmp_path / "m")
    again = HUD.load(tmp_path / "m", device="cpu")
    np.testing.assert_array_equal(
        again.sample(1, sampler="ddpm", steps=3), model.sample(1, sampler="ddpm", steps=3)
    )


def test_precision_is_kept_with_the_model(scene: Scene, micro: Preset, tmp_path: Path) -> None:
    model = HUD.fit(scene, endmembers=3, preset=micro, precision="bfloat16", device="cpu")
    model.save(tmp_path / "model")
    again = HUD.load(tmp_path / "model", device="cpu")
    assert again.preset.precision == "bfloat16"
    coarse = again.sample_abundances(2, seed=1)
    np.testing.assert_array_equal(coarse, model.sample_abundances(2, seed=1))
    np.testing.assert_allclose(coarse.sum(axis=-1), 1, atol=1e-6)
    with pytest.raises(
        ValueError, match="`precision` must be one of float32, bfloat16, got 'half'"
    ):
        HUD.fit(scene, preset=micro, precision="half", device="cpu")  # type: ignore[arg-type]


def test_batches_are_what_sample_returns(model: HUD) -> None:
    whole, maps = model.sample(5, seed=2, size=16, steps=2, return_abundances=True)
    parts = list(model.sample_batches(5, seed=2, size=16, steps=2, batch_size=2))
    assert [len(cubes) for cubes, _ in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([x for _, x in parts]), maps)
    np.testing.assert_allclose(np.concatenate([c for c, _ in parts]), whole, rtol=1e-6)
    with pytest.raises(TypeError, match="colour"):
        next(model.sample_batches(1, colour="red"))


def test_a_cube_beyond_the_tile_is_made_in_windows(model: HUD) -> None:
    """Every pixel is a proper mixture, and asking for more windows at a time changes nothing."""
    size = (3 * model.preset.crop, 2 * model.preset.crop + 3)
    maps = model.sample_abundances(1, seed=1, size=size, steps=2)
    assert maps.shape == (1, *size, model.D)
    np.testing.assert_allclose(maps.sum(axis=-1), 1, atol=1e-6)
    np.testing.assert_array_equal(
        model.sample_abundances(1, seed=1, size=size, steps=2, batch_size=3), maps
    )
    with pytest.raises(ValueError, match="`tile` must be at least 8, got 7"):
        model.sample(1, size=size, tile=7)
