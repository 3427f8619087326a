from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.prior import LEAST_SHARE, LEAST_SPREAD, OWN_WEIGHT, Prior
from hud_fast.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule()


def signal(t: int) -> torch.Tensor:
    return torch.tensor([SCHEDULE.signal(t)], dtype=torch.float64)


def prior_of(x: NDArray[np.float32]) -> tuple[Prior, torch.Tensor]:
    space = LatentSpace.of(x)
    z = space.encode(x)
    return Prior.of(z[0], torch.ones(x.shape[:2], dtype=torch.bool), space.mean, space.std), z


def summed(
    z: float, abar: float, atom: float, share: float, mean: float, std: float
) -> tuple[float, float]:
    """E[eps | z] and P(atom | z) by summing over the prior on a fine grid, float64."""
    grid, step = np.linspace(mean - 40 * std, mean + 40 * std, 200_001, retstep=True)
    density = math.log((1 - share) * step / (std * math.sqrt(2 * math.pi)))
    values = np.append(grid, atom)
    prior = np.append(density - 0.5 * ((grid - mean) / std) ** 2, math.log(share))
    noise = (z - math.sqrt(abar) * values) / math.sqrt(1 - abar)
    log_weight = prior - 0.5 * noise**2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    return float((weight * noise).sum()), float(weight[-1])


@pytest.mark.parametrize("t", [0, 3, 30, 100, 300, 700, 999])
def test_a_lone_value_against_a_sum_over_the_prior(t: int) -> None:
    numbers = {"atom": -1.2, "share": 0.6, "mean": 0.7, "std": 0.5}
    prior = Prior(
        **{name: torch.tensor([x]) for name, x in numbers.items()}, roughness=torch.tensor([0.2])
    )
    for z in (-3.0, -1.3, -1.19, 0.0, 0.6, 2.0):
        found = prior.guess(torch.full((1, 1, 1, 1), z), signal(t))
        noise, P = summed(z, SCHEDULE.signal(t), **numbers)
        # float32: u is z divided by sqrt(1 - abar), 0.01 at t = 0; a neighbour of weight 1e-4
        assert float(found.noise) == pytest.approx(noise, rel=1e-3, abs=1e-3)
        assert float(found.atom) == pytest.approx(P, abs=3e-4)


@pytest.mark.parametrize("t", [5, 60, 400])
def test_neighbours_against_loops(t: int) -> None:
    """The second round written out pixel by pixel in float64, on 4 x 5 values that lie about the atom too."""
    atom, share, mean, std, rough = -1.0, 0.4, 0.8, 0.6, 0.25
    z = 0.9 * torch.randn(4, 5, generator=torch.Generator().manual_seed(t))
    prior = Prior(*torch.tensor([[atom], [share], [mean], [std], [rough]]))
    found = prior.guess(z[None, None], signal(t))
    abar = SCHEDULE.signal(t)
    first = np.array(
        [[summed(float(v), abar, atom, share, mean, std)[1] for v in row] for row in z]
    )
    clean = z.double().numpy() / math.sqrt(abar)
    for i in range(4):
        for j in range(5):
            window = [
                (k, m)
                for k in range(max(i - 1, 0), min(i + 2, 4))
                for m in range(max(j - 1, 0), min(j + 2, 5))
                if (k, m) != (i, j)
            ]
            atoms = sum(first[at] for at in window)
            count = sum(1 - first[at] for at in window) + 1e-4
            average = sum((1 - first[at]) * clean[at] for at in window) / count
            precision = 1 / (((1 - abar) / abar + rough**2) / count + rough**2)
            center = (mean / std**2 + precision * average) / (1 / std**2 + precision)
            noise, P = summed(
                float(z[i, j]),
                abar,
                atom,
                (atoms + OWN_WEIGHT * share) / (atoms + count + OWN_WEIGHT),
                center,
                (1 / std**2 + precision) ** -0.5,
            )
            assert float(found.noise[0, 0, i, j]) == pytest.approx(noise, abs=2e-3)
            assert float(found.atom[0, 0, i, j]) == pytest.approx(P, abs=2e-3)


def test_the_numbers_of_a_scene(abundances: NDArray[np.float32]) -> None:
    found, z = prior_of(abundances)
    for channel in range(3):
        zero, values = abundances[..., channel] == 0, z[0, channel].numpy()
        assert float(found.share[channel]) == pytest.approx(zero.mean(), abs=1e-6)
        assert float(found.atom[channel]) == pytest.approx(values[zero][0], abs=1e-4)
        assert float(found.mean[channel]) == pytest.approx(values[~zero].mean(), abs=1e-4)
        assert float(found.std[channel]) == pytest.approx(values[~zero].std(), abs=1e-4)
        squares = []
        for i, j in np.argwhere(~zero):
            window = slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2)
            near, count = (
                values[window][~zero[window]].sum() - values[i, j],
                (~zero[window]).sum() - 1,
            )
            if count:
                squares.append((values[i, j] - near / count) ** 2)
        rough = min(math.sqrt(np.mean(squares)), float(found.std[channel]))
        assert float(found.roughness[channel]) == pytest.approx(rough, rel=1e-3)


def test_masked_pixels_do_not_count(abundances: NDArray[np.float32]) -> None:
    space = LatentSpace.of(abundances)
    z = space.encode(abundances)[0]
    expected = Prior.of(z[:, 4:], torch.ones(16, 24, dtype=torch.bool), space.mean, space.std)
    valid = torch.ones(20, 24, dtype=torch.bool)
    valid[:4] = False
    z[:, :4] = 3.3
    for a, b in zip(Prior.of(z, valid, space.mean, space.std), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_channels_of_zeros_only_or_without_any_stay_finite() -> None:
    x = np.zeros((4, 4, 2), np.float32)
    x[..., 0] = 1
    found, z = prior_of(x)
    assert found.share.tolist() == pytest.approx([LEAST_SHARE, 1 - LEAST_SHARE])
    assert float(found.std.min()) == pytest.approx(LEAST_SPREAD)
    for t in (0, 500, 999):
        assert all(torch.isfinite(part).all() for part in found.guess(z * 1.5 + 3, signal(t)))


def test_it_explains_noise_without_a_network(abundances: NDArray[np.float32]) -> None:
    """The loss of eq. 15, which is 1 without any guess."""
    prior, z = prior_of(abundances)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    for t, most in ((10, 0.9), (100, 0.5), (500, 0.1), (900, 0.01)):
        noisy = SCHEDULE.add_noise(z, noise, torch.tensor([t]))
        found = prior.guess(noisy, signal(t)).noise
        assert float((found - noise).square().mean()) < most
