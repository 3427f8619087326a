from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.marginal import LEAST_SHARE, LEAST_SPREAD, Marginal
from hud_fast.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule()


def brute_force(z: float, abar: float, atom: float, share: float, mean: float, std: float) -> float:
    """E[eps | z] by summing over the prior on a fine grid, float64; eps = (z - sqrt(abar) z_0) / ..."""
    grid = np.linspace(mean - 8 * std, mean + 8 * std, 200_001)
    density = np.exp(-0.5 * ((grid - mean) / std) ** 2)
    values = np.append(grid, atom)
    prior = np.append((1 - share) * density / density.sum(), share)
    noise = (z - math.sqrt(abar) * values) / math.sqrt(1 - abar)
    log_weight = np.log(np.maximum(prior, 1e-300)) - 0.5 * noise**2
    weight = np.exp(log_weight - log_weight.max())
    return float((weight * noise).sum() / weight.sum())


@pytest.mark.parametrize("t", [0, 3, 30, 100, 300, 700, 999])
def test_expected_noise_against_a_sum_over_the_prior(t: int) -> None:
    parameters = {"atom": -1.2, "share": 0.6, "mean": 0.7, "std": 0.5}
    marginal = Marginal(**{name: torch.tensor([value]) for name, value in parameters.items()})
    abar = SCHEDULE.signal(t)
    for z in (-3.0, -1.3, -1.19, 0.0, 0.6, 2.0):
        found, P = marginal.expected_noise(
            torch.full((1, 1, 1, 1), z), torch.tensor([abar], dtype=torch.float64)
        )
        expected = brute_force(z, abar, **parameters)
        # float32: u is z divided by sqrt(1 - abar), 0.01 at t = 0
        assert float(found) == pytest.approx(expected, rel=2e-4, abs=2e-4)
        assert 0 <= float(P) <= 1


def test_the_marginals_of_a_scene(abundances: NDArray[np.float32]) -> None:
    space = LatentSpace.of(abundances)
    z = space.encode(abundances)[0].reshape(3, -1)
    found = Marginal.of(z, space.std, space.mean)
    x = abundances.reshape(-1, 3)
    torch.testing.assert_close(found.share, torch.from_numpy((x == 0).mean(axis=0)).float())
    for channel in range(3):
        rest = z[channel][torch.from_numpy(x[:, channel] > 0)]
        assert float(found.mean[channel]) == pytest.approx(float(rest.mean()), abs=1e-4)
        assert float(found.std[channel]) == pytest.approx(float(rest.std(correction=0)), abs=1e-4)
        at_zero = z[channel][torch.from_numpy(x[:, channel] == 0)]
        assert float(found.atom[channel]) == pytest.approx(float(at_zero[0]), abs=1e-4)


def test_channels_without_zeros_or_of_zeros_only_stay_finite() -> None:
    x = np.zeros((4, 4, 2), np.float32)
    x[..., 0] = 1
    space = LatentSpace.of(x)
    z = space.encode(x)
    found = Marginal.of(z[0].reshape(2, -1), space.std, space.mean)
    assert found.share.tolist() == pytest.approx([LEAST_SHARE, 1 - LEAST_SHARE])
    assert float(found.std.min()) == pytest.approx(LEAST_SPREAD)
    for t in (0, 500, 999):
        signal = torch.tensor([SCHEDULE.signal(t)], dtype=torch.float64)
        noise, P = found.expected_noise(z * 1.5 + 3, signal)
        assert torch.isfinite(noise).all()
        assert torch.isfinite(P).all()


def test_it_explains_more_noise_than_no_network(abundances: NDArray[np.float32]) -> None:
    """It is the best guess value by value: its loss is below 1 at any time, and small late."""
    space = LatentSpace.of(abundances)
    z = space.encode(abundances)
    marginal = Marginal.of(z[0].reshape(3, -1), space.std, space.mean)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    losses = []
    for t in (10, 100, 500, 900):
        time = torch.tensor([t])
        guess, _ = marginal.expected_noise(
            SCHEDULE.add_noise(z, noise, time), SCHEDULE.alphas_cumprod[time]
        )
        losses.append(float((guess - noise).square().mean()))
    assert max(losses) < 0.9
    assert losses[-1] < 0.01
