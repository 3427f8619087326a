from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor, nn

from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.sampling import Denoising, plan, sample_latent, spaced_times
from hud_fast.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule()
BETAS = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("sigma", "theirs"), [("beta_tilde", "fixed_small"), ("beta", "fixed_large")]
)
def test_eq_14_against_diffusers(sigma: str, theirs: str) -> None:
    """z_{t-1} from the same z_t, eps and noise, at times over the whole range."""
    oracle = DDPMScheduler(**BETAS, clip_sample=False, variance_type=theirs)
    steps = {step.t: step for step in plan(SCHEDULE, sampler="ddpm", sigma=sigma)}
    z, eps = normal(2, 3, 4, 4), normal(2, 3, 4, 4, seed=1)
    for t in (999, 998, 500, 17, 2, 1, 0):
        expected = oracle.step(eps, t, z, generator=torch.Generator().manual_seed(5)).prev_sample
        step = steps[t]
        ours = (
            step.z_factor * z
            + step.eps_factor * eps
            + step.noise_factor * normal(2, 3, 4, 4, seed=5)
        )
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_the_bracket_of_eq_14() -> None:
    """(z - beta / sqrt(1 - abar) eps) / sqrt(alpha), the bracket that Algorithm 2 misses."""
    for step in plan(SCHEDULE)[::100]:
        beta, signal = float(SCHEDULE.betas[step.t]), SCHEDULE.signal(step.t)
        assert step.z_factor == pytest.approx(1 / math.sqrt(1 - beta), rel=1e-9)
        expected = -beta / math.sqrt(1 - signal) / math.sqrt(1 - beta)
        assert step.eps_factor == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [1, 10, 50, 1000])
def test_ddim_against_diffusers(count: int) -> None:
    """A whole trajectory with a made-up network, at step counts that divide T."""
    oracle = DDIMScheduler(
        **BETAS, clip_sample=False, timestep_spacing="trailing", set_alpha_to_one=True
    )
    oracle.set_timesteps(count)
    steps = plan(SCHEDULE, sampler="ddim", steps=count)
    assert [step.t for step in steps] == oracle.timesteps.tolist()
    z = expected = normal(1, 2, 8, 8)
    for step in steps:
        eps = 0.9 * torch.tanh(expected)
        expected = oracle.step(eps, step.t, expected).prev_sample
        z = step.z_factor * z + step.eps_factor * 0.9 * torch.tanh(z)
    # float32 tables there, float64 here: 1e-5 at the first step, where abar is 4e-5
    torch.testing.assert_close(z, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # diffusers and NumPy 2
@pytest.mark.parametrize("count", [2, 10, 20, 50, 100])
def test_dpm_solver_against_diffusers(count: int) -> None:
    """A whole trajectory with a made-up network, by the loop that samples with it."""
    oracle = DPMSolverMultistepScheduler(
        **BETAS,
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
        final_sigmas_type="zero",
    )
    oracle.set_timesteps(count)
    steps = plan(SCHEDULE, sampler="dpm++", steps=count)
    assert [step.t for step in steps] == oracle.timesteps.tolist()

    class MadeUp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchor = nn.Parameter(torch.zeros(()))

        def forward(self, z: Tensor, _: Tensor) -> Tensor:
            return 0.9 * torch.tanh(z)

    (ours,) = sample_latent(MadeUp(), steps, range(4), (2, 8, 8), seed=0, batch_size=4)  # type: ignore[arg-type]
    loop = Denoising(MadeUp(), steps, 4, (2, 8, 8), seed=0)  # type: ignore[arg-type]
    loop.start(0)
    expected = loop.z.double()
    for step in steps:
        expected = oracle.step(0.9 * torch.tanh(expected), step.t, expected).prev_sample
    scale = float(expected.abs().max())
    # their tables are float32 where abar is 4e-5: the first step alone is off by 1e-4 of its size
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-4 * scale)


ZERO = NoiseSchedule(zero_terminal_snr=True)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("count", [1, 2, 10, 250])
def test_a_network_that_says_v_takes_the_same_steps(sampler: str, count: int) -> None:
    """v written as eps of the same z_t: the coefficients lead to the same place."""
    of_eps = plan(SCHEDULE, sampler=sampler, steps=count)
    of_v = plan(SCHEDULE, sampler=sampler, steps=count, says="v")
    z, eps = normal(2, 8).double()
    for one, other in zip(of_eps, of_v, strict=True):
        signal = SCHEDULE.signal(one.t)
        clean = (z - math.sqrt(1 - signal) * eps) / math.sqrt(signal)
        v = math.sqrt(signal) * eps - math.sqrt(1 - signal) * clean
        for first, second in (
            (one.z_factor * z + one.eps_factor * eps, other.z_factor * z + other.eps_factor * v),
            (one.clean_z * z + one.clean_eps * eps, other.clean_z * z + other.clean_eps * v),
        ):
            torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9 * float(first.norm()))
        assert one.noise_factor == other.noise_factor
        assert one.past_factor == other.past_factor


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("sampler", ["ddim", "dpm++"])
@pytest.mark.parametrize("count", [2, 10, 50])
def test_from_no_signal_at_all_against_diffusers(sampler: str, count: int) -> None:
    """Zero terminal SNR, a network that says v, the whole trajectory."""
    options = {**BETAS, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    if sampler == "ddim":
        oracle = DDIMScheduler(**options, rescale_betas_zero_snr=True, clip_sample=False)
    else:
        oracle = DPMSolverMultistepScheduler(
            **options, rescale_betas_zero_snr=True, final_sigmas_type="zero"
        )
    oracle.set_timesteps(count)
    z, past = normal(1, 2, 8, 8).double(), torch.zeros(1, 2, 8, 8).double()
    expected = z.clone()
    for step in plan(ZERO, sampler=sampler, steps=count, says="v"):
        expected = oracle.step(0.9 * torch.tanh(expected), step.t, expected).prev_sample
        v = 0.9 * torch.tanh(z)
        z, past = (
            step.z_factor * z + step.eps_factor * v + step.past_factor * past,
            step.clean_z * z + step.clean_eps * v,
        )
    # theirs begins at abar = 2^-24 in float32, 2.4e-4 of signal; worst measured 1.3e-3
    torch.testing.assert_close(z, expected, rtol=5e-3, atol=5e-3 * float(expected.abs().max()))


def test_the_ancestral_sampler_from_no_signal_draws_the_posterior() -> None:
    """First step from abar = 0: the mean is that of q(z_s | z_t, x), eq. 6 of Ho et al."""
    step, *_ = plan(ZERO, sampler="ddpm", steps=10, says="v")
    then = ZERO.signal(899)
    z, v = normal(2, 8).double()
    clean = -v  # at abar = 0
    assert step.t == 999
    torch.testing.assert_close(step.z_factor * z + step.eps_factor * v, math.sqrt(then) * clean)
    assert step.noise_factor == pytest.approx(math.sqrt(1 - then))


def test_epsilon_needs_a_signal() -> None:
    with pytest.raises(ValueError, match="`says` must be v where the last time has no signal"):
        plan(ZERO, sampler="ddim", steps=10)
    with pytest.raises(ValueError, match="`says` must be one of epsilon, v, got 'x'"):
        plan(SCHEDULE, says="x")


def test_a_sampler_without_memory_says_what_to_lower() -> None:
    class Greedy(Gaussian):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:
            return super().forward(z, t) + torch.empty(1 << 46)

    with pytest.raises(MemoryError, match="out of memory; lower `batch_size` = 2, or `tile`"):
        list(
            sample_latent(
                Greedy(0, 1),  # type: ignore[arg-type]
                plan(SCHEDULE, steps=2),
                range(2),
                (2, 8, 8),
                seed=0,
                batch_size=2,
            )
        )


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
@pytest.mark.parametrize("count", [1, 7, 333, 1000])
def test_last_step_has_no_noise_and_times_fall_from_T(sampler: str, count: int) -> None:
    steps = plan(SCHEDULE, sampler=sampler, steps=count)
    times = [step.t for step in steps]
    assert steps[-1].noise_factor == 0.0
    assert len(times) == count
    assert times[0] == 999
    assert sorted(set(times), reverse=True) == times
    assert times == spaced_times(1000, count)


class Gaussian(nn.Module):
    """The ideal denoiser where data are N(mean, std^2): eps is then linear in z_t."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        signal = SCHEDULE.alphas_cumprod[t].view(-1, 1, 1, 1).float()
        variance = signal * self.std**2 + 1 - signal
        return (1 - signal).sqrt() * (z - signal.sqrt() * self.mean) / variance


@pytest.mark.parametrize(
    ("sampler", "count", "sigma"),
    [
        ("ddpm", 1000, "beta_tilde"),
        ("ddpm", 1000, "beta"),
        ("ddpm", 250, "beta_tilde"),
        ("ddim", 100, "beta_tilde"),
        ("dpm++", 20, "beta_tilde"),
    ],
)
def test_ideal_denoiser_gives_back_the_data(sampler: str, count: int, sigma: str) -> None:
    """Independent of any scheduler: mean 1.5 and standard deviation 0.5 must come out."""
    steps = plan(SCHEDULE, sampler=sampler, steps=count, sigma=sigma)
    batches = sample_latent(
        Gaussian(1.5, 0.5),  # type: ignore[arg-type]
        steps,
        range(4),
        (1, 40, 40),
        seed=0,
        batch_size=4,
    )
    z = torch.cat(list(batches))
    # 6400 numbers: the mean is known to 0.006, the deviation to 0.005; few steps add a little
    assert float(z.mean()) == pytest.approx(1.5, abs=0.03)
    assert float(z.std()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++"])
def test_a_sample_depends_on_seed_and_number_only(micro: Preset, sampler: str) -> None:
    network = build_network(micro, 2).eval()
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    steps = plan(SCHEDULE, sampler=sampler, steps=5)

    def run(samples: range, batch_size: int, seed: int = 3) -> Tensor:
        batches = sample_latent(
            network, steps, samples, (2, 9, 11), seed=seed, batch_size=batch_size
        )
        return torch.cat(list(batches))

    reference = run(range(7), 7)
    for batch_size in (1, 2, 3, 5, 16):
        assert torch.equal(run(range(7), batch_size), reference)
    assert torch.equal(run(range(4, 6), 1), reference[4:6])
    assert not torch.equal(run(range(7), 7, seed=4), reference)
    assert not torch.equal(reference[0], reference[1])


@pytest.mark.parametrize("tile", [None, 16])
def test_samples_do_not_depend_on_threads(micro: Preset, tile: int | None) -> None:
    network = build_network(micro, 2).eval()
    nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    steps = plan(SCHEDULE, sampler="ddpm", steps=3)

    def run(threads: int) -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            batches = sample_latent(
                network, steps, range(9), (2, 40, 24), seed=0, batch_size=9, tile=tile
            )
            return torch.cat(list(batches))
        finally:
            torch.set_num_threads(before)

    one = run(1)
    assert torch.equal(run(2), one)
    assert torch.equal(run(3), one)


def test_progress_counts_every_sample_step(micro: Preset) -> None:
    counted: list[int] = []
    steps = plan(SCHEDULE, sampler="ddim", steps=3)
    list(
        sample_latent(
            build_network(micro, 1).eval(),
            steps,
            range(5),
            (1, 8, 8),
            seed=0,
            batch_size=2,
            progress=counted.append,
        )
    )
    assert sum(counted) == 15


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sampler": "euler"}, r"`sampler` must be one of ddpm, ddim, dpm\+\+, got 'euler'"),
        ({"sigma": "zero"}, "`sigma` must be one of beta_tilde, beta, got 'zero'"),
        ({"steps": 0}, "`steps` must be from 1 to T = 1000, got 0"),
        ({"steps": 1001}, "`steps` must be from 1 to T = 1000, got 1001"),
    ],
)
def test_errors(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        plan(SCHEDULE, **arguments)  # type: ignore[arg-type]
