r"""What z_t says about its noise without any network: the ideal denoiser of a simple model of the scene.

Exact abundances are zero in 30 to 66 % of cases, so each channel of z is an atom at a = (ln delta - mean) / std
beside a spread of values. With the prior p delta(a) + (1 - p) N(m, s^2) for a value of a channel, the noise in
z_t = sqrt(abar) z_0 + sqrt(1 - abar) eps has a closed-form expectation:

    u = (z_t - sqrt(abar) a) / sqrt(1 - abar)                      the noise, if z_0 is the atom
    w = (z_t - sqrt(abar) m) / sqrt(r),  r = abar s^2 + 1 - abar   standardised, if it is not
    P = p N(u; 0, 1) / sqrt(1 - abar) / (that + (1 - p) N(w; 0, 1) / sqrt(r))
    E[eps | z_t] = P u + (1 - P) sqrt((1 - abar) / r) w

Twice: first with the scene's p, m, s for each value by itself, then with p, m, s that also take in what the first
round found for its eight neighbours (how many are at the atom, the mean of the others, the scene's roughness).

Why it is worth a file: on Indian Pines (D = 16) this alone, untrained, had a lower loss (eq. 15) than the U-Net of
the tiny preset by itself after 3200 steps of 8 windows (``prediction="epsilon"`` against ``"residual"`` shows
it). In minutes on a CPU such a network learns neither the atom (at little noise u changes 100 times as fast as
z_t), nor to compare neighbours to a tenth of the noise, nor to copy z_t to its output to 1 % (abar_999 = 4e-5:
an error of 0.1 in eps is one of 16 in z_0; samples ran off to 50 standard deviations). Here these are exact from
the first step on, and the network learns the rest: the other channels, larger shapes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

ATOM_WIDTH = 0.1  # in ln(x + delta): below a tenth of delta, an abundance is zero
LEAST_SHARE = 1e-3  # of either part: neither is ever impossible
LEAST_SPREAD = 0.1  # of the values beside the atom, in standard deviations of the channel
OWN_WEIGHT = 2.0  # the scene's share of the atom counts as much as two neighbours do


def around(values: Tensor) -> Tensor:  # (B, D, H, W) -> (B, D, H, W)
    """Sum over the up to eight neighbours."""
    return 9 * avg_pool2d(values, 3, stride=1, padding=1) - values


def shaped(row: Tensor, z: Tensor) -> Tensor:  # (D,) or (B, D) -> (1 or B, D, 1, 1)
    """Numbers of the channels, to go with z (B, D, H, W)."""
    return row.to(z.dtype).view(-1, z.shape[1], 1, 1)


class Guess(NamedTuple):
    """Each (B, D, H, W)."""

    noise: Tensor  # E[eps | z_t]
    atom: Tensor  # probability that z_0 is the atom
    noise_beside: Tensor  # E[eps | z_t] if it is not


class Prior(NamedTuple):
    """The model of a scene: five numbers a channel, in units of z.

    Each is (D,), or (B, D) where every item of a batch has its own scene.
    """

    atom: Tensor  # (D,) position of the atom
    share: Tensor  # (D,) of the atom, in (0, 1)
    mean: Tensor  # (D,) of the other values
    std: Tensor  # (D,) of the other values
    roughness: Tensor  # (D,) rms of the other values about the mean of their neighbours

    @classmethod
    def normal(cls, D: int) -> Prior:
        """No atom to speak of, the rest N(0, 1) without structure."""
        one = torch.ones(D)
        return cls(-2 * one, LEAST_SHARE * one, 0 * one, one, one)

    @classmethod
    def of(
        cls,
        z: Tensor,  # (D, H, W), clean latents
        valid: Tensor,  # (H, W) bool
        mean: Tensor,  # (D,), where z = 0 lies in ln(x + delta)
        std: Tensor,  # (D,), one unit of z in ln(x + delta)
        *,
        least: float | None = None,  # ln(x + delta) where x = 0; by default that of `latent`
    ) -> Prior:
        """The model of a scene's latents.

        Examples
        --------
        >>> x = torch.tensor([[[0.0, 0.0, 0.0, 0.5, 0.25]]])
        >>> z = torch.log(x + math.exp(-8))
        >>> found = Prior.of(z, torch.ones(1, 5) > 0, torch.zeros(1), torch.ones(1))
        >>> round(float(found.atom), 3), round(float(found.share), 3)
        (-8.0, 0.6)
        """
        atom = ((-8.0 - math.log(len(z)) if least is None else least) - mean) / std
        zero = z < (atom + ATOM_WIDTH / std).view(-1, 1, 1)
        beside = (valid & ~zero).double()  # (D, H, W)
        share = (valid & zero).sum(dim=(1, 2)) / valid.sum()
        values = torch.where(beside > 0, z, 0).double()

        def average(x: Tensor, weight: Tensor) -> Tensor:  # (D, H, W) -> (D,)
            return (x * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp_min(1)

        center = average(values, beside)
        spread = (
            average((values - center.view(-1, 1, 1)) ** 2, beside).sqrt().clamp_min(LEAST_SPREAD)
        )
        count = around(beside[None])[0].round()
        neighbours = around(values[None])[0] / count.clamp_min(1)
        compared = beside * (count > 0)
        rough = average((values - neighbours) ** 2, compared).sqrt()
        rough = torch.where(compared.sum(dim=(1, 2)) > 0, rough, spread)
        return cls(
            atom.float(),
            share.clamp(LEAST_SHARE, 1 - LEAST_SHARE).float(),
            center.float(),
            spread.float(),
            torch.minimum(rough.clamp_min(LEAST_SPREAD), spread).float(),
        )

    def guess(
        self,
        z: Tensor,  # (B, D, H, W)
        signal: Tensor,  # (B,) float64, abar_t
    ) -> Guess:
        """The noise in z_t, from each value and its neighbours."""
        _, share, mean, std, roughness = (shaped(row, z) for row in self)
        # 1 - abar is 1e-4 at t = 0: subtract in float64, round then
        abar, rest = (x.to(z.dtype).view(-1, 1, 1, 1) for x in (signal, 1 - signal))

        _, P, _ = self._posterior(z, abar, rest, share, mean, std**2)

        beside, clean = 1 - P, z / abar.sqrt()
        total, count, atoms = around(torch.cat([beside * clean, beside, P], dim=1)).chunk(3, dim=1)
        count = count + 1e-4
        share = (atoms + OWN_WEIGHT * share) / (atoms + count + OWN_WEIGHT)
        # two estimates of z_0 beside the atom, weighted by their precision: the channel's mean, and the mean
        # of the neighbours, which has their noise and the scene's roughness in it
        own = 1 / std**2
        theirs = 1 / ((rest / abar + roughness**2) / count + roughness**2)
        center = (own * mean + theirs * total / count) / (own + theirs)
        return self._posterior(z, abar, rest, share, center, 1 / (own + theirs))

    def _posterior(
        self, z: Tensor, abar: Tensor, rest: Tensor, share: Tensor, mean: Tensor, variance: Tensor
    ) -> Guess:
        """The formulas of the module's head."""
        r = abar * variance + rest
        u = (z - abar.sqrt() * shaped(self.atom, z)) / rest.sqrt()
        w = (z - abar.sqrt() * mean) / r.sqrt()
        P = torch.sigmoid(share.logit() + 0.5 * (r / rest).log() + 0.5 * (w - u) * (w + u))
        beside = (rest / r).sqrt() * w
        return Guess(P * u + (1 - P) * beside, P, beside)
