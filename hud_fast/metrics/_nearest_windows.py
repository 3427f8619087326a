"""The search for the nearest window behind the metrics: the kernel, a short cut, float64 rescoring.

What brute force over all bands in float64 would return: the kernel (in r numbers a pixel where the blocks lie in the
span of few spectra: `kernels.windows.short_cut`) finds the place, and the value is computed again at that place from
the raw bands.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hud_fast.kernels.cosine import span_basis
from hud_fast.kernels.windows import SearchScene, coordinates, outside, similarities
from hud_fast.metrics._search import Norm, progress_step
from hud_fast.metrics.progress import Progress
from hud_fast.unmixing.pixels import BLOCK_VALUES

_BLOCKS = 16  # a call takes a multiple of so many blocks: the kernel's lanes are full
_SAMPLED = 8192  # pixels that a basis is first looked for in


@dataclass(frozen=True, eq=False)
class Windows:
    """The best window of each block."""

    value: Tensor  # (n,) float64
    position: Tensor  # (n, 2) int64, row and column of the window's first pixel


def nearest_windows(
    blocks: Tensor,  # (n, h, w, C) finite
    scene: SearchScene,
    *,
    stride: int = 1,
    norm: Norm = "pixel",
    progress: Progress | None = None,
) -> Windows:
    """Best window of the scene for each block (see `kernels.window_search`)."""
    n, _, _, C = blocks.shape
    step = n if progress is None else progress_step(n, _BLOCKS)
    if scene.basis is not None:  # the keys of a chunk are a copy in float64
        room = max(1, BLOCK_VALUES // (blocks[0].numel() // C * scene.basis.shape[1]))
        step = min(step, max(_BLOCKS, room // _BLOCKS * _BLOCKS))
    found = []
    for first in range(0, n, step):
        part = blocks[first : first + step]
        keys = part if scene.basis is None else coordinates(part, scene.basis)[0]
        windows = nearest_keys(keys, scene, stride=stride, norm=norm)
        if scene.basis is not None:
            value = similarities(part, windows.position, scene.values, norm)
            windows = Windows(value, windows.position)
        found.append(windows)
        if progress is not None:
            progress(first + len(part), n)
    return Windows(
        torch.cat([windows.value for windows in found]),
        torch.cat([windows.position for windows in found]),
    )


def nearest_keys(
    keys: Tensor,  # (n, h, w, C or r)
    scene: SearchScene,
    *,
    stride: int = 1,
    norm: Norm = "pixel",
    apart: Tensor | None = None,  # (n, 4) int64
) -> Windows:
    """Best window for blocks given by their own keys, in one call; the values are the kernel's."""
    _, h, w, _ = keys.shape
    return Windows(*scene.ready((h, w), keys.dtype, stride, norm).search(keys, apart))


def shared_basis(pixels: Tensor) -> Tensor | None:  # (n, C) -> (C, r) float64
    """As `span_basis`, from a sample of the pixels where that holds all of them."""
    sample = evenly(pixels, _SAMPLED)
    basis = span_basis(sample)
    if basis is None or len(sample) == len(pixels):
        return basis
    step = max(1, BLOCK_VALUES // pixels.shape[1])
    for first in range(0, len(pixels), step):
        part = pixels[first : first + step]
        if bool(outside(*coordinates(part, basis)).any()):
            return span_basis(pixels)
    return basis


def evenly(pixels: Tensor, most: int) -> Tensor:  # (n, C) -> (m, C)
    """Up to `most` of the pixels, from all over."""
    place = torch.linspace(
        0, len(pixels) - 1, min(len(pixels), most), dtype=torch.float32, device="cpu"
    ).long()
    return pixels[place.to(pixels.device)]
