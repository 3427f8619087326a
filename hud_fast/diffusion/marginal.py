r"""What one value of z says by itself: the ideal denoiser of the scene's marginals, channel by channel.

Exact abundances are zero in 30 to 66 % of cases, so each channel of z is an atom at a = (ln delta - mean) / std
beside a spread of values. With the prior p delta(a) + (1 - p) N(m, s^2) for a channel, the noise in
z_t = sqrt(abar) z_0 + sqrt(1 - abar) eps has a closed-form expectation given z_t alone:

    u = (z_t - sqrt(abar) a) / sqrt(1 - abar)                      the noise, if z_0 is the atom
    w = (z_t - sqrt(abar) m) / sqrt(r),  r = abar s^2 + 1 - abar   standardised, if it is not
    P = p N(u; 0, 1) / sqrt(1 - abar) / (that + (1 - p) N(w; 0, 1) / sqrt(r))
    E[eps | z_t] = P u + (1 - P) sqrt((1 - abar) / r) w

The network adds what the neighbours and the other channels say. Why it is worth a file: a network that trains
for minutes on a CPU learns neither the atom (at little noise u changes 100 times as fast as z_t) nor to copy
z_t to its output to 1 % (at much noise; abar_999 = 4e-5, so that an error of 0.1 in eps is one of 16 in z_0).
Here both are exact from the first step on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ATOM_WIDTH = 0.1  # in ln(x + delta): below a tenth of delta, an abundance is zero
LEAST_SHARE = 1e-3  # of either part: neither is ever impossible
LEAST_SPREAD = 0.1  # of the values beside the atom, in standard deviations of the channel


@dataclass(frozen=True, eq=False)
class Marginal:
    """Per channel: position and share of the atom, mean and standard deviation of the rest."""

    atom: Tensor  # (D,)
    share: Tensor  # (D,) in (0, 1)
    mean: Tensor  # (D,)
    std: Tensor  # (D,) > 0

    @classmethod
    def normal(cls, D: int) -> Marginal:
        """No atom to speak of, the rest N(0, 1)."""
        zero = torch.zeros(D)
        return cls(zero - 2.0, zero + LEAST_SHARE, zero, zero + 1.0)

    @classmethod
    def of(
        cls,
        z: Tensor,  # (D, n), clean latents
        std: Tensor,  # (D,), one unit of z in ln(x + delta)
        mean: Tensor,  # (D,), z = 0 in ln(x + delta)
    ) -> Marginal:
        """The marginals of a scene.

        Examples
        --------
        >>> x = torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.25]])
        >>> z = torch.log(x + math.exp(-8))
        >>> found = Marginal.of(z, torch.ones(1), torch.zeros(1))
        >>> round(float(found.atom), 3), round(float(found.share), 3)
        (-8.0, 0.6)
        """
        atom = (-8.0 - math.log(len(z)) - mean) / std
        zero = z < (atom + ATOM_WIDTH / std)[:, None]
        share = zero.double().mean(dim=1)
        count = (~zero).sum(dim=1).clamp_min(1)
        center = torch.where(zero, 0.0, z.double()).sum(dim=1) / count
        square = torch.where(zero, 0.0, (z.double() - center[:, None]) ** 2).sum(dim=1) / count
        return cls(
            atom.float(),
            share.clamp(LEAST_SHARE, 1 - LEAST_SHARE).float(),
            center.float(),
            square.sqrt().clamp_min(LEAST_SPREAD).float(),
        )

    def expected_noise(
        self,
        z: Tensor,  # (B, D, H, W)
        signal: Tensor,  # (B,) float64, abar_t
    ) -> tuple[Tensor, Tensor]:  # 2 x (B, D, H, W)
        """E[eps | z_t] and the probability P that z_0 is the atom, each value by itself."""

        def per_channel(values: Tensor) -> Tensor:  # (B or 1, D, 1, 1), rounded at the end only
            return values.to(z.device, z.dtype)[..., None, None]

        abar, rest = signal[:, None], 1 - signal[:, None]
        r = abar * self.std.double() ** 2 + rest
        u = (z - per_channel(abar.sqrt() * self.atom)) / per_channel(rest.sqrt())
        w = (z - per_channel(abar.sqrt() * self.mean)) / per_channel(r.sqrt())
        odds = self.share.double().logit() + 0.5 * (r / rest).log()
        P = torch.sigmoid(per_channel(odds) + 0.5 * (w - u) * (w + u))
        return P * u + (1 - P) * per_channel((rest / r).sqrt()) * w, P
