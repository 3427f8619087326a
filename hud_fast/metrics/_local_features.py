r"""What the judge sees of a window: how maps look from pixel to pixel, in numbers that a linear rule can tell apart.

Maps (n, h, w, K) are the first K principal components of a scene's log spectra (space S) or of its log-projected
abundances (space z), each divided by its standard deviation over the scene: see `Space`.

**Random convolutions** (as in ROCKET, Dempster et al. 2020, arXiv 1910.13051, in two dimensions). A filter is 3 x 3
or 5 x 5 standard normal weights less their mean, with steps of 1 or 2 pixels between taps, on one component. Of its
response over the window: the mean, the mean absolute value, and the share of pixels above a random level. Nobody
chose these filters, so no generator was made to please them.

**Structure tensor** (Bigun & Granlund 1987). With g the gradient by central differences and G_s a Gaussian of s
pixels, J = G_s * (g g^T), its eigenvalues l1 >= l2 give the energy l1 + l2 and the coherence (l1 - l2) / (l1 + l2):
1 on a straight edge, 0 where gradients point everywhere.

Straight edges: the share of gradient energy at pixels with coherence above 0.8 (s = 1.5). Grain: the rms difference
from the 3 x 3 median, over the standard deviation of the block's component.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import unfold

from hud_fast.kernels import log_project
from hud_fast.unmixing.components import principal_axes

Array = NDArray[np.float64]

COMPONENTS = 4  # of a space
SHOWN = 3  # components whose edges and grain are averaged
LEAST_SHARE = 1e-3  # of the variance: a component below it is rounding
FLAT = 1e-12  # variance, in logarithms: below it all are rounding
STRAIGHT = 0.8  # coherence of a straight edge
SIGMA = 1.5  # pixels, of the structure tensor
FILTERS = 96
KINDS = ((3, 1), (3, 2), (5, 1), (5, 2))  # side in taps, pixels from tap to tap
LEAST_SPECTRUM = 1e-3  # of the scene's mean value: what a band counts at least in the logarithm
LEAST_SPREAD = 0.5  # of a channel of z, as in the diffusion's latent space
_ROOM = 1 << 17  # float64 values of pixels at once
_TAPS = 1 << 20  # float32 values of pictures' neighbourhoods at once
_TOGETHER = 32  # pictures at once


@dataclass(frozen=True, eq=False)
class Space:
    """Principal components of a scene: maps of abundances to maps of K numbers of variance one."""

    mean: Tensor  # (N,)
    axes: Tensor  # (N, K), each divided by its standard deviation
    spectra: Tensor | None  # (D, C) float64, of space S; None: the maps are spectra, or space z
    least: float  # of a spectrum's value, in the unit of the spectra
    spread: Tensor | None  # (D,) of z; None: spectra

    @classmethod
    def of_spectra(cls, abundances: Tensor, endmembers: Tensor) -> Space:
        """Space S: logarithms of the mixed spectra of (P, D) abundances and (D, C) endmembers."""
        spectra = endmembers.double()
        step = _step(spectra.shape[1])
        total = sum(float((part.double() @ spectra).abs().sum()) for part in abundances.split(step))
        least = LEAST_SPECTRUM * total / (len(abundances) * spectra.shape[1])
        return cls._of(cls(spectra[0], spectra, spectra, least, None), abundances)

    @classmethod
    def of_pixels(cls, pixels: Tensor) -> Space:
        """Space S of (P, C) spectra as they are: `maps` takes spectra, too."""
        total = sum(
            float(part.double().abs().sum()) for part in pixels.split(_step(len(pixels[0])))
        )
        least = LEAST_SPECTRUM * total / pixels.numel()
        return cls._of(cls(pixels[0].double(), pixels, None, least, None), pixels)

    @classmethod
    def of_latents(cls, abundances: Tensor) -> Space:
        """Space z: eq. 4, each channel over its standard deviation (at least 0.5, a factor of 1.6 in abundance)."""
        z = log_project(abundances.double(), dim=-1)
        spread = z.std(dim=0, correction=0).clamp_min(LEAST_SPREAD)
        return cls._of(cls(spread, z, None, 0.0, spread), abundances)

    @classmethod
    def _of(cls, raw: Space, abundances: Tensor) -> Space:  # (P, D), or spectra (P, C)
        N = len(raw.mean)
        parts = abundances.split(_step(N))
        # sums of differences from some pixel near the mean keep their digits
        origin = raw._values(parts[0]).mean(dim=0)
        total, products = torch.zeros_like(origin), origin.new_zeros(N, N)
        for part in parts:
            apart = raw._values(part) - origin
            total += apart.sum(dim=0)
            products += apart.T @ apart
        shift = total / len(abundances)
        covariance = products / len(abundances) - torch.outer(shift, shift)
        size, axes = principal_axes(covariance, COMPONENTS, LEAST_SHARE)
        # a scene of one spectrum has no axis: all of its maps are zero
        scale = torch.where(size > FLAT, size, torch.inf).sqrt()
        return cls(origin + shift, axes / scale, raw.spectra, raw.least, raw.spread)

    @property
    def K(self) -> int:
        return self.axes.shape[1]

    def _values(self, abundances: Tensor) -> Tensor:  # (..., D) -> (..., N) float64
        x = abundances.double()
        if self.spread is not None:
            return log_project(x, dim=-1) / self.spread
        spectra = x if self.spectra is None else x @ self.spectra
        return spectra.clamp_min(self.least).log_()

    def maps(self, abundances: Tensor) -> Tensor:  # (..., D) -> (..., K) float32
        rows = abundances.reshape(-1, abundances.shape[-1])
        parts = [
            ((self._values(part) - self.mean) @ self.axes).float()
            for part in rows.split(_step(len(self.mean)))
        ]
        return torch.cat(parts).reshape(*abundances.shape[:-1], self.K)


def _step(values: int) -> int:
    """Pixels at once, so that their logarithms stay in the cache."""
    return max(1, _ROOM // values)


@dataclass(frozen=True, eq=False)
class Bank:
    """Random filters for K components, as many on each: by kind, their weights and the levels of their responses."""

    weights: tuple[Tensor, ...]  # (K, m, side side)
    levels: tuple[Tensor, ...]  # (K, m) in standard deviations of white noise

    @classmethod
    def drawn(cls, K: int, seed: list[int]) -> Bank:
        rng = np.random.default_rng(seed)
        weights, levels = [], []
        for side, _ in KINDS:
            m = FILTERS // (len(KINDS) * K)
            taps = rng.standard_normal((K, m, side * side))
            taps -= taps.mean(axis=2, keepdims=True)
            taps /= np.sqrt(np.square(taps).sum(axis=2, keepdims=True))
            weights.append(torch.from_numpy(taps).float())
            levels.append(torch.from_numpy(rng.uniform(-1, 1, (K, m))).float())
        return cls(tuple(weights), tuple(levels))


def responses(
    maps: Tensor,  # (n, h, w, K)
    banks: Sequence[Bank],
) -> Tensor:  # (banks, n, 3 filters)
    """What each bank's filters say of the maps: mean, mean absolute value, share above the level."""
    _, h, w, K = maps.shape
    together = max(1, _TAPS // (h * w * K * max(side for side, _ in KINDS) ** 2))
    return torch.cat([_responses(part, banks) for part in maps.split(together)], dim=1)


def _responses(maps: Tensor, banks: Sequence[Bank]) -> Tensor:
    x = maps.movedim(-1, 1).contiguous()
    n, K, h, w = x.shape
    apart, down, across, along = x.stride()
    found = []
    for kind, (side, step) in enumerate(KINDS):
        high, wide = h - (side - 1) * step, w - (side - 1) * step
        if min(high, wide) <= 0:  # a window too small for this filter
            continue
        # products of matrices: the library's convolutions of single channels take several times longer
        taps = x.as_strided(
            (n, K, side, side, high, wide),
            (apart, down, step * across, step * along, across, along),
        ).reshape(n, K, side * side, high * wide)
        weights = torch.cat([bank.weights[kind] for bank in banks], dim=1).to(x.device)
        levels = torch.cat([bank.levels[kind] for bank in banks], dim=1).to(x.device)
        y = weights @ taps  # (n, K, all banks' m, high wide)
        mean, size = y.mean(dim=3), y.abs().mean(dim=3)
        above = y.gt_(levels[..., None]).mean(dim=3)  # in place: y is not needed any more
        values = torch.stack([mean, size, above]).view(3, n, K, len(banks), -1)
        found.append(values.permute(3, 1, 0, 2, 4).reshape(len(banks), n, -1))
    return torch.cat(found, dim=2)


def structure(maps: Tensor) -> tuple[Tensor, Tensor]:  # (n, h, w, K) -> twice (n, K, h - 2, w - 2)
    """Energy and coherence of the structure tensor at each pixel inside the block's edge."""
    parts = [_structure(part) for part in maps.split(_TOGETHER)]
    energy, coherence = (torch.cat(found) for found in zip(*parts, strict=True))
    return energy, coherence


def _structure(maps: Tensor) -> tuple[Tensor, Tensor]:
    x = maps.movedim(-1, 1).contiguous()
    gx = (x[..., 1:-1, 2:] - x[..., 1:-1, :-2]) / 2
    gy = (x[..., 2:, 1:-1] - x[..., :-2, 1:-1]) / 2
    xx, yy, xy = _smooth(torch.stack([gx * gx, gy * gy, gx * gy]))
    energy = xx + yy
    split = ((xx - yy).square() + 4 * xy.square()).sqrt()
    return energy, split / energy.clamp_min(1e-12)


def _smooth(planes: Tensor) -> Tensor:  # (..., h, w): a Gaussian of SIGMA, reflected at the border
    h, w = planes.shape[-2:]
    reach = min(math.ceil(3 * SIGMA), h - 1, w - 1)
    return _blur(h, reach).to(planes) @ (planes @ _blur(w, reach).to(planes).T)


@lru_cache(maxsize=8)
def _blur(n: int, reach: int) -> Tensor:  # (n, n): row i weighs the pixels around i
    steps = torch.arange(-reach, reach + 1, device="cpu")
    row = torch.exp(-0.5 * (steps.float() / SIGMA).square().double())
    place = (torch.arange(n, device="cpu")[:, None] + steps).abs()
    place = torch.minimum(place, 2 * (n - 1) - place)
    return torch.zeros(n, n, dtype=row.dtype, device="cpu").scatter_add_(
        1, place, (row / row.sum()).expand(n, -1).contiguous()
    )


def straight_edges(maps: Tensor) -> tuple[Array, Array]:  # (n, h, w, K) -> twice (n, SHOWN)
    """Gradient energy at straight edges, and all of it: the share is the ratio of their means."""
    energy, coherence = structure(maps[..., :SHOWN])
    straight = (energy * (coherence > STRAIGHT)).mean(dim=(2, 3))
    return straight.double().cpu().numpy(), energy.mean(dim=(2, 3)).double().cpu().numpy()


def grain(maps: Tensor) -> tuple[Array, Array]:  # (n, h, w, K) -> twice (n, SHOWN)
    """Mean square difference from the 3 x 3 median, and variance: grain is the root of their means' ratio."""
    x = maps[..., :SHOWN].movedim(-1, 1)
    n, K, h, w = x.shape
    median = unfold(x.reshape(n * K, 1, h, w), 3).median(dim=1).values  # (n K, (h - 2)(w - 2))
    rest = x[..., 1:-1, 1:-1].reshape(n * K, -1) - median
    rough = rest.double().square().mean(dim=1).reshape(n, K)
    spread = x.double().var(dim=(2, 3), correction=0)
    return rough.cpu().numpy(), spread.cpu().numpy()


def structure_features(maps: Tensor) -> Tensor:  # (n, h, w, K) -> (n, 6 K)
    """Six numbers of each component's structure tensor."""
    energy, coherence = structure(maps)
    energy, coherence = energy.flatten(2), coherence.flatten(2)
    total = energy.mean(dim=2)
    share = energy / total.clamp_min(1e-12)[..., None]
    log = (energy + 1e-4).log()
    found = [(share * (coherence > level)).mean(dim=2) for level in (0.5, STRAIGHT, 0.95)]
    found += [coherence.mean(dim=2), log.mean(dim=2), log.std(dim=2)]
    return torch.cat(found, dim=1)
