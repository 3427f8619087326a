r"""The noise schedule: how fast z drowns in noise (eqs. 7 and 8).

    q(z_t | z_{t-1}) = N(sqrt(1 - beta_t) z_{t-1}, beta_t I)                                (eq. 7)
    q(z_t | z_0) = N(sqrt(abar_t) z_0, (1 - abar_t) I),  abar_t = prod_{s <= t} (1 - beta_s) (eq. 8)

T = 1000 linear betas from 1e-4 to 0.02 (Ho, Jain and Abbeel 2020, arXiv 2006.11239; the paper
leaves the betas open). Times are 0-based: t = 0 is the least noisy step, t = T - 1 the last, and
"time -1" is clean data, abar = 1. Tables are float64: 1 - abar_0 = 1e-4 loses three digits in
float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """Linear variance schedule.

    Parameters
    ----------
    T : int
        Number of noise levels, at least 1.
    beta_start, beta_end : float
        Variances of the first and the last step, 0 < beta_start <= beta_end < 1.

    Examples
    --------
    >>> schedule = NoiseSchedule()
    >>> schedule.betas.shape, round(schedule.signal(999), 7)
    (torch.Size([1000]), 4.04e-05)
    """

    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        if self.T < 1:
            raise ValueError(f"NoiseSchedule: `T` must be at least 1, got {self.T}")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                "NoiseSchedule: `beta_start` and `beta_end` must satisfy "
                f"0 < beta_start <= beta_end < 1, got {self.beta_start} and {self.beta_end}"
            )

    @cached_property
    def betas(self) -> Tensor:  # (T,) float64
        return torch.linspace(self.beta_start, self.beta_end, self.T, dtype=torch.float64)

    @cached_property
    def alphas_cumprod(self) -> Tensor:  # (T,) float64
        return torch.cumprod(1 - self.betas, dim=0)

    def signal(self, t: int) -> float:
        """The share of signal variance abar_t left at time t; 1 at time -1 (clean data)."""
        return 1.0 if t < 0 else float(self.alphas_cumprod[t])

    def add_noise(
        self,
        z: Tensor,  # (B, D, H, W)
        noise: Tensor,  # (B, D, H, W), standard normal
        t: Tensor,  # (B,) int64, on the CPU as the tables are
    ) -> Tensor:  # (B, D, H, W)
        """z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) noise (eq. 8), each item at its own time."""
        return add_noise(z, noise, self.alphas_cumprod[t])


def add_noise(
    z: Tensor,  # (B, D, H, W)
    noise: Tensor,  # (B, D, H, W), standard normal
    signal: Tensor,  # (B,), abar of each item
) -> Tensor:  # (B, D, H, W)
    """Eq. 8 where abar lies beside z, on any device."""
    signal = signal.view(-1, *[1] * (z.ndim - 1))
    return signal.sqrt().to(z) * z + (1 - signal).sqrt().to(z) * noise
