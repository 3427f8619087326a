"""Principal components of what abundances look like: of the logarithms of their mixed spectra."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST = 1e-3  # of the scene's mean value: what a band counts at least in the logarithm


@dataclass(frozen=True, eq=False)
class LogComponents:
    """The map from abundances (..., D) to the K largest principal components of ln(x A), each of mean 0.

    The logarithm makes a shadow a shift, and a dark material as large as a bright one.
    """

    spectra: Tensor  # (D, C) float64
    least: float  # value of a band, in the unit of `spectra`
    mean: Tensor  # (C,)
    axes: Tensor  # (C, K) orthonormal, the largest component first
    spread: Tensor  # (K,) standard deviations

    @classmethod
    def of(
        cls,
        abundances: Tensor,  # (P, D)
        endmembers: Tensor,  # (D, C)
        *,
        most: int,
        least_share: float,
    ) -> LogComponents:
        """Up to `most` components of a scene's pixels, each with at least `least_share` of the variance.

        Examples
        --------
        >>> x = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75], [0.0, 1.0]])
        >>> found = LogComponents.of(x, torch.tensor([[1.0, 2.0, 4.0], [2.0, 1.0, 3.0]]), most=3, least_share=1e-2)
        >>> found(x).shape, bool((found(x).mean(dim=0).abs() < 1e-12).all())
        (torch.Size([4, 1]), True)
        """
        x, spectra = abundances.double(), endmembers.double()
        mixed = x @ spectra
        least = LEAST * float(mixed.abs().mean())
        logs = mixed.clamp_min(least).log()
        mean = logs.mean(dim=0)
        size, axes = torch.linalg.eigh((logs - mean).T @ (logs - mean) / len(logs))
        size, axes = size.flip(0), axes.flip(1)
        # a sign of its own for each axis, the same on every machine
        axes = axes * axes.gather(0, axes.abs().argmax(dim=0)[None]).sign()
        keep = min(most, max(1, int((size > least_share * size.sum()).sum())))
        return cls(spectra, least, mean, axes[:, :keep], size[:keep].clamp_min(0).sqrt())

    def __call__(self, abundances: Tensor) -> Tensor:  # (..., D) -> (..., K) float64
        logs = (abundances.double() @ self.spectra).clamp_min(self.least).log()
        return (logs - self.mean) @ self.axes
