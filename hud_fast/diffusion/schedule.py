r"""The noise schedule: how fast z drowns in noise (eqs. 7 and 8).

    q(z_t | z_{t-1}) = N(sqrt(1 - beta_t) z_{t-1}, beta_t I)                                (eq. 7)
    q(z_t | z_0) = N(sqrt(abar_t) z_0, (1 - abar_t) I),  abar_t = prod_{s <= t} (1 - beta_s) (eq. 8)

Linear: T = 1000 betas from 1e-4 to 0.02 (Ho, Jain and Abbeel 2020, arXiv 2006.11239; the paper leaves the
betas open). Cosine (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17):

    abar_t = f(t + 1) / f(0),  f(t) = cos^2((t / T + s) / (1 + s) pi / 2),  s = 0.008,  beta_t <= 0.999

Zero terminal SNR (Lin et al. 2024, arXiv 2305.08891, algorithm 1): sqrt(abar) is shifted and scaled so that the
first stays and the last is 0. The last z_t is then pure noise, of which epsilon tells nothing: the network must
predict v.

Times are 0-based: t = 0 is the least noisy step, t = T - 1 the last, and "time -1" is clean data, abar = 1.
Tables are float64: 1 - abar_0 = 1e-4 loses three digits in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hud_fast.diffusion.presets import Preset

SCHEDULES = ("linear", "cosine")
COSINE_OFFSET = 0.008
LARGEST_BETA = 0.999  # of the cosine schedule


@dataclass(frozen=True)
class NoiseSchedule:
    """Variance schedule.

    Parameters
    ----------
    T : int
        Number of noise levels, at least 1.
    beta_start, beta_end : float
        Variances of the first and the last step of the linear schedule, 0 < beta_start <= beta_end < 1.
    kind : {"linear", "cosine"}
        Which formula.
    zero_terminal_snr : bool
        Whether the last time holds no signal at all; needs T >= 2.

    Examples
    --------
    >>> schedule = NoiseSchedule()
    >>> schedule.betas.shape, round(schedule.signal(999), 7)
    (torch.Size([1000]), 4.04e-05)
    """

    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    kind: Literal["linear", "cosine"] = "linear"
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        least = 2 if self.zero_terminal_snr else 1
        if least > self.T:
            raise ValueError(f"NoiseSchedule: `T` must be at least {least}, got {self.T}")
        if self.kind not in SCHEDULES:
            raise ValueError(
                f"NoiseSchedule: `kind` must be one of {', '.join(SCHEDULES)}, got {self.kind!r}"
            )
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                "NoiseSchedule: `beta_start` and `beta_end` must satisfy "
                f"0 < beta_start <= beta_end < 1, got {self.beta_start} and {self.beta_end}"
            )

    @classmethod
    def of(cls, preset: Preset) -> NoiseSchedule:
        """The schedule that a preset asks for."""
        return cls(
            preset.T, preset.beta_start, preset.beta_end, preset.schedule, preset.zero_terminal_snr
        )

    @cached_property
    def betas(self) -> Tensor:  # (T,) float64
        """beta_t; the last is 1 with `zero_terminal_snr`."""
        if not self.zero_terminal_snr:
            return self._plain_betas
        signal = self.alphas_cumprod
        return 1 - signal / torch.cat([signal.new_ones(1), signal[:-1]])

    @cached_property
    def _plain_betas(self) -> Tensor:
        if self.kind == "linear":
            return torch.linspace(self.beta_start, self.beta_end, self.T, dtype=torch.float64)
        t = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        f = torch.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * (math.pi / 2)).square()
        return (1 - f[1:] / f[:-1]).clamp_max(LARGEST_BETA)

    @cached_property
    def alphas_cumprod(self) -> Tensor:  # (T,) float64
        """abar_t; the last is 0 with `zero_terminal_snr`."""
        signal = torch.cumprod(1 - self._plain_betas, dim=0)
        if not self.zero_terminal_snr:
            return signal
        root = signal.sqrt()
        return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))).square()

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
    """Eq. 8 where abar lies beside z, on any device.

    The kernel `q_sample` rounds a product and a sum once: other last bits (of 28 % of the values, by 5e-7 at most), and
    at most 0.1 ms of a step of 100.
    """
    signal = signal.view(-1, *[1] * (z.ndim - 1))
    return signal.sqrt().to(z) * z + (1 - signal).sqrt().to(z) * noise


def velocity(
    z: Tensor,  # (B, D, H, W), clean
    noise: Tensor,  # (B, D, H, W)
    signal: Tensor,  # (B,), abar of each item
) -> Tensor:  # (B, D, H, W)
    """v = sqrt(abar) eps - sqrt(1 - abar) z_0 (Salimans and Ho 2022, arXiv 2202.00512): eq. 8's other axis."""
    signal = signal.view(-1, *[1] * (z.ndim - 1))
    return signal.sqrt().to(z) * noise - (1 - signal).sqrt().to(z) * z
