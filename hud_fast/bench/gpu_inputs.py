"""Inputs of the GPU groups, made where they are used: a host would take minutes for what a device draws in moments.

The same kinds as in `inputs`: pixels mixed in blocks, simulated scenes, queries and blocks that are mixtures. Each is
a function of its seed and of the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hud_fast.bench.gpu import device
from hud_fast.bench.inputs import BLOCK, MOST_ACTIVE, NOISE_DB, SIZES, SMALL, real

SNR_DB = 35.0  # of a simulated scene, and its fields' correlation length in pixels
SMOOTHNESS = 6.0
_PART = 1 << 19  # pixels drawn at once


def drawing(seed: int) -> torch.Generator:
    """A generator of the device that the groups run on."""
    return torch.Generator(device()).manual_seed(seed)


def mixed_pixels(
    P: int, C: int, D: int, *, hard: bool = False, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Pixels (P, C) float32 and endmembers (D, C) float64, as `inputs.mixed_pixels` has them.

    Examples
    --------
    >>> pixels, endmembers = mixed_pixels(100, 20, 6)
    >>> pixels.shape, endmembers.shape
    (torch.Size([100, 20]), torch.Size([6, 20]))
    """
    from hud_fast.scenes.simulate import smooth_spectra

    rng = np.random.default_rng([seed, C, D])
    wavelengths = np.linspace(400.0, 2500.0, C)
    endmembers = smooth_spectra(wavelengths, D, rng)
    if hard:
        half = D // 2
        change = smooth_spectra(wavelengths, half, rng)
        endmembers[half : 2 * half] = endmembers[:half] * (1 + 0.01 * (change - change.mean()))
    A, draw = torch.from_numpy(endmembers).to(device()), drawing(seed)
    pixels = torch.empty(P, C, device=device())
    for part in pixels.split(_PART):
        blocks = -(-len(part) // BLOCK**2)
        order = torch.rand(blocks, D, generator=draw, device=device()).argsort(1)
        most = min(MOST_ACTIVE, D)
        count = torch.randint(1, most + 1, (blocks, 1), generator=draw, device=device())
        active = (order < count).repeat_interleave(BLOCK**2, 0)[: len(part)]
        shares = torch.empty(active.shape, device=device()).exponential_(generator=draw) * active
        shares /= shares.sum(1, keepdim=True)
        torch.mm(shares, A.float(), out=part)
        sigma = part.square().mean().sqrt() * 10 ** (-NOISE_DB / 20)
        part.addcmul_(torch.randn(part.shape, generator=draw, device=device()), sigma)
    return pixels, A


def smooth_abundances(
    count: int, H: int, W: int, D: int, smoothness: float, draw: torch.Generator
) -> Tensor:  # (count, H, W, D)
    """Maps on the simplex: smoothed noise of unit variance times a contrast, projected (as `scenes.simulate` does)."""
    from hud_fast.scenes.simulate import CONTRAST

    fields = torch.randn(count, D, H, W, generator=draw, device=device())
    down = torch.fft.fftfreq(H, device=device())[:, None]
    across = torch.fft.rfftfreq(W, device=device())
    gain = torch.exp(-2 * (np.pi * smoothness) ** 2 * (down**2 + across**2))
    fields = torch.fft.irfft2(torch.fft.rfft2(fields) * gain, s=(H, W))
    fields -= fields.mean((2, 3), keepdim=True)
    fields *= CONTRAST / fields.std((2, 3), keepdim=True).clamp_min(1e-30)
    values = fields.permute(0, 2, 3, 1).contiguous()
    ordered = values.sort(-1, descending=True).values
    excess = (ordered.cumsum(-1) - 1) / torch.arange(1, D + 1, device=device())
    support = (ordered > excess).sum(-1, keepdim=True)
    found: Tensor = (values - excess.gather(-1, support - 1)).clamp_min_(0)
    return found


@dataclass(frozen=True, eq=False)
class Searched:
    """A scene to search, on the device, and what mixtures of it are made of."""

    cube: Tensor  # (H, W, C) float32
    endmembers: Tensor  # (D, C) float32
    abundances: Tensor  # (n, D) float32

    @property
    def pixels(self) -> Tensor:  # (P, C)
        return self.cube.flatten(0, 1)


@lru_cache(maxsize=1)
def simulated(name: str, small: bool = False, seed: int = 0) -> Searched:
    """A simulated scene of the size that `name` says; its endmembers are its purest pixels, as VCA would find them."""
    from hud_fast.scenes.simulate import smooth_spectra

    H, W, C, D = (SMALL if small else SIZES)[name]
    spectra = smooth_spectra(np.linspace(400.0, 2500.0, C), D, np.random.default_rng(seed))
    draw = drawing(seed)
    shares = smooth_abundances(1, H, W, D, SMOOTHNESS, draw)[0].flatten(0, 1)
    pixels = shares @ torch.from_numpy(spectra).to(shares)
    sigma = pixels.square().mean().sqrt() * 10 ** (-SNR_DB / 20)
    pixels.addcmul_(torch.randn(pixels.shape, generator=draw, device=device()), sigma)
    return Searched(pixels.view(H, W, C), pixels[shares.argmax(0)], shares)


def indian_pines() -> Searched | None:
    """The real scene with VCA endmembers, or None where it is not at hand."""
    found = real()
    if found is None:
        return None
    parts: list[Any] = [found.cube, found.endmembers, found.abundances]
    return Searched(*(torch.from_numpy(np.ascontiguousarray(p)).to(device()) for p in parts))


def queries(scene: Searched, kind: str, count: int, seed: int = 1) -> Tensor:  # (count, C)
    """Spectra to look up, as `inputs.queries` has them: mixtures, mixtures with 0.5 % of noise, random numbers."""
    draw, C = drawing(seed), scene.cube.shape[-1]
    if kind == "random":
        return torch.rand(count, C, generator=draw, device=device())
    chosen = torch.randint(len(scene.abundances), (count,), generator=draw, device=device())
    shares = scene.abundances[chosen]
    shares *= (0.1 * torch.randn(shares.shape, generator=draw, device=device())).exp()
    shares /= shares.sum(1, keepdim=True)
    made = shares @ scene.endmembers
    if kind == "noisy":
        level = 0.005 * made[:1000].square().mean().sqrt()
        made.addcmul_(torch.randn(made.shape, generator=draw, device=device()), level)
    return made


def mixture_blocks(scene: Searched, count: int, side: int, seed: int = 2) -> Tensor:
    """Blocks (count, side, side, C) of smooth abundance maps, as generated blocks have them."""
    maps = smooth_abundances(count, side, side, len(scene.endmembers), 4.0, drawing(seed))
    return maps @ scene.endmembers


def true_cosine_max(query: Tensor, reference: Tensor) -> Tensor:  # (Q, C), (P, C) -> (Q,) float64
    """Largest cosine of each query, by brute force in float64 (`truth.cosine_max` on the device)."""
    q = torch.nn.functional.normalize(query.double(), dim=-1, eps=1e-300)
    best = torch.full((len(q),), -torch.inf, dtype=torch.float64, device=q.device)
    for part in reference.split(1 << 16):
        u = torch.nn.functional.normalize(part.double(), dim=-1, eps=1e-300)
        best = torch.maximum(best, (q @ u.T).amax(1))
    return best


def true_window_value(block: Tensor, scene: Tensor) -> float:  # (h, w, C), (H, W, C)
    """Largest mean cosine of a block with any window at stride 1 (`truth.window_value` on the device)."""
    h, w, C = block.shape
    H, W = scene.shape[:2]
    b, s = (
        torch.nn.functional.normalize(part.double(), dim=-1, eps=1e-300) for part in (block, scene)
    )
    spectrum: Any = 0
    for c in range(C):
        spectrum = (
            spectrum + torch.fft.rfft2(s[..., c]) * torch.fft.rfft2(b[..., c], s=(H, W)).conj()
        )
    scores = torch.fft.irfft2(spectrum, s=(H, W))[: H - h + 1, : W - w + 1]
    near = (scores >= scores.max() - 1e-9 * h * w).nonzero()[:64].tolist()
    return max(float((b * s[y : y + h, x : x + w]).sum(-1).mean()) for y, x in near)
