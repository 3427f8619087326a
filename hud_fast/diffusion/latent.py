r"""The latent space: abundances <-> unconstrained z (eqs. 4 to 6), and the one change of layout.

    z = (ln(max(x, 0) + delta) - mean) / std,   delta = e^-8 / D
    x = softmax over D of (std z + mean)

Outside, abundances are band-last, (..., H, W, D); inside the network z is channel-first, (B, D, H,
W). This is the only place where the two meet.

Exact abundances hold 30 to 66 % zeros, so raw z has an atom at -ln D - 8 (-10.8 for D = 16) and
neither mean 0 nor variance 1, while the diffusion ends in N(0, I). Mean and std per channel over
the training scene mend that (the default); ``raw=True`` is the paper's letter, z itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion.prior import Prior
from hud_fast.kernels import log_project, log_standardize, standardized_softmax

# An endmember that a handful of pixels use has a z that is constant but for spikes: its std would
# turn them into values of a hundred and the loss into theirs. Half a unit of z is a factor of 1.6
# in abundance.
STD_FLOOR = 0.5


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """The map between abundances and z, with the statistics of one training scene.

    Parameters
    ----------
    mean, std : Tensor, (D,) float32
        Per-channel statistics of the log-projected abundances; 0 and 1 where `raw`.
    raw : bool
        Whether z is left as it is, as in the paper.

    Examples
    --------
    >>> x = np.random.default_rng(0).dirichlet(np.ones(3), size=(8, 8)).astype(np.float32)
    >>> space = LatentSpace.of(x)
    >>> z = space.encode(x)
    >>> tuple(z.shape), bool(np.abs(space.decode(z)[0].numpy() - x).max() < 1e-3)
    ((1, 3, 8, 8), True)
    """

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    raw: bool = False

    @property
    def D(self) -> int:
        """Number of endmembers, and of channels."""
        return self.mean.shape[0]

    @classmethod
    def of(
        cls,
        abundances: NDArray[np.floating] | Tensor,  # (..., D)
        *,
        valid: NDArray[np.bool_] | Tensor | None = None,  # (...)
        raw: bool = False,
        floor: float = STD_FLOOR,
    ) -> LatentSpace:
        """The latent space of a scene's abundances, on their device; pixels with `valid` False do not count.

        No channel's std is below `floor`.
        """
        x = torch.as_tensor(abundances)
        D = x.shape[-1]
        if raw:
            return cls(torch.zeros(D, device=x.device), torch.ones(D, device=x.device), raw=True)
        x = x.reshape(-1, D)
        if valid is not None:
            x = x[torch.as_tensor(valid, device=x.device).reshape(-1)]
        z = log_project(x.double(), dim=-1)
        std = z.std(dim=0, correction=0).clamp_min(floor)
        return cls(z.mean(dim=0).float(), std.float())

    def to(self, device: torch.device) -> LatentSpace:
        """The same on a device."""
        return LatentSpace(self.mean.to(device), self.std.to(device), self.raw)

    def prior(
        self,
        z: Tensor,  # (D, H, W)
        valid: Tensor,  # (H, W) bool
    ) -> Prior:
        """The model of a scene's latents that the network is told."""
        return Prior.of(z, valid, self.mean, self.std)

    def encode(
        self,
        abundances: NDArray[np.floating] | Tensor,  # (H, W, D) or (B, H, W, D)
    ) -> Tensor:  # (B, D, H, W) float32
        """Abundances to z. Negative values (the linear encoder has some) count as 0."""
        x = torch.as_tensor(abundances)
        if x.ndim not in (3, 4) or x.shape[-1] != self.D:
            raise ValueError(
                f"LatentSpace.encode: `abundances` must have shape (H, W, D) or (B, H, W, D) with "
                f"D = {self.D}, got {tuple(x.shape)}"
            )
        if x.ndim == 3:
            x = x[None]
        z = log_standardize(x, self.mean, self.std, dim=-1)
        return z.movedim(-1, 1).float().contiguous()

    def decode(
        self,
        z: Tensor,  # (B, D, H, W)
    ) -> Tensor:  # (B, H, W, D) float32
        """z to abundances: positive, and summing to one to float32 rounding in every pixel."""
        if z.ndim != 4 or z.shape[1] != self.D:
            raise ValueError(
                f"LatentSpace.decode: `z` must have shape (B, {self.D}, H, W), got {tuple(z.shape)}"
            )
        # float64 for the softmax: the sums are then 1 to one rounding of each term, also for large
        # D
        x: Tensor = standardized_softmax(z.double(), self.mean, self.std, dim=1)
        return x.float().movedim(1, -1).contiguous()
