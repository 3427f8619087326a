"""Inputs of the benchmarks: scenes, endmembers and queries of a stated size, the same on every machine.

Simulated scenes stand for those that cannot be shipped (Pavia University 610 x 340, 103 bands; Pavia Centre
1093 x 715, 102 bands). Real ones are taken from the folder HUD_FAST_DATA or the catalogue's cache, if they are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 8  # pixels on a side that share their endmembers, as fields and roofs do
MOST_ACTIVE = 5
NOISE_DB = 30.0


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pixels with the endmembers they are to be unmixed with."""

    pixels: NDArray[Any]  # (P, C)
    endmembers: NDArray[Any]  # (D, C)


def mixed_pixels(P: int, C: int, D: int, *, hard: bool = False, seed: int = 0) -> Pixels:
    """Pixels (P, C) float64 of a scene in 8 x 8 blocks, each of 1 to 5 endmembers, flat Dirichlet shares, 30 dB.

    The endmembers (D, C) are smooth like reflectances. `hard` makes half of them the other half changed by 1 %.

    Examples
    --------
    >>> made = mixed_pixels(100, 20, 6)
    >>> made.pixels.shape, made.endmembers.shape
    ((100, 20), (6, 20))
    """
    from hud_fast.scenes.simulate import smooth_spectra

    rng = np.random.default_rng([seed, C, D])
    endmembers = smooth_spectra(np.linspace(400.0, 2500.0, C), D, rng)
    if hard:
        half = D // 2
        change = smooth_spectra(np.linspace(400.0, 2500.0, C), half, rng)
        endmembers[half : 2 * half] = endmembers[:half] * (1 + 0.01 * (change - change.mean()))
    shares = np.zeros((P, D))
    for start in range(0, P, BLOCK * BLOCK):
        rows = min(BLOCK * BLOCK, P - start)
        active = rng.permutation(D)[: rng.integers(1, MOST_ACTIVE + 1)]
        shares[start : start + rows, active] = rng.dirichlet(np.ones(len(active)), rows)
    pixels = shares @ endmembers
    sigma = np.sqrt(np.mean(pixels**2)) * 10 ** (-NOISE_DB / 20)
    pixels += sigma * rng.standard_normal(pixels.shape)
    return Pixels(pixels, endmembers)


@dataclass(frozen=True, eq=False)
class Searched:
    """A scene to search, and what mixtures of it are made of."""

    cube: NDArray[np.float32]  # (H, W, C)
    endmembers: NDArray[np.float32]  # (D, C)
    abundances: NDArray[np.float32]  # (n, D) of some of its pixels

    @property
    def pixels(self) -> NDArray[np.float32]:  # (P, C)
        return self.cube.reshape(-1, self.cube.shape[-1])


PAVIA = ("PaviaU-size", "Pavia-size")
SIZES = {
    "PaviaU-size": (610, 340, 103, 9),
    "Pavia-size": (1093, 715, 102, 9),
    "Indian-Pines-size": (145, 145, 103, 9),
}
SMALL = {name: (H // 8, W // 8, C, D) for name, (H, W, C, D) in SIZES.items()}


@lru_cache(maxsize=1)  # the largest takes 0.3 GB and ten seconds
def simulated(name: str, small: bool = False) -> Searched:
    """A simulated scene of the size that `name` says, with VCA endmembers."""
    from hud_fast.scenes import simulate_scene

    H, W, C, D = (SMALL if small else SIZES)[name]
    return _searched(simulate_scene(H, W, C=C, D=D, seed=0).cube, D)


@lru_cache(maxsize=1)
def indian_pines() -> NDArray[np.float32] | None:
    """The Indian Pines cube (145, 145, 200), or None where it is not at hand."""
    from hud_fast.scenes import load_scene
    from hud_fast.scenes.fetch import at_hand

    if not at_hand("indian-pines"):
        return None
    cube: NDArray[np.float32] = np.ascontiguousarray(load_scene("indian-pines").cube, np.float32)
    return cube


@lru_cache(maxsize=1)
def real(D: int = 16) -> Searched | None:
    """Indian Pines with VCA endmembers, or None where it is not at hand."""
    cube = indian_pines()
    return None if cube is None else _searched(cube, D)


def _searched(cube: NDArray[np.float32], D: int) -> Searched:
    from hud_fast.kernels import fcls
    from hud_fast.unmixing import vca

    pixels = cube.reshape(-1, cube.shape[-1])
    endmembers = vca(pixels, D, seed=0)
    some = pixels[:: max(1, len(pixels) // 20_000)]
    return Searched(cube, endmembers, fcls(np.ascontiguousarray(some), endmembers))


QUERIES = ("HUD-like", "noisy", "random")


def mixture_abundances(
    scene: Searched, count: int, seed: int = 1
) -> NDArray[np.float32]:  # (count, D)
    """Real abundances, each changed by some ten per cent: what a model that has learnt the scene draws."""
    rng = np.random.default_rng(seed)
    chosen = scene.abundances[rng.integers(len(scene.abundances), size=count)].astype(np.float64)
    chosen *= np.exp(0.1 * rng.standard_normal(chosen.shape))
    made: NDArray[np.float32] = (chosen / chosen.sum(1, keepdims=True)).astype(np.float32)
    return made


def queries(
    scene: Searched, kind: str, count: int, seed: int = 1
) -> NDArray[np.float32]:  # (count, C)
    """Spectra to look up: mixtures, mixtures with 0.5 % of noise, or random numbers (nothing to prune by)."""
    rng = np.random.default_rng([seed, 1])
    C = scene.cube.shape[-1]
    if kind == "random":
        drawn: NDArray[np.float32] = rng.random((count, C), dtype=np.float32)
        return drawn
    made: NDArray[np.float32] = mixture_abundances(scene, count, seed) @ scene.endmembers
    if kind == "noisy":
        level = 0.005 * float(np.sqrt(np.mean(made[:1000] ** 2)))
        made += np.float32(level) * rng.standard_normal(made.shape, dtype=np.float32)
    return made


def mixture_blocks(scene: Searched, count: int, side: int, seed: int = 2) -> NDArray[np.float32]:
    """Smooth abundance maps (count, side, side, D), as generated blocks have them."""
    from hud_fast.scenes.simulate import smooth_abundances

    rng = np.random.default_rng(seed)
    D = len(scene.endmembers)
    return np.stack([smooth_abundances(side, side, D, 4.0, rng) for _ in range(count)]).astype(
        np.float32
    )


# Scenes of about 10,000 pixels and how many endmembers they are unmixed with: of the catalogue, or a file of the
# Airport-Beach-Urban scenes (Kang et al., IEEE TGRS 55(10), 2017) in the folder HUD_FAST_DATA.
OF_USERS = {
    "Jasper Ridge": ("jasper-ridge", 4),
    "Samson": ("samson", 3),
    "Pavia University crop": ("pavia-university-crop", 8),
    "ABU airport": ("abu-airport-1.mat", 12),
}


@lru_cache(maxsize=1)
def of_users(name: str) -> Pixels | None:
    """A real scene of `OF_USERS` with VCA endmembers, float64, or None where it is not at hand."""
    from hud_fast.scenes import load_scene
    from hud_fast.scenes.fetch import at_hand, find_local
    from hud_fast.unmixing import vca

    source, D = OF_USERS[name]
    file = find_local(source) if source.endswith(".mat") else None
    if file is None and (source.endswith(".mat") or not at_hand(source)):
        return None
    pixels = np.ascontiguousarray(load_scene(file or source).pixels, np.float64)
    return Pixels(pixels, vca(pixels, D, seed=0))


def class_means() -> Searched | None:
    """Indian Pines with the mean spectrum of each of its 16 classes, or None without the ground truth."""
    from hud_fast.scenes.fetch import data_folder, find_local

    cube, folder = indian_pines(), data_folder()
    file = None if folder is None else find_local("Indian_pines_gt.mat", folder)
    if cube is None or file is None:
        return None
    from scipy.io import loadmat

    labels = loadmat(file)["indian_pines_gt"]
    endmembers = np.stack([cube[labels == k].mean(0) for k in range(1, labels.max() + 1)])
    return Searched(cube, endmembers, np.empty((0, len(endmembers)), np.float32))


def random_windows(
    side: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (side, side, 10), (count, 32, 32, 10)
    """A scene and blocks without structure: no window is ruled out early."""
    rng = np.random.default_rng(0)
    return rng.random((side, side, 10)), rng.random((count, 32, 32, 10))


def into_span(
    pixels: Tensor,  # (n, C)
    basis: Tensor,  # (C, r)
    *,
    inside: bool,
) -> Tensor:  # (n, r + 1) float64
    """Coordinates in the basis, then the distance from the span (0 by definition when `inside`)."""
    out = torch.zeros(len(pixels), basis.shape[1] + 1, dtype=torch.float64, device=pixels.device)
    step = max(1, (1 << 22) // pixels.shape[1])  # values worked on at once
    for part, numbers in zip(pixels.split(step), out.split(step), strict=True):
        wide = part.double()
        coordinates = wide @ basis
        numbers[:, :-1] = coordinates
        if not inside:
            numbers[:, -1] = (wide - coordinates @ basis.T).norm(dim=1)
    return out
