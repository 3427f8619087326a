r"""Sampling: from noise back to z_0, by the ancestral sampler (eq. 14) or by DDIM in few steps.

Both are affine in (z_t, predicted noise, fresh noise), so a sampler is a list of `Step`
coefficients, computed in float64, and the loop is one line. With a = abar_t / abar_s for a step
from t to an earlier time s (s = t - 1 is alpha_t):

    ancestral  z_s = (z_t - (1 - a) / sqrt(1 - abar_t) eps) / sqrt(a) + sigma n,
               sigma^2 = (1 - abar_s) / (1 - abar_t) (1 - a)  ("beta_tilde")  or  1 - a  ("beta")
    DDIM       z_s = sqrt(abar_s) (z_t - sqrt(1 - abar_t) eps) / sqrt(abar_t) + sqrt(1 - abar_s) eps

No noise in the last step, and z is never clipped: it is not an image in [-1, 1]. (Algorithm 2 of
the paper misses a bracket; eq. 14 is right.) DDIM: Song, Meng and Ermon 2021, arXiv 2010.02502,
with eta = 0. Fewer steps than T take evenly spaced times that end each stretch ("trailing" in Lin
et al. 2024, arXiv 2305.08891), so the first one is always T - 1, pure noise.

Sample i reads noise at the address (seed, i, step) only. On a CPU the network sees groups of a
fixed size, padded where needed, because convolutions of another batch size round differently: the
samples are then the same bits whatever `n` and `batch_size`. On a GPU a group is a batch, and
another `batch_size` agrees to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hud_fast.diffusion.network import Denoiser, memory_format
from hud_fast.diffusion.presets import SAMPLERS, SIGMAS
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.seeds import Stream, generator

# Samples in one network call: 16 would be faster a sample (`hud-fast bench --groups notes` says by how much), but one
# sample would cost 16.
CPU_GROUP = 4


class Step(NamedTuple):
    """z <- z_factor z + eps_factor eps(z, t) + noise_factor n."""

    t: int
    z_factor: float
    eps_factor: float
    noise_factor: float


def spaced_times(T: int, steps: int) -> list[int]:
    """`steps` times from T - 1 downwards, evenly spaced.

    Examples
    --------
    >>> spaced_times(1000, 4), spaced_times(5, 5)
    ([999, 749, 499, 249], [4, 3, 2, 1, 0])
    """
    return [round(T * (steps - k) / steps) - 1 for k in range(steps)]


def plan(
    schedule: NoiseSchedule,
    *,
    sampler: str = "ddpm",
    steps: int | None = None,
    sigma: str = "beta_tilde",
) -> list[Step]:
    """The coefficients of a sampler, first step first.

    Parameters
    ----------
    schedule : NoiseSchedule
        Of the training.
    sampler : {"ddpm", "ddim"}
        Ancestral (eq. 14) or DDIM.
    steps : int, optional
        From 1 to T; default T.
    sigma : {"beta_tilde", "beta"}
        Variance of the ancestral noise.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> steps = plan(NoiseSchedule(), sampler="ddim", steps=50)
    >>> len(steps), steps[0].t, steps[-1].noise_factor
    (50, 999, 0.0)
    """
    if sampler not in SAMPLERS:
        raise ValueError(
            f"HUD.sample: `sampler` must be one of {', '.join(SAMPLERS)}, got {sampler!r}"
        )
    if sigma not in SIGMAS:
        raise ValueError(f"HUD.sample: `sigma` must be one of {', '.join(SIGMAS)}, got {sigma!r}")
    steps = schedule.T if steps is None else steps
    if not 1 <= steps <= schedule.T:
        raise ValueError(f"HUD.sample: `steps` must be from 1 to T = {schedule.T}, got {steps}")
    times = spaced_times(schedule.T, steps)
    result = []
    for t, s in zip(times, [*times[1:], -1], strict=True):
        now, then = schedule.signal(t), schedule.signal(s)
        if sampler == "ddim":
            z_factor = math.sqrt(then / now)
            eps_factor = math.sqrt(1 - then) - math.sqrt((1 - now) * then / now)
            noise_factor = 0.0
        else:
            beta = 1 - now / then
            z_factor = 1 / math.sqrt(1 - beta)
            eps_factor = -beta / math.sqrt(1 - now) * z_factor
            variance = beta if sigma == "beta" else beta * (1 - then) / (1 - now)
            noise_factor = 0.0 if s < 0 else math.sqrt(variance)
        result.append(Step(t, z_factor, eps_factor, noise_factor))
    return result


def _noise(seed: int, samples: range, step: int, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal noise of these samples, (B, D, H, W); step 0 is the start."""
    return torch.stack(
        [torch.randn(shape, generator=generator(seed, Stream.SAMPLING, i, step)) for i in samples]
    )


@torch.no_grad()
def sample_latent(
    network: Denoiser,
    steps: list[Step],
    samples: range,
    shape: tuple[int, int, int],  # (D, H, W)
    *,
    seed: int,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Tensor]:  # each (b, D, H, W) float32, b <= batch_size
    """Yield the latents of `samples`, batch by batch in order.

    `progress` is called with the number of sample-steps done since its last call.
    """
    device = next(network.parameters()).device
    group = CPU_GROUP if device.type == "cpu" else batch_size
    for first in range(0, len(samples), batch_size):
        batch = samples[first : first + batch_size]
        z = _noise(seed, batch, 0, shape).to(device, memory_format=memory_format(device))
        for k, step in enumerate(steps, start=1):
            t = torch.full((group,), step.t, device=device)
            eps = torch.cat([_predict(network, part, t) for part in torch.split(z, group)])
            z = step.z_factor * z + step.eps_factor * eps
            if step.noise_factor:
                z += step.noise_factor * _noise(seed, batch, k, shape).to(device)
            if progress is not None:
                progress(len(batch))
        yield z


def _predict(
    network: Denoiser,
    z: Tensor,  # (b, D, H, W)
    t: Tensor,  # (group,)
) -> Tensor:  # (b, D, H, W)
    """The network's noise for z, computed in a batch of exactly len(t)."""
    missing = len(t) - len(z)
    if missing:
        z = torch.cat([z, z[:1].expand(missing, -1, -1, -1)])
    noise: Tensor = network(z, t)
    return noise[: len(t) - missing]
