"""The diffusion of abundance maps in UnmixDiff and Unmixing Before Fusion, which is SR3's without a condition.

    beta_1 .. beta_T   linear; abar_t = prod (1 - beta_s), g_t = sqrt(abar_t), g_0 = 1
    training           g uniform in [g_t, g_{t-1}], t uniform; z = g x + sqrt(1 - g^2) e; |e - network(z, g)| lowered
    sampling           x' = clamp((z - sqrt(1 - abar_t) network(z, g_t)) / g_t), then z_s of q(z_s | z_t, x')

The network is told the noise level g, not the step, so steps may be left out at sampling: from t to any s < t the
posterior is that of one step with 1 - beta = abar_t / abar_s (Nichol and Dhariwal 2021, arXiv 2102.09672, section 4).

Saharia et al. 2021 (SR3), arXiv 2104.07636; Chen et al. 2020 (WaveGrad), arXiv 2009.00713, for levels between steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hud_fast._checks import check_count

ATTENTION = 16  # side of the maps that are attended to
# Times the noise level: what a U-Net's sinusoids of the time expect.
TIMES = 1000.0

Network = Callable[[Tensor, Tensor], Tensor]  # (B, D, H, W), (B,) noise levels -> the noise


@dataclass(frozen=True)
class AbundanceDiffusion:
    """The schedule, the training's loss and the sampler.

    Parameters
    ----------
    T : int
        Steps.
    first, last : float
        beta_1 and beta_T.

    Examples
    --------
    >>> diffusion = AbundanceDiffusion(T=4, first=0.1, last=0.4)
    >>> [round(float(g) ** 2, 4) for g in diffusion.levels]  # 1, 0.9, 0.9 * 0.8, ...
    [1.0, 0.9, 0.72, 0.504, 0.3024]
    >>> diffusion.times(2)
    [4, 2, 0]
    """

    T: int = 2000
    first: float = 1e-6
    last: float = 1e-2

    @cached_property
    def levels(self) -> NDArray[np.float64]:  # (T + 1,)
        """g_0 to g_T."""
        betas = np.linspace(self.first, self.last, self.T)
        levels: NDArray[np.float64] = np.sqrt(np.concatenate([[1.0], np.cumprod(1 - betas)]))
        return levels

    def loss(self, network: Network, clean: Tensor) -> Tensor:  # (B, D, H, W) -> ()
        """Mean absolute error of the noise, each map at its own level; draws from torch's global generator."""
        t = torch.randint(1, self.T + 1, (len(clean),))
        table = torch.from_numpy(self.levels)
        level = table[t] + torch.rand(len(clean), dtype=torch.float64) * (table[t - 1] - table[t])
        noise = torch.randn_like(clean)
        noisy = self.noised(clean, noise, level)
        return (noise - network(noisy, level.to(clean))).abs().mean()

    @staticmethod
    def noised(
        clean: Tensor,  # (B, D, H, W)
        noise: Tensor,  # the same
        level: Tensor,  # (B,) float64
    ) -> Tensor:  # (B, D, H, W)
        """g x + sqrt(1 - g^2) e."""
        signal, rest = (
            part.to(clean).view(-1, 1, 1, 1) for part in (level, (1 - level.square()).sqrt())
        )
        return signal * clean + rest * noise

    def times(self, steps: int) -> list[int]:
        """`steps` + 1 times from T to 0, evenly spaced.

        Raises
        ------
        ValueError
            If `steps` is not from 1 to T.
        """
        steps = check_count("AbundanceDiffusion", "steps", steps)
        if steps > self.T:
            raise ValueError(
                f"AbundanceDiffusion: `steps` must be at most T = {self.T}, got {steps}"
            )
        return [round(self.T * left / steps) for left in range(steps, -1, -1)]

    def sample(
        self, network: Network, noise: Callable[[], Tensor], steps: int
    ) -> Tensor:  # (n, D, H, W) in [-1, 1]
        """Ancestral sampling.

        Parameters
        ----------
        network
            Tells the noise in maps of given noise levels.
        noise
            Standard normal numbers of the maps' shape, new ones at each call: of the start, then of each step but the
            last.
        steps : int
            How many of the T steps are made.
        """
        z = noise()
        times = self.times(steps)
        for t, s in pairwise(times):
            g, g_s = float(self.levels[t]), float(self.levels[s])
            level = torch.full((len(z),), g, device=z.device)
            clean: Tensor = ((z - (1 - g * g) ** 0.5 * network(z, level)) / g).clamp(-1, 1)
            if s == 0:
                last: Tensor = clean
                return last
            kept = (g / g_s) ** 2  # 1 - beta of the step from s to t
            z = (
                g_s * (1 - kept) / (1 - g * g) * clean
                + kept**0.5 * (1 - g_s * g_s) / (1 - g * g) * z
                + ((1 - kept) * (1 - g_s * g_s) / (1 - g * g)) ** 0.5 * noise()
            )
        raise AssertionError("times end at 0")


class AbundanceUNet(nn.Module):
    """The noise in abundance maps, by diffusers' UNet2DModel told a continuous noise level; orthogonal start.

    SR3's U-Net of 92.9 M parameters (D = 5, 64 channels times 1, 2, 4, 8, 8) has 94.5 M here, 1.8 % more: diffusers'
    attention has biases and its time embedding is as wide in every block.

    Parameters
    ----------
    D : int
        Maps.
    side : int
        Of the windows; a multiple of 2 ** (levels - 1). Attention is at side 16 and in the middle.
    channels, levels, widest : int
        Level i has channels * min(2 ** i, widest) of them.
    layers : int
        Residual blocks a level.
    dropout : float
    groups : int
        Of the normalisation.

    Examples
    --------
    >>> network = AbundanceUNet(
    ...     3, side=16, channels=8, levels=2, widest=2, layers=1, dropout=0.0, groups=4
    ... )
    >>> network(torch.zeros(2, 3, 16, 16), torch.tensor([0.9, 0.1])).shape
    torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        D: int,
        *,
        side: int,
        channels: int,
        levels: int,
        widest: int,
        layers: int,
        dropout: float,
        groups: int,
    ) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        attended = [side >> level == ATTENTION for level in range(levels)]
        self.unet: Any = UNet2DModel(  # type: ignore[no-untyped-call]
            in_channels=D,
            out_channels=D,
            block_out_channels=tuple(channels * min(2**level, widest) for level in range(levels)),
            layers_per_block=layers,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attended),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attended[::-1]),
            attention_head_dim=None,  # one head, as in SR3
            norm_num_groups=groups,
            dropout=dropout,
        )
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self,
        z: Tensor,  # (B, D, side, side)
        level: Tensor,  # (B,)
    ) -> Tensor:  # (B, D, side, side)
        noise: Tensor = self.unet(z, TIMES * level, return_dict=False)[0]
        return noise
