"""On a GPU the data stays there: every stage on a pretended card, which refuses what a GPU refuses and notes the rest.

The numbers are those of the CPU: kernels there, plain torch on the card.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from card import NAME, Card, OnCard, pretended

from hud_fast import fcls, linear_abundances, vca
from hud_fast.baselines import METHODS
from hud_fast.diffusion import HUD
from hud_fast.metrics import (
    Mixtures,
    SceneClassifier,
    block_diversity,
    copy_check,
    evaluate,
    point_fidelity,
    quality,
    realism,
)
from hud_fast.pipeline import (
    ModelOptions,
    SampleOptions,
    evaluate_scene,
    measure,
    run_scene,
    sample_model,
    unmix_scene,
)
from hud_fast.scenes import Scene, save_scene, simulate_scene
from hud_fast.unmixing import UnmixingAutoencoder, count_endmembers, unmixing_summary

SCENE = simulate_scene(44, 40, C=40, D=4, seed=0)
MASKED = SCENE.replace(mask=np.add.outer(np.arange(44), np.arange(40)) > 2)
SMALL = 1024  # bytes at once: sums, counts, a few spectra
SETTINGS = ("widths=8,8", "attention=no,no", "batch=2", "groups=4", "sampler_steps=3")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[torch.device, Card]]:
    monkeypatch.setattr("hud_fast.metrics._realism_sets.REFERENCE", 40)
    monkeypatch.setattr("hud_fast.metrics._realism_sets.SPLITS", 2)
    for function in (
        copy_check,
        evaluate,
        quality,
    ):  # a few real blocks are enough to see where they lie
        monkeypatch.setitem(inspect.unwrap(function).__kwdefaults__, "count", 8)
    with pretended(monkeypatch) as found:
        yield found


def left(noted: Card) -> dict[str, int]:
    """What went to the host beside small things, by the function that asked for it; the account is then empty."""
    found = {name: size for name, size in noted.largest.items() if size > SMALL}
    noted.bytes.clear()
    noted.largest.clear()
    return found


SEARCH = {"unmixing.moments._sums", "unmixing.views._ends"}

# What else comes to the host, and why: each is a result, or decides on the host what the device does next.
FIT = {
    "diffusion.fitting._model_of",  # the model keeps the scene's abundances, to be saved and drawn
    "diffusion.preparation.of",  # which pixels are valid
    "diffusion.patches.of",  # the same: windows are listed on the host
    "diffusion.patches.first",  # the weights that first windows are drawn by
    "diffusion.abundance_model.<dictcomp>",  # trained weights
    "diffusion.checkpoint.<dictcomp>",  # what is saved
    "unmixing.moments._sums",  # (C, C)
    "unmixing.views._ends",  # corners of the cloud, in D coordinates
}
RESULTS = {
    "metrics.fidelity.point_fidelity",  # of every pixel
    "metrics.distances._distributions",  # of every block
    "metrics.power_spectrum.power_spectra",
    "metrics._window_classifier.rows",  # statistics of windows, for the classifier
    "metrics.real_blocks.draw",
    "metrics.realism._array",  # four components of each pixel: copied pieces are looked for in a tree
}


def test_what_the_card_notes(card: tuple[torch.device, Card]) -> None:
    device, noted = card
    x = torch.arange(6.0).to(device)
    x[2:].mul_(2)
    assert isinstance(x, OnCard)
    assert x.device == device
    assert (x + 1).sum().item() == 35
    assert x.cpu().tolist() == [0, 1, 4, 6, 8, 10]
    assert noted.brought == 24
    assert dict(noted.bytes) == {"a test": 4 + 24}
    with pytest.raises(AssertionError, match="of the host beside the card's"):
        x + torch.ones(6)
    with pytest.raises((TypeError, RuntimeError)):
        x.numpy()
    weight = torch.ones(6, device=device, requires_grad=True)
    (weight * x).sum().backward()
    assert torch.equal(weight.grad.cpu(), x.cpu())


def test_a_scene_goes_over_once(card: tuple[torch.device, Card]) -> None:
    device, noted = card
    for name in (device, torch.device(NAME)):
        cube, valid = MASKED.on(name)
    assert noted.brought == MASKED.cube.nbytes + MASKED.valid.nbytes
    assert int(valid.sum()) == MASKED.valid.sum()
    before = noted.brought
    again, _ = Scene(cube).on(device)
    assert noted.brought == before + MASKED.valid.nbytes
    assert again.held.data_ptr() == cube.held.data_ptr()
    np.testing.assert_array_equal(Scene(cube).cube, MASKED.cube)


def test_unmixing_there_is_unmixing_here(card: tuple[torch.device, Card]) -> None:
    device, noted = card
    cube, valid = MASKED.on(device)
    noted.bytes.clear()
    assert count_endmembers(cube, valid) == count_endmembers(MASKED.cube, MASKED.valid)
    options: dict[str, Any] = {"best_of": 4, "criterion": "residual", "return_index": True}
    found, index = vca(cube, 4, mask=valid, **options)
    expected, places = vca(MASKED.cube, 4, mask=MASKED.valid, **options)
    np.testing.assert_array_equal(index.cpu(), places)
    np.testing.assert_array_equal(found.cpu(), expected)
    x, status = fcls(cube, found, return_status=True)[:2]
    assert x.device == status.device == device
    linear = linear_abundances(cube, found)
    summary = unmixing_summary(cube, found, x, mask=valid)
    tuned = UnmixingAutoencoder(expected).to(device)
    tuned.fine_tune(cube[valid], steps=2)
    assert left(noted).keys() <= SEARCH
    exact = fcls(MASKED.cube, expected)
    np.testing.assert_allclose(x.cpu(), exact, atol=1e-6)  # worst 3e-8
    np.testing.assert_allclose(linear.cpu(), linear_abundances(MASKED.cube, expected), atol=1e-5)
    here = unmixing_summary(MASKED.cube, expected, exact, mask=MASKED.valid)
    assert summary == pytest.approx(here, rel=1e-3)  # a zero or two more of 7,016


@pytest.mark.parametrize("preset", ["instant", "tiny"])
def test_a_model_lives_where_it_was_made(
    preset: str, card: tuple[torch.device, Card], tmp_path: Path
) -> None:
    from hud_fast.diffusion import PRESETS
    from hud_fast.diffusion.settings import changed

    device, noted = card
    chosen = (
        PRESETS[preset] if preset == "instant" else changed(PRESETS[preset], [*SETTINGS, "steps=3"])
    )
    model = HUD.fit(MASKED, preset=chosen, seed=1, device=device)
    assert model.device == device
    assert left(noted).keys() <= FIT
    cubes, maps = model.sample(3, size=16, seed=2, return_abundances=True, as_tensors=True)
    assert cubes.device == maps.device == device
    assert left(noted).keys() <= {"diffusion.patches.first"}
    assert (cubes.shape, maps.shape) == ((3, 16, 16, 40), (3, 16, 16, 4))
    arrays = model.sample(3, size=16, seed=2)
    assert left(noted).keys() <= {"diffusion.host.<genexpr>", "diffusion.patches.first"}
    np.testing.assert_array_equal(arrays, cubes.cpu())
    batches = [
        m for _, m in model.sample_batches(3, size=16, seed=2, batch_size=1, as_tensors=True)
    ]
    assert [m.shape[0] for m in batches] == [1, 1, 1]
    # the same model, brought here and read from its folder, makes the same cubes to rounding
    model.save(tmp_path / "model")
    for other in (model.to("cpu"), HUD.load(tmp_path / "model", device="cpu")):
        same = other.sample(3, size=16, seed=2)
        assert other.device == torch.device("cpu")
        np.testing.assert_allclose(same, arrays, rtol=1e-4)  # worst 5e-6, of a network alone


def test_the_metrics_there_are_the_metrics_here(card: tuple[torch.device, Card]) -> None:
    device, noted = card
    cube, valid = MASKED.on(device)
    rng = np.random.default_rng(0)
    maps = rng.dirichlet(np.ones(4), (6, 12, 12)).astype(np.float32)
    spectra = MASKED.truth.endmembers.astype(np.float32)
    cubes = maps @ spectra
    there, made = torch.from_numpy(cubes).to(device), torch.from_numpy(maps).to(device)
    known = fcls(MASKED.cube, spectra)
    upper, lower = MASKED.crop(slice(0, 22), slice(None)), MASKED.crop(slice(22, None), slice(None))

    def both(function: Callable[..., Any], here: Any, elsewhere: Any, **options: Any) -> None:
        there_found, here_found = function(*elsewhere, **options), function(*here)
        assert flat(there_found) == pytest.approx(flat(here_found), rel=1e-6, abs=1e-7)

    both(
        lambda g, r, m: point_fidelity(g, r, mask=m),
        (cubes, MASKED.cube, MASKED.valid),
        (there, cube, valid),
    )
    for norm in ("pixel", "block"):
        both(
            lambda g, r, m, norm=norm: block_diversity(g, r, mask=m, norm=norm),
            (cubes, MASKED.cube, MASKED.valid),
            (there, cube, valid),
        )
    both(
        lambda x, r, m: block_diversity(Mixtures(x, spectra), r, mask=m),
        (maps, MASKED.cube, MASKED.valid),
        (made, cube, valid),
    )
    both(
        lambda g, r, m: copy_check(g, r, mask=m, count=4, endmembers=spectra).to_dict(),
        (cubes, MASKED.cube, MASKED.valid),
        (there, cube, valid),
    )
    both(
        lambda g, r, m: evaluate(g, r, mask=m, count=4, endmembers=spectra),
        (cubes, MASKED.cube, MASKED.valid),
        (there, cube, valid),
    )
    both(
        lambda g, x, a, b, va, vb: quality(
            g, x, a, b, spectra, count=4, bootstrap=5, training_mask=va, held_out_mask=vb
        ).to_dict(),
        (cubes, maps, upper.cube, lower.cube, upper.valid, lower.valid),
        (
            there,
            made,
            upper.on(device)[0],
            lower.on(device)[0],
            upper.on(device)[1],
            lower.on(device)[1],
        ),
    )
    both(
        lambda x, k: realism(x, k, spectra, bootstrap=5).to_dict(),
        (maps, known),
        (made, torch.from_numpy(known).to(device)),
    )
    assert left(noted).keys() <= RESULTS


def flat(value: Any) -> list[float]:
    """All numbers in a result, in order."""
    if isinstance(value, dict):
        return [x for key in sorted(value) for x in flat(value[key])]
    if isinstance(value, list | tuple):
        return [x for part in value for x in flat(part)]
    return [float(value)] if isinstance(value, int | float) else []


def test_the_jobs_send_the_scene_once_and_fetch_results(
    card: tuple[torch.device, Card], tmp_path: Path
) -> None:
    device, noted = card
    save_scene(SCENE, tmp_path / "field.mat")
    source, where = str(tmp_path / "field.mat"), str(device)
    options = ModelOptions(preset="instant", endmembers=4, settings=("crop=16",), device=where)
    samples = SampleOptions(samples=4, size=(12, 12))

    unmix_scene(source, tmp_path / "unmixed", model_options=options)
    assert left(noted).keys() <= {"pipeline.unmix._in_memory", *SEARCH}

    run_scene(source, tmp_path / "run", model_options=options, sample_options=samples)
    assert left(noted).keys() <= FIT | RESULTS | {"diffusion.host.<genexpr>"}
    there = json.loads((tmp_path / "run" / "metrics.json").read_text())

    sample_model(tmp_path / "run", tmp_path / "cubes.npy", samples, device=where)
    assert left(noted).keys() <= FIT | {"diffusion.host.<genexpr>"}
    made = np.load(tmp_path / "run" / "generated" / "generated.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "cubes.npy"), made)

    again = measure(tmp_path / "run", source, device=where)
    assert left(noted).keys() <= FIT | RESULTS
    here = measure(tmp_path / "run", source, device="cpu")
    for other in (again, here):
        for name in ("point_fidelity", "block_diversity", "copy_check", "realism"):
            assert flat(other[name]) == pytest.approx(flat(there[name]), rel=1e-6, abs=1e-7), name

    evaluate_scene(
        source, tmp_path / "evaluation", model_options=options, sample_options=samples, bootstrap=5
    )
    assert left(noted).keys() <= FIT | RESULTS | {"diffusion.host.<genexpr>"}


@pytest.mark.parametrize("name", ["vae", "wgan-gp", "mprnet", "ud"])  # ubf is ud with other inputs
def test_a_rival_trains_and_samples_there(name: str, card: tuple[torch.device, Card]) -> None:
    device, _ = card
    model = METHODS[name].fit(SCENE, budget="micro", device=device)
    assert model.device.type == device.type  # type: ignore[attr-defined]
    assert np.isfinite(model.sample(2)).all()


@pytest.mark.parametrize("kind", ["window", "pixel"])
def test_a_classifier_learns_there(kind: Any, card: tuple[torch.device, Card]) -> None:
    device, _ = card
    labels = np.arange(44)[:, None] // 22 + np.zeros((44, 40), np.int64) + 1
    options: dict[str, Any] = {"kind": kind, "steps": 2, "batch": 2, "device": device}
    model = SceneClassifier.fit(SCENE.cube, labels, **options)
    assert model.cells(SCENE.cube[None, :32, :32]).device.type == device.type
    assert model.accuracy(SCENE.cube, labels).pixels == 44 * 40
