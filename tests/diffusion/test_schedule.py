from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from hud_fast.diffusion.schedule import NoiseSchedule


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


def test_clean_data_is_before_time_0() -> None:
    assert NoiseSchedule().signal(-1) == 1.0


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"T": 0}, "`T` must be at least 1, got 0"),
        ({"beta_start": 0.0}, "0 < beta_start <= beta_end < 1, got 0.0 and 0.02"),
        ({"beta_end": 1.0}, "got 0.0001 and 1.0"),
        ({"beta_start": 0.03}, "got 0.03 and 0.02"),
    ],
)
def test_errors(settings: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        NoiseSchedule(**settings)  # type: ignore[arg-type]
