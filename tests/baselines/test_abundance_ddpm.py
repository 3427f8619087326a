from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hud_fast.baselines.abundance_ddpm import AbundanceDiffusion, AbundanceUNet

SHORT = AbundanceDiffusion(T=12, first=0.01, last=0.3)


def own_noise(shape: tuple[int, ...], seed: int = 0):
    drawn = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(shape, generator=drawn, dtype=torch.float64)


def micro_unet(D: int = 3) -> AbundanceUNet:
    torch.manual_seed(0)
    return AbundanceUNet(
        D, side=16, channels=8, levels=2, widest=2, layers=1, dropout=0.0, groups=4
    )


def linear_network(z: Tensor, level: Tensor) -> Tensor:
    """Some function of both arguments that keeps x' inside the clamp at times, and outside at others."""
    return 0.3 * z + level.view(-1, 1, 1, 1).double()


def test_levels_are_products_of_a_linear_schedule() -> None:
    levels = AbundanceDiffusion().levels
    assert len(levels) == 2001
    product, worst = 1.0, 0.0
    for step in range(2000):
        product *= 1 - (1e-6 + (1e-2 - 1e-6) * step / 1999)
        worst = max(worst, abs(levels[step + 1] / math.sqrt(product) - 1))
    assert worst < 1e-12
    assert levels[0] == 1


def test_all_steps_are_plain_ancestral_sampling() -> None:
    """Ho et al.'s update, written with the betas of the schedule itself."""
    shape = (2, 3, 4, 4)
    betas = np.linspace(0.01, 0.3, 12)
    abar = np.cumprod(1 - betas)
    noise = own_noise(shape)
    z = noise()
    for t in range(11, -1, -1):
        before = abar[t - 1] if t else 1.0
        told = linear_network(z, torch.full((2,), math.sqrt(abar[t])))
        clean = ((z - math.sqrt(1 - abar[t]) * told) / math.sqrt(abar[t])).clamp(-1, 1)
        z = (math.sqrt(before) * betas[t] * clean + math.sqrt(1 - betas[t]) * (1 - before) * z) / (
            1 - abar[t]
        )
        if t:
            z = z + math.sqrt(betas[t] * (1 - before) / (1 - abar[t])) * noise()
    # levels are told in float32
    torch.testing.assert_close(
        SHORT.sample(linear_network, own_noise(shape), 12), z, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_a_network_that_knows_the_maps_samples_them(steps: int) -> None:
    clean = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double() * 2 - 1

    def oracle(z: Tensor, level: Tensor) -> Tensor:
        g = level.double().view(-1, 1, 1, 1)
        return (z - g * clean) / (1 - g * g).sqrt()

    found = SHORT.sample(oracle, own_noise((2, 3, 4, 4)), steps)
    torch.testing.assert_close(found, clean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sign", [-1, 1])
def test_maps_never_leave_the_clamp(sign: int) -> None:
    """A network that sees far too much noise would give maps beyond -1 and 1."""
    found = SHORT.sample(lambda z, _: torch.full_like(z, sign * 50.0), own_noise((1, 2, 4, 4)), 12)
    assert (found == -sign).all()


def test_noise_of_the_sampler_has_the_variance_of_the_posterior() -> None:
    """With x = 0 known, z at any time left out or not is normal of variance 1 - abar."""
    seen: dict[float, float] = {}

    def oracle(z: Tensor, level: Tensor) -> Tensor:
        g = float(level[0])
        seen[g] = float(z.var())
        return z / math.sqrt(1 - g * g)

    AbundanceDiffusion().sample(oracle, own_noise((4, 4, 64, 64)), 4)
    for g, variance in seen.items():
        assert variance == pytest.approx(1 - g * g, rel=0.02)
    assert len(seen) == 4


def test_levels_of_the_training_lie_between_neighbouring_steps() -> None:
    """Every level is told as it was used: the noise can be had back from it."""
    clean = torch.full((4000, 1, 2, 2), 0.5)
    told: list[Tensor] = []

    def network(z: Tensor, level: Tensor) -> Tensor:
        told.append(level)
        g = level.view(-1, 1, 1, 1)
        return (z - g * clean) / (1 - g * g).sqrt()

    torch.manual_seed(0)
    assert float(SHORT.loss(network, clean)) < 1e-5
    shares = np.histogram(told[0], bins=SHORT.levels[::-1])[0] / 4000
    assert len(np.unique(told[0])) > 3900  # not the twelve of the steps
    np.testing.assert_allclose(shares, 1 / 12, atol=0.02)


def test_the_loss_is_the_mean_absolute_error_of_the_noise() -> None:
    torch.manual_seed(0)
    loss = SHORT.loss(lambda z, _: torch.zeros_like(z), torch.zeros(8, 2, 32, 32))
    assert float(loss) == pytest.approx(math.sqrt(2 / math.pi), rel=0.02)


def test_times_are_even_and_end_at_0() -> None:
    assert AbundanceDiffusion().times(4) == [2000, 1500, 1000, 500, 0]
    assert SHORT.times(12) == list(range(12, -1, -1))
    for steps in range(1, 13):
        assert len(set(SHORT.times(steps))) == steps + 1
    with pytest.raises(ValueError, match=r"`steps` must be at most T = 12, got 13"):
        SHORT.times(13)


def test_a_training_on_one_map_samples_it() -> None:
    """A network of one guess a channel: what the loss teaches it is what the sampler makes."""
    guess = torch.zeros(1, 2, 1, 1, requires_grad=True)

    def network(z: Tensor, level: Tensor) -> Tensor:
        g = level.view(-1, 1, 1, 1)
        return (z - g * guess) / (1 - g * g).sqrt()

    clean = torch.tensor([0.6, -0.8]).view(1, 2, 1, 1).expand(8, -1, 8, 8)
    adam = torch.optim.Adam([guess], 0.04)
    torch.manual_seed(0)
    for _ in range(50):
        adam.zero_grad()
        SHORT.loss(network, clean).backward()
        adam.step()
    with torch.no_grad():
        made = SHORT.sample(network, lambda: torch.randn(4, 2, 8, 8), steps=6)
    torch.testing.assert_close(made, clean[:4], rtol=0, atol=0.1)


def test_the_u_net_starts_orthogonal_and_tells_levels_apart() -> None:
    network = micro_unet()
    kernel = network.unet.mid_block.resnets[0].conv1.weight.flatten(1)
    torch.testing.assert_close(kernel @ kernel.T, torch.eye(len(kernel)), rtol=0, atol=1e-5)
    assert not network.unet.mid_block.resnets[0].conv1.bias.any()
    z = torch.zeros(2, 3, 16, 16)
    with torch.inference_mode():
        high, low = network(z, torch.tensor([0.9, 0.91]))
    assert (high - low).abs().max() > 1e-4
    attended = [type(block).__name__ for block in network.unet.down_blocks]
    assert attended == ["AttnDownBlock2D", "DownBlock2D"]  # side 16, then 8
