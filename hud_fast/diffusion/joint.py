r"""Abundances and class shares in one latent: what a labelled scene adds to the diffusion.

Class shares lie on a simplex, as abundances do, so they are K more channels of the same log space, after a softening:

    s' = (1 - e) s + e / K,   z = (ln(s' + e^-8 / K) - mean) / std,   e = `SOFTENING`

Labels are all or nothing, and shares that were spread from labels (`unmixing.spread_labels`) have tails of any size
below a percent. Without the softening a class that is absent lies at -8 - ln K, one of a thousandth 3 above it: z would
say mostly how small the shares of absent classes are. With e = 0.05 what is below a fraction of e / K is one atom,
which the prior of the scene knows, and a class that is certain lies ln(K / e) above it, 6 for 16 classes in place of
11. That distance in units of std is what tells classes apart in the noise. Too large is bad too: the last time of the
schedule still has signal (abar = 4e-5), and a class 22 standard deviations away is seen in it, so that pure noise,
where sampling starts, says that a rare class is absent. Hence a floor of 1 for the std (of the abundances 0.5, see
`latent`): a class of a handful of pixels is then 6 away, 0.04 in the last z_t.

The network is told which shares of a window the classes take (`condition`): of none, some or all classes. In training
these are the means over the window, hidden at random (`draw_told`), so one network knows p(z), p(z | 30 % corn) and
p(z | all shares), and sampling may go further than what it was told (`Guided`): classifier-free guidance, Ho and
Salimans 2022, arXiv 2207.12598.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.prior import Prior

SOFTENING = 0.05
CLASS_STD_FLOOR = 1.0
HIDDEN = 0.15  # of the training windows: nothing is told of them
GUIDANCE = 2.0


@dataclass(frozen=True, eq=False)
class JointLatent:
    """The map between abundances with class shares and z, D + K channels: two latent spaces side by side.

    Parameters
    ----------
    abundances : LatentSpace
        Of the first D channels.
    shares : LatentSpace
        Of the K others, after the softening.
    softening : float
        e above, in [0, 1).

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> x = random.dirichlet(np.ones(3), size=(8, 8)).astype(np.float32)
    >>> s = np.eye(2, dtype=np.float32)[random.integers(2, size=(8, 8))]
    >>> space = JointLatent.of(x, s)
    >>> z = space.encode(x, s)
    >>> tuple(z.shape)
    (1, 5, 8, 8)
    >>> abundances, shares = space.decode(z)
    >>> bool(np.abs(abundances[0].numpy() - x).max() < 1e-3), bool(np.abs(shares[0].numpy() - s).max() < 1e-3)
    (True, True)
    """

    abundances: LatentSpace
    shares: LatentSpace
    softening: float = SOFTENING

    @property
    def D(self) -> int:
        """Number of endmembers."""
        return self.abundances.D

    @property
    def K(self) -> int:
        """Number of classes."""
        return self.shares.D

    @property
    def raw(self) -> bool:
        """Whether the abundances' z is left as it is, as in the paper, which has no classes."""
        return self.abundances.raw

    @classmethod
    def of(
        cls,
        abundances: NDArray[np.floating] | Tensor,  # (..., D)
        shares: NDArray[np.floating] | Tensor,  # (..., K)
        *,
        valid: NDArray[np.bool_] | Tensor | None = None,  # (...)
        raw: bool = False,
        softening: float = SOFTENING,
    ) -> JointLatent:
        """The latent space of a scene, on the abundances' device.

        Pixels with `valid` False do not count, and those whose shares are NaN not for the shares.
        """
        x = torch.as_tensor(abundances)
        s = torch.as_tensor(shares, device=x.device)
        known = s.isfinite().all(dim=-1)
        if valid is not None:
            known &= torch.as_tensor(valid, device=x.device)
        if not bool(known.any()):
            raise ValueError("JointLatent.of: `shares` must be known of a valid pixel, got none")
        soft = LatentSpace.of(_softened(s, softening), valid=known, floor=CLASS_STD_FLOOR)
        return cls(LatentSpace.of(x, valid=valid, raw=raw), soft, softening)

    def to(self, device: torch.device) -> JointLatent:
        """The same on a device."""
        return JointLatent(self.abundances.to(device), self.shares.to(device), self.softening)

    def encode(
        self,
        abundances: NDArray[np.floating] | Tensor,  # (H, W, D) or (B, H, W, D)
        shares: NDArray[np.floating] | Tensor,  # (H, W, K) or (B, H, W, K)
    ) -> Tensor:  # (B, D + K, H, W) float32
        """Abundances and shares to z. A pixel with NaN in either has NaN there."""
        z = self.abundances.encode(abundances)
        soft = _softened(torch.as_tensor(shares, device=z.device), self.softening)
        return torch.cat([z, self.shares.encode(soft)], dim=1)

    def decode(
        self,
        z: Tensor,  # (B, D + K, H, W)
    ) -> tuple[Tensor, Tensor]:  # (B, H, W, D), (B, H, W, K) float32
        """z to abundances and shares, each of them summing to one to float32 rounding in every pixel."""
        if z.ndim != 4 or z.shape[1] != self.D + self.K:
            raise ValueError(
                f"JointLatent.decode: `z` must have shape (B, {self.D} + {self.K}, H, W), got {tuple(z.shape)}"
            )
        soft = self.shares.decode(z[:, self.D :]).double()
        shares = (soft - self.softening / self.K).clamp_min(0)  # the largest is above 1 / K
        shares /= shares.sum(dim=-1, keepdim=True)
        return self.abundances.decode(z[:, : self.D]), shares.float()

    def prior(
        self,
        z: Tensor,  # (D + K, H, W)
        valid: Tensor,  # (H, W) bool
    ) -> Prior:
        """The model of a scene's latents that the network is told, of all D + K channels."""
        least = math.log((self.softening + math.exp(-8)) / self.K)
        shares = self.shares
        parts = (
            self.abundances.prior(z[: self.D], valid),
            Prior.of(z[self.D :], valid, shares.mean, shares.std, least=least),
        )
        return Prior(*(torch.cat(rows) for rows in zip(*parts, strict=True)))


def _softened(shares: Tensor, softening: float) -> Tensor:  # (..., K) -> (..., K)
    return (1 - softening) * shares + softening / shares.shape[-1]


@dataclass(frozen=True, eq=False)
class ClassChannels:
    """What a training needs to know of its scene's classes beside z: how certain they are, and their shares.

    Parameters
    ----------
    shares : Tensor, (K, H, W) float32
        Not softened; 0 where `certainty` is 0.
    certainty : Tensor, (H, W) float32
        How much a pixel's class channels count in the loss, from 0 (not at all) to 1.

    Examples
    --------
    >>> shares = np.tile(np.float32([0.25, 0.75]), (4, 6, 1))
    >>> shares[0] = np.nan  # nothing is known of the first row
    >>> channels = ClassChannels.of(shares)
    >>> channels.K, float(channels.certainty.mean())
    (2, 0.75)
    """

    shares: Tensor  # (K, H, W)
    certainty: Tensor  # (H, W)

    @classmethod
    def of(
        cls,
        shares: NDArray[np.floating] | Tensor,  # (H, W, K), NaN where nothing is known
        certainty: NDArray[np.floating] | Tensor | None = None,  # (H, W)
        *,
        device: torch.device | None = None,
    ) -> ClassChannels:
        """Of maps as they lie beside abundances; without `certainty` all that is known is certain."""
        s = torch.as_tensor(shares, device=device).float()
        known = s.isfinite().all(dim=-1)
        weight = known.float()
        if certainty is not None:
            given = torch.as_tensor(certainty, device=s.device).float()
            if given.shape != known.shape:
                raise ValueError(
                    f"ClassChannels.of: `certainty` must have shape {tuple(known.shape)}, got {tuple(given.shape)}"
                )
            if not bool(((given >= 0) & (given <= 1)).all()):
                raise ValueError("ClassChannels.of: `certainty` must lie in [0, 1], got others")
            weight *= given
        s = torch.where(weight[..., None] > 0, s, 0)
        return cls(s.movedim(-1, 0).contiguous(), weight)

    @property
    def K(self) -> int:
        """Number of classes."""
        return len(self.shares)

    @property
    def pixels(self) -> Tensor:  # (K + 1, H W)
        """Shares and certainty, for `CropSampler.cut`."""
        return torch.cat([self.shares, self.certainty[None]]).flatten(1)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint of a training with these classes must agree with."""
        H, W = self.certainty.shape
        known = (self.certainty > 0).sum().clamp_min(1)
        rows = torch.linspace(0, 1, H, device=self.shares.device)[:, None]
        columns = torch.linspace(0, 1, W, device=self.shares.device)
        weights = (1.0, rows, columns)  # how much there is of a class, and where

        def moments(share: Tensor) -> list[float]:
            return [float((share * w).sum(dtype=torch.float64) / known) for w in weights]

        return {
            "classes": self.K,
            "class shares": [moments(share) for share in self.shares],
            "certainty": float(self.certainty.mean(dtype=torch.float64)),
            "hidden classes": HIDDEN,
        }


def window_classes(
    cut: Tensor,  # (B, K + 1, h, w), windows of `ClassChannels.pixels`
    told: Tensor,  # (K, B), 1 where a class of a window is told
) -> tuple[Tensor, Tensor]:  # (B, h, w), (B, 2 K)
    """The certainty of windows' pixels, and what the network is told of each: see `condition`.

    Shares are means over the pixels of which anything is known; of a window without any, nothing is told.
    """
    certainty = cut[:, -1]
    count = (certainty > 0).sum(dim=(1, 2))[:, None]
    shares = cut[:, :-1].sum(dim=(2, 3)) / count.clamp_min(1)
    return certainty, condition(shares, told.T.bool() & (count > 0))


def condition(
    shares: Tensor,  # (..., K)
    told: Tensor,  # (..., K) bool
) -> Tensor:  # (..., 2 K) float32
    """What the network is told: the shares of the classes that are told, and which these are.

    Examples
    --------
    >>> condition(torch.tensor([0.25, 0.5, 0.25]), torch.tensor([True, False, True])).tolist()
    [0.25, 0.0, 0.25, 1.0, 0.0, 1.0]
    """
    return torch.cat([torch.where(told, shares.float(), 0), told.float()], dim=-1)


def draw_told(
    batch: int, K: int, generator: torch.Generator
) -> Tensor:  # (K, batch) int64, on the CPU
    """Which classes of each window the network is told: 1 or 0.

    Of `HIDDEN` of the windows none, of the others 1 to K of them, evenly on a logarithmic scale: people ask for one
    class or two and leave the rest open. Which ones does not depend on what is in the window, so that a class that is
    not told may be there or not.

    Examples
    --------
    >>> draw_told(5, 3, torch.Generator().manual_seed(0)).sum(dim=0).tolist()
    [1, 1, 0, 0, 1]
    """
    hidden = torch.rand(batch, generator=generator) < HIDDEN
    scale = torch.rand(batch, generator=generator, dtype=torch.float64)  # below 1
    count = torch.pow(K + 1, scale).long().clamp(1, K)
    ranks = torch.rand(batch, K, generator=generator).argsort(dim=1).argsort(dim=1)
    told = (ranks < count[:, None]) & ~hidden[:, None]
    return told.T.long().contiguous()


class Guided(nn.Module):
    """A denoiser that is told the classes' shares, and what it says then with more weight.

        eps = eps_open + guidance (eps_told - eps_open)

    The two are calls of their own, each of the group's size: on a CPU the samples keep their bits.

    Parameters
    ----------
    network : Module
        A `Denoiser` of K classes.
    told : Tensor, (2 K,)
        From `condition`.
    guidance : float
        0: as if nothing were told; 1: as told; more: classes stand out more, samples differ less.
    """

    told: Tensor

    def __init__(self, network: nn.Module, told: Tensor, guidance: float) -> None:
        super().__init__()
        self.network, self.guidance = network, guidance
        self.register_buffer("told", told.to(next(network.parameters()).device))

    def forward(
        self,
        z: Tensor,  # (B, D + K, H, W)
        t: Tensor,  # (B,) int64
    ) -> Tensor:  # (B, D + K, H, W)
        if self.guidance == 0:
            said: Tensor = self.network(z, t)
            return said
        told: Tensor = self.network(z, t, None, self.told.expand(len(z), -1))
        if self.guidance == 1:
            return told
        free: Tensor = self.network(z, t).float()
        return free + self.guidance * (told.float() - free)
