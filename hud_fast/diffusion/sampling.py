r"""Sampling: from noise back to z_0, by the ancestral sampler (eq. 14), or by DDIM or DPM-Solver++ in few steps.

All are affine in (z_t, what the network says, fresh noise, what the step before predicted for z_0), so a sampler is
a list of `Step` coefficients, computed in float64, and the loop is one line. With a = abar_t / abar_s for a step
from t to an earlier time s (s = t - 1 is alpha_t):

    ancestral  z_s = (z_t - (1 - a) / sqrt(1 - abar_t) eps) / sqrt(a) + sigma n,
               sigma^2 = (1 - abar_s) / (1 - abar_t) (1 - a)  ("beta_tilde")  or  1 - a  ("beta")
    DDIM       z_s = sqrt(abar_s) (z_t - sqrt(1 - abar_t) eps) / sqrt(abar_t) + sqrt(1 - abar_s) eps
    DPM++ 2M   z_s = sqrt((1 - abar_s) / (1 - abar_t)) z_t + sqrt(abar_s) (1 - exp(-h)) D,
               D = x + (x - x') h / (2 h'),  x = (z_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)

A network that predicts v says the same in other words: x = sqrt(abar_t) z_t - sqrt(1 - abar_t) v and eps =
sqrt(1 - abar_t) z_t + sqrt(abar_t) v, which hold where abar_t = 0 as well; its coefficients are those of the same
formulas in x and eps.

Above, x' is the step before's x, and h = l_s - l_t, h' the one before, with l = ln sqrt(abar / (1 - abar)). Its
first and last steps take D = x, which is DDIM.

No noise in the last step, and z is never clipped: it is not an image in [-1, 1]. (Algorithm 2 of the paper
misses a bracket; eq. 14 is right.) DDIM: Song, Meng and Ermon 2021, arXiv 2010.02502, with eta = 0.
DPM-Solver++(2M): Lu et al. 2022, arXiv 2211.01095, algorithm 2. Fewer steps than T take evenly spaced times
that end each stretch ("trailing" in Lin et al. 2024, arXiv 2305.08891), so the first one is always T - 1, pure
noise.

Sample i reads noise at the address (seed, i, step) only, on any device. The network sees groups of a
fixed size, padded with samples that nobody asked for, because convolutions of another batch size round
differently. On a CPU that size is 4, and each group is one core's (`Crew`), as they also round differently by another
number of threads: the samples are the same bits whatever `n`, `batch_size` and threads. On a GPU it is
`batch_size`: the same bits whatever `n`, and another `batch_size` agrees to rounding.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hud_fast._cores import Crew, cores_for
from hud_fast._limits import available_cores
from hud_fast.diffusion.capture import Repeated, captures
from hud_fast.diffusion.joint import GUIDANCE, Guided, condition
from hud_fast.diffusion.memory import enough_memory
from hud_fast.diffusion.network import Denoiser, memory_format, predict
from hud_fast.diffusion.noise import addressed_noise, noise_key
from hud_fast.diffusion.presets import SAMPLERS, SIGMAS
from hud_fast.diffusion.schedule import NoiseSchedule
from hud_fast.diffusion.seeds import Stream
from hud_fast.diffusion.tiles import Tiled
from hud_fast.kernels import resolve, sampler_step_at

# Samples in one network call: 16 would be faster a sample (`hud-fast bench --groups notes` says by how much), but one
# sample would cost 16.
CPU_GROUP = 4
SAYS = ("epsilon", "v")


def samples_at_once() -> int:
    """Samples that a CPU holds at a time where nobody says how many: some for every core."""
    return max(16, CPU_GROUP * available_cores())


class Step(NamedTuple):
    """z <- z_factor z + eps_factor eps(z, t) + noise_factor n + past_factor x', then x' <- x.

    x = clean_z z + clean_eps eps(z, t) is what this step takes z_0 to be; eps(z, t) is what the network says, the noise
    or v.
    """

    t: int
    z_factor: float
    eps_factor: float
    noise_factor: float
    past_factor: float = 0.0
    clean_z: float = 0.0
    clean_eps: float = 0.0


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
    says: str = "epsilon",
) -> list[Step]:
    """The coefficients of a sampler, first step first.

    Parameters
    ----------
    schedule : NoiseSchedule
        Of the training.
    sampler : {"ddpm", "ddim", "dpm++"}
        Ancestral (eq. 14), DDIM or DPM-Solver++(2M).
    steps : int, optional
        From 1 to T; default T.
    sigma : {"beta_tilde", "beta"}
        Variance of the ancestral noise.
    says : {"epsilon", "v"}
        What the network predicts; a schedule whose last time has no signal needs "v".

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
    if says not in SAYS:
        raise ValueError(f"HUD.sample: `says` must be one of {', '.join(SAYS)}, got {says!r}")
    if says == "epsilon" and schedule.signal(schedule.T - 1) == 0:
        raise ValueError(
            "HUD.sample: `says` must be v where the last time has no signal, got epsilon"
        )
    times = spaced_times(schedule.T, steps)
    if sampler == "dpm++":
        return _dpm_solver(schedule, times, says)
    result = []
    for t, s in zip(times, [*times[1:], -1], strict=True):
        now, then = schedule.signal(t), schedule.signal(s)
        beta = 1 - now / then
        noise_factor = 0.0
        if sampler == "ddpm":
            variance = beta if sigma == "beta" else beta * (1 - then) / (1 - now)
            noise_factor = 0.0 if s < 0 else math.sqrt(variance)
        if says == "v":
            if sampler == "ddim":
                by_clean, by_noise, by_z = math.sqrt(then), math.sqrt(1 - then), 0.0
            else:
                by_clean, by_noise = math.sqrt(then) * beta / (1 - now), 0.0
                by_z = math.sqrt(1 - beta) * (1 - then) / (1 - now)
            z_factor = by_z + by_clean * math.sqrt(now) + by_noise * math.sqrt(1 - now)
            eps_factor = by_noise * math.sqrt(now) - by_clean * math.sqrt(1 - now)
        elif sampler == "ddim":
            z_factor = math.sqrt(then / now)
            eps_factor = math.sqrt(1 - then) - math.sqrt((1 - now) * then / now)
        else:
            z_factor = 1 / math.sqrt(1 - beta)
            eps_factor = -beta / math.sqrt(1 - now) * z_factor
        result.append(Step(t, z_factor, eps_factor, noise_factor))
    return result


def _clean(now: float, says: str) -> tuple[float, float]:
    """x = clean_z z + clean_eps (what the network says)."""
    if says == "v":
        return math.sqrt(now), -math.sqrt(1 - now)
    return 1 / math.sqrt(now), -math.sqrt((1 - now) / now)


def _half_log_snr(signal: float) -> float:
    return -math.inf if signal == 0 else 0.5 * (math.log(signal / (1 - signal)))


def _dpm_solver(schedule: NoiseSchedule, times: list[int], says: str) -> list[Step]:
    """DPM-Solver++(2M): second order from the two newest predictions of z_0."""
    result: list[Step] = []
    before = math.nan  # h of the step before
    for t, s in zip(times, [*times[1:], -1], strict=True):
        now, then = schedule.signal(t), schedule.signal(s)
        clean_z, clean_eps = _clean(now, says)
        if s < 0:  # onto clean data: h is infinite, and the formula's limit is x itself
            result.append(Step(t, clean_z, clean_eps, 0.0))
            break
        # infinite from a time without signal: that step and the next are then of first order
        h = _half_log_snr(then) - _half_log_snr(now)
        gain = -math.sqrt(then) * math.expm1(-h)
        more = 0.0 if not result else h / (2 * before)
        result.append(
            Step(
                t,
                z_factor=math.sqrt((1 - then) / (1 - now)) + gain * (1 + more) * clean_z,
                eps_factor=gain * (1 + more) * clean_eps,
                noise_factor=0.0,
                past_factor=-gain * more,
                clean_z=clean_z,
                clean_eps=clean_eps,
            )
        )
        before = h
    return result


class Denoising:
    """A group of samples on its way from noise to z_0: one call is one step of the sampler.

    All that a step needs lies on the device: tables of times and coefficients, the number of the step, the samples'
    first number. So a step can be captured as a CUDA graph, and replaying it is the whole loop.

    Parameters
    ----------
    network : Module
        A `Denoiser`, or a `Tiled` one, on its device.
    steps : list of Step
        From `plan`.
    size : int
        Samples of the group. The network never sees another number: other batch sizes round differently.
    shape : (D, H, W)
        Of a sample.
    seed : int
        Of the noise.
    precision : {"float32", "bfloat16"}
        Of the network's convolutions and products; z itself is float32.
    capture : bool
        Whether steps become a CUDA graph.
    """

    def __init__(
        self,
        network: nn.Module,
        steps: list[Step],
        size: int,
        shape: tuple[int, int, int],
        *,
        seed: int,
        precision: str = "float32",
        capture: bool = False,
    ) -> None:
        device = next(network.parameters()).device
        self.network, self.precision = network, precision
        self.key = noise_key(seed, Stream.SAMPLING)
        self.times = torch.tensor([step.t for step in steps], device=device)
        self.factors = torch.tensor([step[1:] for step in steps], device=device)  # (S, 6) float32
        self.noisy = any(step.noise_factor for step in steps)
        self.remembers = any(step.past_factor for step in steps)
        self.first = torch.zeros((), dtype=torch.int64, device=device)
        self.index = torch.zeros((), dtype=torch.int64, device=device)
        self.z = torch.empty((size, *shape), device=device)
        self.past = torch.zeros_like(self.z) if self.remembers else None
        self._step = Repeated(self.step, device, capture=capture)

    def start(self, first: int) -> None:
        """Pure noise for samples `first` and on."""
        self.first.fill_(first)
        self.index.zero_()
        self.z.copy_(self._noise())
        if self.past is not None:
            self.past.zero_()  # its first factor is 0, and 0 times what an old run left might be NaN

    def step(self) -> None:
        """z_t to z_s, launch by launch. Waits for nothing on a GPU."""
        # indexing with a tensor of one number would read it on the host
        row = self.index.view(1)
        t = self.times.index_select(0, row).expand(len(self.z))
        form = memory_format(self.z.device)
        eps = predict(self.network, self.z.contiguous(memory_format=form), t, self.precision)
        if resolve("sampler_step_at", None, self.z) == "triton":
            sampler_step_at(
                self.z,
                eps,
                self.factors,
                self.index,
                seed=self.key,
                step=1,
                first=self.first,
                past=self.past,
                out=self.z,
            )
            self.index += 1
            return
        # not fused on a CPU: its kernels round a product and a sum once, and samples keep their bits
        z_factor, eps_factor, noise_factor, past_factor, clean_z, clean_eps = (
            self.factors.index_select(0, row).view(-1).unbind()
        )
        z = z_factor * self.z + eps_factor * eps
        self.index += 1
        if self.noisy:
            z += noise_factor * self._noise()
        if self.past is not None:
            z += past_factor * self.past
            self.past.copy_(clean_z * self.z + clean_eps * eps)
        self.z.copy_(z)

    def __call__(self) -> None:
        """`step`, from a graph where that is asked for."""
        self._step()

    def _noise(self) -> Tensor:
        return addressed_noise(self.key, self.first, self.index, tuple(self.z.shape))


@torch.no_grad()
def sample_latent(
    network: Denoiser,
    steps: list[Step],
    samples: range,
    shape: tuple[int, int, int],  # (D, H, W), of a network of K classes (D + K, H, W)
    *,
    seed: int,
    batch_size: int,
    precision: str = "float32",
    tile: int | None = None,
    capture: bool | None = None,
    turn: tuple[int, int] = (0, 1),
    shares: Tensor | None = None,  # (K,)
    told: Tensor | None = None,  # (K,) bool
    guidance: float = GUIDANCE,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Tensor]:  # each (b, D, H, W) float32, b <= batch_size
    """Yield the latents of `samples`, batch by batch in order.

    Samples with a side beyond `tile` are made one at a time, in windows of that side that overlap by a quarter;
    `batch_size` then counts windows. ``turn=(k, n)`` makes batches k, k + n, k + 2n, ... only. `progress` is called
    with the number of sample-steps done since its last call.

    `shares` asks a network of K classes for samples with these shares, of all classes or of those that `told` names,
    with `guidance` (see `joint.Guided`).
    """
    device = next(network.parameters()).device
    on_cpu = device.type == "cpu"
    size = CPU_GROUP if on_cpu else batch_size
    alone: nn.Module = network
    if shares is not None:
        if shares.shape != (network.K,):
            raise ValueError(
                f"sample_latent: `shares` must have shape ({network.K},), a number for each class of the network, got "
                f"{tuple(shares.shape)}"
            )
        told = torch.ones_like(shares, dtype=torch.bool) if told is None else told
        alone = Guided(network, condition(shares, told), guidance)
    whole = alone
    tiled = tile is not None and max(shape[1:]) > tile
    # of an image in windows there are always many groups
    groups = sys.maxsize if tiled else -(-min(batch_size, len(samples)) // size)
    crew = Crew(cores_for(groups)) if on_cpu else Crew(1, None)
    together = crew.count  # groups
    if tile is not None and tiled:
        whole = Tiled(alone, shape[1:], tile=tile, overlap=tile // 4, group=size, crew=crew)
        size = batch_size = together = 1
        crew = Crew(1, None)
    loops = [
        Denoising(
            whole,
            steps,
            size,
            shape,
            seed=seed,
            precision=precision,
            capture=captures(device, capture),
        )
        for _ in range(together)
    ]
    mine, turns = turn
    for begin in range(mine * batch_size, len(samples), turns * batch_size):
        batch = samples[begin : begin + batch_size]
        parts = []
        starts = batch[::size]
        for k in range(0, len(starts), together):
            firsts = starts[k : k + together]
            busy = loops[: len(firsts)]
            counts = [min(size, batch.stop - first) for first in firsts]
            for loop, first in zip(busy, firsts, strict=True):
                loop.start(first)
            for _ in steps:
                with enough_memory(
                    f"lower `batch_size` = {batch_size}, or `tile` (by default twice the training window's side)"
                ):
                    for _ in crew.map(Denoising.__call__, busy):
                        pass
                if progress is not None:
                    progress(sum(counts))
            parts += [loop.z[:count].clone() for loop, count in zip(busy, counts, strict=True)]
        yield torch.cat(parts)
