"""Principal components of what abundances look like: of the logarithms of their mixed spectra."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROOM = 1 << 24  # float64 values, 128 MiB
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
        spectra = endmembers.double()
        count = len(abundances)
        parts = abundances.split(_step(spectra.shape[1]))  # spectra of all pixels may be gigabytes
        least = LEAST * float(sum((part.double() @ spectra).abs().sum() for part in parts))
        least /= count * spectra.shape[1]
        total = torch.zeros_like(spectra[0])
        for part in parts:
            total += _logs(part, spectra, least).sum(dim=0)
        mean = total / count
        products = spectra.new_zeros(len(mean), len(mean))
        for part in parts:
            apart = _logs(part, spectra, least) - mean
            products += apart.T @ apart
        size, axes = principal_axes(products / count, most, least_share)
        return cls(spectra, least, mean, axes, size.clamp_min(0).sqrt())

    def to(self, device: torch.device) -> LogComponents:
        """The same on a device."""
        moved = (t.to(device) for t in (self.mean, self.axes, self.spread))
        return LogComponents(self.spectra.to(device), self.least, *moved)

    def __call__(self, abundances: Tensor) -> Tensor:  # (..., D) -> (..., K) float64
        rows = abundances.reshape(-1, abundances.shape[-1])
        parts = [
            (_logs(part, self.spectra, self.least) - self.mean) @ self.axes
            for part in rows.split(_step(len(self.mean)))
        ]
        return torch.cat(parts).reshape(*abundances.shape[:-1], -1)


def principal_axes(
    covariance: Tensor,  # (N, N)
    most: int,
    least_share: float,
) -> tuple[Tensor, Tensor]:  # (K,), (N, K)
    """Variances and orthonormal axes, the largest first: up to `most`, each with more than `least_share` of all."""
    size, axes = torch.linalg.eigh(covariance)
    size, axes = size.flip(0), axes.flip(1)
    # a sign of its own for each axis, the same on every machine
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0)[None]).sign()
    keep = min(most, max(1, int((size > least_share * size.sum()).sum())))
    return size[:keep], axes[:, :keep]


def _logs(abundances: Tensor, spectra: Tensor, least: float) -> Tensor:  # (n, D), (D, C) -> (n, C)
    return (abundances.double() @ spectra).clamp_min(least).log()


def _step(bands: int) -> int:
    """Pixels whose spectra are held at a time."""
    return max(1, ROOM // bands)
