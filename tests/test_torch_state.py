"""What a user has set in torch changes nothing: gradients off, another default dtype or device, autocast."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from fuzz.arguments import CALLS

import hud_fast as hud
from hud_fast._torch_state import in_plain_torch
from hud_fast.diffusion import PRESETS

SCENE = hud.simulate_scene(24, 24, C=12, D=3, seed=0)
TINY = replace(PRESETS["tiny"], steps=1, batch=2, crop=16)


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device("cpu")


MODES: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default dtype": default_dtype,
    "default device": default_device,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}
every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


def arrays_of(result: object) -> list[np.ndarray]:
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in arrays_of(part)]
    if isinstance(result, (torch.Tensor, np.ndarray, float)):
        return [result.detach().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)]
    return []


@pytest.fixture(scope="module")
def model() -> hud.HUD:
    return hud.HUD.fit(SCENE, preset=TINY, device="cpu")


@every_mode
def test_a_training_is_the_same(mode, model) -> None:
    with mode():
        made = hud.HUD.fit(torch.from_numpy(SCENE.cube).clone() if mode is torch.inference_mode else SCENE,
                           endmembers=3, preset=TINY, device="cpu")  # fmt: skip
    assert made.history[-1:] == [] or np.isfinite(made.history[-1]["loss"])
    for ours, theirs in zip(made.network.parameters(), model.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.is_inference()


@every_mode
def test_samples_are_the_same(mode, model, tmp_path) -> None:
    wanted = model.sample(2, size=16, steps=2)
    model.save(tmp_path / "m")
    with mode():
        again = hud.HUD.load(tmp_path / "m", device="cpu")
        found = [
            model.sample(2, size=16, steps=2),
            again.sample(2, size=16, steps=2),
            np.concatenate([cubes for cubes, _ in model.sample_batches(2, size=16, steps=2)]),
        ]
    for cubes in found:
        np.testing.assert_array_equal(cubes, wanted)


@every_mode
def test_an_autoencoder_learns(mode) -> None:
    ends = SCENE.truth.endmembers.astype(np.float32)

    def losses() -> list[float]:
        return hud.UnmixingAutoencoder(ends, encoder="linear").fine_tune(SCENE.pixels, steps=2)

    wanted = losses()
    with mode():
        assert losses() == wanted


NAMES = [
    *("fcls", "log_project", "window_search", "CosineIndex.search", "normal_noise", "q_sample"),
    *("sampler_step", "vca", "count_endmembers", "linear_abundances", "spectral_angle"),
    *("point_fidelity", "block_diversity", "copy_check", "real_reference"),
]


@every_mode
@pytest.mark.parametrize("name", NAMES)
def test_functions_are_the_same(mode, name: str) -> None:
    call = CALLS[name]
    given = {k: v for k, v in {**call.arrays, **call.scalars, **call.work}.items() if v is not ...}
    wanted = arrays_of(call.function(**given))
    with mode():
        found = arrays_of(call.function(**given))
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_a_generator_leaves_the_caller_as_he_is() -> None:
    @in_plain_torch
    def states() -> Iterator[bool]:
        try:
            yield torch.is_grad_enabled()
            yield torch.is_grad_enabled()
        finally:
            closed.append(True)

    closed: list[bool] = []
    with torch.no_grad():
        steps = states()
        assert next(steps)
        assert not torch.is_grad_enabled()
        assert next(steps)
        steps.close()
    assert closed == [True]


def test_the_default_dtype_comes_back() -> None:
    with default_dtype():
        with pytest.raises(TypeError):
            hud.HUD.fit("scene.hdr")
        assert torch.get_default_dtype() == torch.float64


def test_what_notebooks_show_is_a_line(model) -> None:
    assert repr(model) == "HUD('simulated', D=3, C=12, tiny, 1 step)"
    shown = [
        hud.AbundanceModel.of(model),
        hud.CosineIndex(SCENE.cube),
        hud.WindowIndex(SCENE.cube, 2),
        hud.Mixtures(SCENE.truth.abundances, SCENE.truth.endmembers),
        SCENE,
        SCENE.truth,
    ]
    for one in shown:
        assert len(repr(one)) < 100, type(one)
        assert "\n" not in repr(one)
