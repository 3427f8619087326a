"""Sampling and training as CUDA graphs: the same numbers as launch by launch."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.conftest import MICRO, smooth_abundances
from torch import Tensor, nn

from hud_fast.diffusion.capture import WARM, Repeated
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.joint import ClassChannels
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network, place
from hud_fast.diffusion.noise import addressed_noise
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.sampling import Denoising, plan, sample_latent
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.training import Trainer
from hud_fast.kernels.noise.normal_noise import Address, normal_noise_reference, philox_reference

PRESET = replace(MICRO, prediction="residual")


def samples(
    device: torch.device,
    sampler: str,
    precision: str,
    capture: bool,
    n: int = 7,
    side: int = 16,
    tile: int | None = None,
    K: int = 0,
) -> Tensor:
    network = build_network(PRESET, 2, K=K).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    nn.init.normal_(network.unet.conv_out.weight, std=0.1, generator=generator)
    if K:
        nn.init.normal_(network.told[-1].weight, std=0.5, generator=generator)
    place(network, device)
    batches = sample_latent(
        network,
        plan(NoiseSchedule(), sampler=sampler, steps=WARM + 5),
        range(n),
        (2 + K, side, side),
        seed=3,
        batch_size=4,
        tile=tile,
        precision=precision,
        capture=capture,
        shares=torch.full((K,), 1 / K) if K else None,
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


def test_a_graph_of_windows_gives_the_samples_of_the_loop(gpu: torch.device) -> None:
    """An image of overlapping windows, four at a time, is one graph a step."""
    loop, graph = (samples(gpu, "ddpm", "float32", c, n=2, side=40, tile=16) for c in (False, True))
    torch.testing.assert_close(graph, loop, rtol=0, atol=0)


@pytest.mark.parametrize("tile", [None, 8])
def test_a_graph_of_told_classes_gives_the_samples_of_the_loop(
    gpu: torch.device, tile: int | None
) -> None:
    """Two calls of the network a step."""
    loop, graph = (samples(gpu, "dpm++", "float32", c, n=5, tile=tile, K=3) for c in (False, True))
    torch.testing.assert_close(graph, loop, rtol=0, atol=0)


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


def trainer_on(
    device: torch.device,
    precision: Any,
    capture: bool,
    scenes: int = 1,
    log_every: int = 4,
    classes: bool = False,
) -> Trainer:
    """Of `scenes` scenes, or of one whose last two channels are taken for those of classes."""
    z, priors, masks = [], [], []
    for number in range(scenes):
        abundances = smooth_abundances(20 + number, 24 - number, 3, seed=number)
        space = LatentSpace.of(abundances)
        z.append(space.encode(abundances)[0].to(device))
        masks.append(np.ones(abundances.shape[:2], bool))
        on_cpu, valid = z[-1].cpu(), torch.from_numpy(masks[-1])
        priors.append(Prior.of(on_cpu, valid, space.mean, space.std))
    preset = replace(PRESET, steps=24, log_every=log_every, precision=precision)
    crops = CropSampler(z, masks, crop=preset.crop)
    if classes:
        shares = np.stack([abundances[..., 0], 1 - abundances[..., 0]], axis=-1)
        channels = ClassChannels.of(shares, abundances[..., 1], device=device)
        network = build_network(preset, 1, K=2, prior=priors[0])
        return Trainer(network, crops, preset, seed=5, capture=capture, classes=channels)
    network = build_network(preset, 3, prior=priors if scenes > 1 else priors[0])
    return Trainer(network, crops, preset, seed=5, capture=capture)


def trained(
    device: torch.device, precision: Any, capture: bool, scenes: int = 1, classes: bool = False
) -> tuple[list[float], dict[str, Tensor]]:
    trainer = trainer_on(device, precision, capture, scenes, classes=classes)
    for _ in range(trainer.preset.steps):
        trainer.step()
    weights = {name: value.cpu() for name, value in trainer.averaged_weights().items()}
    return [entry["loss"] for entry in trainer.history], weights


@pytest.mark.parametrize(("scenes", "classes"), [(1, False), (2, False), (1, True)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_trains_as_the_loop_does(
    gpu: torch.device, precision: Any, scenes: int, classes: bool
) -> None:
    """The rate's warm-up and decay, windows, times and noise change from replay to replay as they should.

    Gradients of convolutions may be summed in any order: equal to rounding, grown over 24 steps.
    """
    torch.backends.cudnn.deterministic = True
    try:
        loop, weights = trained(gpu, precision, False, scenes, classes)
        graph, others = trained(gpu, precision, True, scenes, classes)
    finally:
        torch.backends.cudnn.deterministic = False
    assert graph == pytest.approx(loop, rel=1e-3 if precision == "float32" else 2e-2)
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=1e-2, atol=2e-3)


def test_a_training_restored_is_captured_anew(gpu: torch.device) -> None:
    """A graph knows the optimiser's old tensors: after `restore` the steps are captured again, and go on the same."""
    steps = WARM + 2
    one = trainer_on(gpu, "float32", True)
    for _ in range(steps):
        one.step()
    tensors, record = one.state()
    kept = (
        {name: tensor.clone() for name, tensor in tensors.items()},
        json.loads(json.dumps(record)),
    )
    for _ in range(steps):
        one.step()
    wanted = {name: weight.clone() for name, weight in one.averaged_weights().items()}
    for other in (one, trainer_on(gpu, "float32", True)):  # itself, rewound, and a fresh one
        other.restore(*kept)
        for _ in range(steps):
            other.step()
        assert other.done == 2 * steps
        for name, weight in other.averaged_weights().items():
            torch.testing.assert_close(weight, wanted[name], rtol=1e-2, atol=2e-3, msg=name)


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


def test_the_noise_in_plain_torch_is_a_cpu_s(gpu: torch.device) -> None:
    """The same integers, to the last bit of products that wrap; a logarithm, root and angle in float64."""
    draw = torch.Generator().manual_seed(0)
    counter = [torch.randint(2**32, (1000,), generator=draw) for _ in range(4)]
    key = (0xDEADBEEF, 0x80000001)
    there = philox_reference([c.to(gpu) for c in counter], key)
    for ours, theirs in zip(there, philox_reference(counter, key), strict=True):
        assert torch.equal(ours.cpu(), theirs)
    at, start = torch.tensor([2**32 - 1]), torch.tensor([2**40 + 2**32 - 2])
    given = Address(2**63 - 1, 3, 1, at, start)
    moved = given._replace(at=at.to(gpu), start=start.to(gpu))
    with no_waiting():
        noise = normal_noise_reference(3, 1000, moved, gpu)
    expected = normal_noise_reference(3, 1000, given)
    torch.testing.assert_close(noise.cpu(), expected, rtol=1.2e-7, atol=0)


@contextlib.contextmanager
def no_waiting() -> Iterator[None]:
    """torch itself refuses what would make the host wait for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is called a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("scenes", "classes"), [(1, False), (2, False), (1, True)])
@pytest.mark.parametrize("capture", [False, True], ids=["loop", "graph"])
def test_a_training_step_does_not_wait(
    gpu: torch.device, precision: Any, scenes: int, classes: bool, capture: bool
) -> None:
    """From its draws to the average, launch by launch and replayed."""
    trainer = trainer_on(gpu, precision, capture, scenes, log_every=100, classes=classes)
    for _ in range(WARM + 2):  # libraries are made ready, and captures may wait
        trainer.step()
    with no_waiting():
        for _ in range(4):
            trainer.step()
    assert trainer.done == WARM + 6


@pytest.mark.parametrize("sampler", ["ddpm", "dpm++"])
def test_a_sampling_step_does_not_wait(gpu: torch.device, sampler: str) -> None:
    network = build_network(PRESET, 2).eval().requires_grad_(False)
    place(network, gpu)
    steps = plan(NoiseSchedule(), sampler=sampler, steps=6)
    loop = Denoising(network, steps, 4, (2, 16, 16), seed=3)
    with torch.no_grad():
        loop.start(0)
        loop()
        with no_waiting():
            loop.start(4)
            for _ in steps:
                loop()
    assert torch.isfinite(loop.z).all()


@pytest.mark.parametrize("fails", ["a number is asked for", "the work ends in an error"])
def test_a_capture_that_fails_is_as_if_it_had_not_been(gpu: torch.device, fails: str) -> None:
    """The work goes on, with the numbers of the loop; streams, allocator and generator are as they were."""
    total, one = (torch.full((1000,), float(k), device=gpu) for k in (0, 1))
    seen: list[int] = []

    def work() -> None:
        seen.append(1)
        total.add_(one * 2)
        if len(seen) == WARM + 1:
            if fails == "a number is asked for":
                total.sum().item()
            else:
                raise ValueError("not now")

    stream = torch.cuda.current_stream(gpu)
    repeated = Repeated(work, gpu, capture=True)
    for _ in range(WARM):
        repeated()
    torch.cuda.manual_seed(7)
    with pytest.warns(RuntimeWarning, match="goes on launch by launch"):
        repeated()
    assert torch.cuda.current_stream(gpu) == stream
    drawn = torch.randn(5, device=gpu)
    torch.cuda.manual_seed(7)
    assert torch.equal(torch.randn(5, device=gpu), drawn)
    for _ in range(2):
        repeated()
    assert total.tolist() == [2.0 * (WARM + 3)] * 1000
    assert used_on_two_streams_comes_back(gpu)
    # another one captures
    other = Repeated(lambda: total.mul_(2), gpu, capture=True)
    total.fill_(1)
    for _ in range(WARM + 3):
        other()
    assert other._graph is not None
    assert total.tolist() == [2.0 ** (WARM + 3)] * 1000


def used_on_two_streams_comes_back(gpu: torch.device) -> bool:
    """Whether freed memory is given out again: not as long as torch's allocator takes a capture to be under way."""
    torch.cuda.empty_cache()
    block = torch.empty(1 << 26, dtype=torch.uint8, device=gpu)
    block.record_stream(torch.cuda.Stream(gpu))
    place = block.data_ptr()
    del block
    torch.cuda.synchronize(gpu)
    return torch.empty(1 << 26, dtype=torch.uint8, device=gpu).data_ptr() == place


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU here, or none")
def test_the_second_gpu_captures_after_the_first() -> None:
    totals = [torch.zeros(10, device=f"cuda:{k}") for k in range(2)]
    for total in totals:
        repeated = Repeated(lambda total=total: total.add_(1), total.device, capture=True)
        for _ in range(WARM + 4):
            repeated()
        assert repeated._graph is not None
    assert [total.tolist() for total in totals] == [[WARM + 4.0] * 10] * 2
