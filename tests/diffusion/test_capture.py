"""What a CUDA graph may hold: the device's part of a step decides nothing on the host, and names no other device.

No GPU is needed for these: a dispatch mode sees every operation, and the meta device refuses what a GPU's stream would
have to wait for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.test_training import make
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hud_fast.diffusion import capture, sampling, training
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.noise import addressed_noise
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.sampling import Denoising, plan
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.kernels import can_run, last_backend
from hud_fast.kernels.noise.normal_noise import normal_noise_at

WAITS = ("_local_scalar_dense", "nonzero", "item", "equal", "masked_select", "unique", "is_nonzero")


class Watch(TorchDispatchMode):
    """Names of the operations that would make a host wait for its GPU, and of copies between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        name = func.overloadpacket.__name__
        if name in WAITS:
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


def on_device(key: int, first: Tensor, step: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Noise as a GPU gets it, from addresses that stay on the device."""
    samples = first + torch.arange(shape[0], device=first.device)
    return normal_noise_at(samples, step, int(np.prod(shape[1:])), seed=key).view(shape)


def network_of(micro: Preset, prediction: Any = "residual") -> Any:
    network = build_network(replace(micro, prediction=prediction), 2).eval().requires_grad_(False)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    return network


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_sampling_step_waits_for_nothing(
    micro: Preset, monkeypatch: pytest.MonkeyPatch, sampler: str, precision: str
) -> None:
    monkeypatch.setattr(sampling, "addressed_noise", on_device)
    steps = plan(NoiseSchedule(), sampler=sampler, steps=4)
    loop = Denoising(network_of(micro), steps, 2, (2, 8, 8), seed=1, precision=precision)
    loop.start(0)
    before = loop.z.data_ptr()
    with Watch() as watch:
        for _ in steps:
            loop.step()
    assert watch.waits == []
    assert watch.count > 100
    assert loop.z.data_ptr() == before, "a graph would go on reading the old place"
    assert int(loop.index) == 4
    assert torch.isfinite(loop.z).all()


def test_a_sampling_step_keeps_to_its_device(micro: Preset) -> None:
    """On the meta device: a tensor of the CPU, or a number wanted from a tensor, is an error there."""
    network = network_of(micro).to("meta")
    loop = Denoising(network, plan(NoiseSchedule(), steps=4), 2, (2, 8, 8), seed=1)
    loop.start(7)
    loop.step()
    assert loop.z.device.type == "meta"
    assert loop.z.shape == (2, 2, 8, 8)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_step_waits_for_nothing(
    abundances: NDArray[np.float32],
    micro: Preset,
    monkeypatch: pytest.MonkeyPatch,
    precision: Any,
) -> None:
    monkeypatch.setattr(training, "addressed_noise", on_device)
    trainer = make(abundances, replace(micro, prediction="residual", precision=precision))
    trainer.step()
    places = [parameter.data_ptr() for parameter in trainer.parameters]
    with Watch() as watch:
        trainer.compute()
    # AdamW's own way on a CPU asks nothing either: its step count is a tensor
    assert watch.waits == []
    assert watch.count > 100
    assert [parameter.data_ptr() for parameter in trainer.parameters] == places


def test_noise_at_tensor_addresses_is_the_same_noise() -> None:
    first, step = torch.tensor(5), torch.tensor(9)
    ours = addressed_noise(2**62 + 3, first, step, (3, 2, 5, 7))
    assert ours.shape == (3, 2, 5, 7)
    # another logarithm and sine: a few units in the last place
    torch.testing.assert_close(
        ours, on_device(2**62 + 3, first, step, (3, 2, 5, 7)), rtol=1e-5, atol=2e-6
    )
    later = addressed_noise(2**62 + 3, first + 1, step, (2, 2, 5, 7))
    assert torch.equal(later, ours[1:])
    assert not torch.equal(addressed_noise(2**62 + 3, first, step + 1, (3, 2, 5, 7)), ours)


def test_half_the_digits_make_nearly_the_same_samples(micro: Preset) -> None:
    """bfloat16 has 8 bits: the samples move by hundredths of their own spread."""
    network, steps = network_of(micro), plan(NoiseSchedule(), sampler="ddim", steps=20)

    def run(precision: str) -> Tensor:
        return next(
            sampling.sample_latent(
                network, steps, range(4), (2, 16, 16), seed=0, batch_size=4, precision=precision
            )
        )

    exact, coarse = run("float32"), run("bfloat16")
    assert coarse.dtype == torch.float32
    assert not torch.equal(exact, coarse)
    apart = float((exact - coarse).std() / exact.std())
    assert apart < 0.05, apart


def test_a_cpu_never_captures_and_a_gpu_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.delenv(capture.VARIABLE, raising=False)
    monkeypatch.delenv("HUD_FAST_GPU_KERNELS", raising=False)
    assert not capture.captures(torch.device("cpu"), True)
    assert capture.captures(gpu, True)
    for found in (True, False):
        asked: list[Any] = []
        monkeypatch.setattr(capture, "proven", lambda *what, f=found, a=asked: a.append(what) or f)
        assert capture.captures(gpu, None) is found
        assert asked == [("graphs", gpu)]
        for text, answer in (("1", True), ("0", False), ("", found)):
            monkeypatch.setenv(capture.VARIABLE, text)
            assert capture.captures(gpu, None) is answer
            assert capture.captures(gpu, True)
            assert not capture.captures(gpu, False)
        monkeypatch.delenv(capture.VARIABLE)
        monkeypatch.setenv("HUD_FAST_GPU_KERNELS", "0")
        assert not capture.captures(gpu, None)
        monkeypatch.delenv("HUD_FAST_GPU_KERNELS")
    monkeypatch.setenv(capture.VARIABLE, "yes")
    with pytest.raises(ValueError, match="HUD_FAST_CUDA_GRAPHS must be 0 or 1, got 'yes'"):
        capture.captures(torch.device("cpu"), None)


def test_work_without_capture_is_just_done() -> None:
    done: list[int] = []
    work = capture.Repeated(lambda: done.append(1), torch.device("cpu"), capture=False)
    for _ in range(capture.WARM + 3):
        work()
    assert len(done) == capture.WARM + 3


@pytest.mark.skipif(
    not can_run("triton", op="sampler_step_at"),
    reason="Triton's interpreter is off in this process",
)
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_step_in_one_triton_kernel_gives_the_same_samples(
    micro: Preset, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    network, steps = network_of(micro), plan(NoiseSchedule(), sampler=sampler, steps=5)

    def run(backend: str) -> Tensor:
        monkeypatch.setenv("HUD_FAST_BACKEND", backend)
        (z,) = sampling.sample_latent(network, steps, range(2, 5), (2, 9, 11), seed=4, batch_size=4)
        assert last_backend() == backend
        return z

    torch.testing.assert_close(run("triton"), run("torch"), rtol=1e-4, atol=1e-4)
