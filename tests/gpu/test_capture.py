"""Sampling and training as CUDA graphs: the same numbers as launch by launch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.conftest import MICRO, smooth_abundances
from torch import Tensor, nn

from hud_fast.diffusion.capture import WARM, Repeated
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network, place
from hud_fast.diffusion.noise import addressed_noise
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.sampling import plan, sample_latent
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.training import Trainer

PRESET = replace(MICRO, prediction="residual")


def samples(
    device: torch.device, sampler: str, precision: str, capture: bool, n: int = 7
) -> Tensor:
    network = build_network(PRESET, 2).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1, generator=generator)
    place(network, device)
    batches = sample_latent(
        network,
        plan(NoiseSchedule(), sampler=sampler, steps=WARM + 5),
        range(n),
        (2, 16, 16),
        seed=3,
        batch_size=4,
        precision=precision,
        capture=capture,
    )
    return torch.cat(list(batches)).cpu()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("kernels", ["0", "1"], ids=["torch", "kernels"])
def test_a_graph_gives_the_samples_of_the_loop(
    gpu: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    precision: str,
    kernels: str,
) -> None:
    """Two batches, the second padded; the graph is captured in the middle of the first."""
    monkeypatch.setenv("HUD_FAST_GPU_KERNELS", kernels)
    loop, graph = (samples(gpu, sampler, precision, capture) for capture in (False, True))
    torch.testing.assert_close(graph, loop, rtol=0, atol=0 if precision == "float32" else 1e-2)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_gpu_gives_the_samples_of_a_cpu(gpu: torch.device, sampler: str) -> None:
    """The noise is the same on both; convolutions round differently (TF32 is off)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        there = samples(gpu, sampler, "float32", True)
    finally:
        torch.backends.cudnn.allow_tf32 = before
    here = samples(torch.device("cpu"), sampler, "float32", False)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)


def trained(
    device: torch.device, precision: Any, capture: bool, scenes: int = 1
) -> tuple[list[float], dict[str, Tensor]]:
    z, priors, masks = [], [], []
    for number in range(scenes):
        abundances = smooth_abundances(20 + number, 24 - number, 3, seed=number)
        space = LatentSpace.of(abundances)
        z.append(space.encode(abundances)[0].to(device))
        masks.append(np.ones(abundances.shape[:2], bool))
        on_cpu, valid = z[-1].cpu(), torch.from_numpy(masks[-1])
        priors.append(Prior.of(on_cpu, valid, space.mean, space.std))
    preset = replace(PRESET, steps=24, log_every=4, precision=precision)
    crops = CropSampler(z, masks, crop=preset.crop)
    network = build_network(preset, 3, prior=priors if scenes > 1 else priors[0])
    trainer = Trainer(network, crops, preset, seed=5, capture=capture)
    for _ in range(preset.steps):
        trainer.step()
    weights = {name: value.cpu() for name, value in trainer.averaged_weights().items()}
    return [entry["loss"] for entry in trainer.history], weights


@pytest.mark.parametrize("scenes", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_trains_as_the_loop_does(gpu: torch.device, precision: Any, scenes: int) -> None:
    """The rate's warm-up and decay, windows, times and noise change from replay to replay as they should.

    Gradients of convolutions may be summed in any order: equal to rounding, grown over 24 steps.
    """
    torch.backends.cudnn.deterministic = True
    try:
        loop, weights = trained(gpu, precision, False, scenes)
        graph, others = trained(gpu, precision, True, scenes)
    finally:
        torch.backends.cudnn.deterministic = False
    assert graph == pytest.approx(loop, rel=1e-3 if precision == "float32" else 2e-2)
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=1e-2, atol=2e-3)


def test_noise_changes_from_replay_to_replay(gpu: torch.device) -> None:
    first, step = (torch.zeros((), dtype=torch.int64, device=gpu) for _ in range(2))
    out = torch.zeros(3, 5, 7, device=gpu)

    def work() -> None:
        out.copy_(addressed_noise(11, first, step, (3, 5, 7)))

    repeated = Repeated(work, gpu, capture=True)
    for number in range(WARM + 4):
        step.fill_(number)
        first.fill_(2 * number)
        repeated()
        expected = addressed_noise(11, first.cpu(), step.cpu(), (3, 5, 7))
        torch.testing.assert_close(out.cpu(), expected, rtol=1e-5, atol=2e-6)
