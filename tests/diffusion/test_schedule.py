from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.schedule import NoiseSchedule, velocity


def test_tables_are_the_linear_schedule_of_diffusers() -> None:
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    ours = NoiseSchedule()
    torch.testing.assert_close(ours.betas, theirs.betas.double(), rtol=1e-6, atol=0)
    # theirs is a float32 product of 1000 factors
    torch.testing.assert_close(
        ours.alphas_cumprod, theirs.alphas_cumprod.double(), rtol=2e-5, atol=0
    )


def test_add_noise_is_eq_8_at_each_items_own_time() -> None:
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    z, noise = torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 10, 500, 999])
    expected = theirs.add_noise(z, noise, t)
    torch.testing.assert_close(
        NoiseSchedule().add_noise(z, noise, t), expected, rtol=1e-5, atol=1e-5
    )


def test_one_step_noises_follow_eq_7() -> None:
    """Composing eq. 7 from 0 to t gives the mean and the variance of eq. 8."""
    schedule = NoiseSchedule(T=50, beta_start=0.01, beta_end=0.3)
    signal, variance = 1.0, 0.0
    for t, beta in enumerate(schedule.betas.tolist()):
        signal, variance = signal * (1 - beta), variance * (1 - beta) + beta
        assert schedule.signal(t) == pytest.approx(signal, rel=1e-12)
        assert 1 - schedule.signal(t) == pytest.approx(variance, rel=1e-12)


def test_the_cosine_schedule_is_that_of_diffusers() -> None:
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    ours = NoiseSchedule(kind="cosine")
    torch.testing.assert_close(ours.betas, theirs.betas.double(), rtol=1e-6, atol=0)
    # the middle is half way in angle: cos^2 of 45 degrees, up to the offset
    assert ours.signal(499) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_zero_terminal_snr_is_that_of_diffusers(kind: str) -> None:
    names = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
    theirs = DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule=names[kind],
        rescale_betas_zero_snr=True,
    ).alphas_cumprod.double()
    ours = NoiseSchedule(kind=kind, zero_terminal_snr=True)  # type: ignore[arg-type]
    plain = NoiseSchedule(kind=kind)  # type: ignore[arg-type]
    # theirs is a float32 product; it sets the last to 2^-24, where ours is 0
    torch.testing.assert_close(ours.alphas_cumprod[:-1], theirs[:-1], rtol=1e-3, atol=1e-7)
    assert ours.signal(999) == 0.0
    assert ours.signal(0) == pytest.approx(plain.signal(0), rel=1e-12)
    assert float(ours.betas[-1]) == 1.0
    product = torch.cumprod(1 - ours.betas, 0)
    torch.testing.assert_close(product, ours.alphas_cumprod, rtol=1e-9, atol=1e-18)


def test_velocity_turns_z_and_noise_by_the_angle_of_the_time() -> None:
    """(z_t, v) is (z_0, eps) rotated: both come back."""
    z, noise = torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0)).double()
    t = torch.tensor([0, 10, 500, 999])
    schedule = NoiseSchedule(zero_terminal_snr=True)
    signal = schedule.alphas_cumprod[t]
    v, noisy = velocity(z, noise, signal), schedule.add_noise(z, noise, t)
    a, b = (x.view(-1, 1, 1, 1) for x in (signal.sqrt(), (1 - signal).sqrt()))
    torch.testing.assert_close(a * noisy - b * v, z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(b * noisy + a * v, noise, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(v[3], -z[3])


def test_a_preset_names_its_schedule(micro: Preset) -> None:
    chosen = replace(micro, prediction="v", T=50, schedule="cosine", zero_terminal_snr=True)
    assert NoiseSchedule.of(chosen) == NoiseSchedule(50, kind="cosine", zero_terminal_snr=True)
    assert NoiseSchedule.of(micro) == NoiseSchedule()


def test_clean_data_is_before_time_0() -> None:
    assert NoiseSchedule().signal(-1) == 1.0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"T": 0}, "`T` must be at least 1, got 0"),
        ({"beta_start": 0.0}, "0 < beta_start <= beta_end < 1, got 0.0 and 0.02"),
        ({"beta_end": 1.0}, "got 0.0001 and 1.0"),
        ({"beta_start": 0.03}, "got 0.03 and 0.02"),
        ({"kind": "sigmoid"}, "`kind` must be one of linear, cosine, got 'sigmoid'"),
        ({"T": 1, "zero_terminal_snr": True}, "`T` must be at least 2, got 1"),
    ],
)
def test_errors(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NoiseSchedule(**settings)  # type: ignore[arg-type]
