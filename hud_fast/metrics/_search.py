"""The two searches behind the metrics: the kernels, the short cut of `_span`, float64 rescoring, progress.

Both return what brute force over all bands in float64 would: the kernel (in r + 1 numbers a pixel
where the generated pixels allow it) finds the place, and the value is computed again at that place
from the raw bands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hud_fast.metrics._samples import Spectra
from hud_fast.metrics._span import into_span

Norm = Literal["pixel", "block"]
Progress = Callable[[int, int], None]

_CALLS = 16  # kernel calls that a search with progress is split into, each of a multiple of ...
_BLOCKS = 16  # ... so many blocks: set-up stays small, the kernel's lanes full


@dataclass(frozen=True, eq=False)
class SearchScene:
    """A scene made ready for any number of searches."""

    real: Spectra  # (H, W, C)
    keys: Tensor  # (H, W, C) the pixels, or (H, W, r + 1) their coordinates in the basis
    basis: Tensor | None  # (C, r), None to search in all bands


def search_scene(real: Spectra, basis: Tensor | None) -> SearchScene:
    """`basis` is the `span_basis` of every block that will be looked up."""
    if basis is None:
        return SearchScene(real, real.values, None)
    keys = into_span(real.values.reshape(-1, real.C), basis, inside=False)
    return SearchScene(real, keys.reshape(*real.values.shape[:2], -1), basis)


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
    rescore: bool = True,
    progress: Progress | None = None,
) -> Windows:
    """Best window of the scene for each block (see `kernels.window_search`).

    Without `rescore` the values are the kernel's own: enough to compare, not to report.
    """
    from hud_fast.kernels import window_search

    n, h, w, C = blocks.shape
    keys, real = blocks, scene.real
    if scene.basis is not None:
        keys = into_span(blocks.reshape(-1, C), scene.basis, inside=True).reshape(n, h, w, -1)
    mask = None if bool(real.valid.all()) else real.valid
    values: list[Tensor] = []
    positions: list[Tensor] = []
    for first, last in _chunks(n, _BLOCKS, progress):
        found = window_search(keys[first:last], scene.keys, stride=stride, norm=norm, mask=mask)
        values.append(found[0])
        positions.append(found[1])
        if progress is not None:
            progress(last, n)
    position = torch.cat(positions)
    if not rescore:
        return Windows(torch.cat(values), position)
    return Windows(similarities(blocks, position, real, norm), position)


def similarities(
    blocks: Tensor,  # (n, h, w, C)
    position: Tensor,  # (n, 2)
    real: Spectra,  # (H, W, C)
    norm: Norm,
) -> Tensor:  # (n,) float64
    """Each block's similarity with the window at its position, from the raw bands in float64."""
    h, w = blocks.shape[1:3]
    return torch.stack(
        [
            _similarity(block, real.values[r : r + h, c : c + w], norm)
            for block, (r, c) in zip(blocks, position.tolist(), strict=True)
        ]
    )


def _similarity(
    block: Tensor,  # (h, w, C)
    window: Tensor,  # (h, w, C)
    norm: Norm,
) -> Tensor:  # () float64
    if norm == "pixel":
        return paired_cosine(block, window).mean()
    return paired_cosine(block.reshape(1, -1), window.reshape(1, -1))[0]


def paired_cosine(a: Tensor, b: Tensor) -> Tensor:  # (..., C), (..., C) -> (...) float64
    """Cosine of each pair, 0 where one of them is zero, at most 1 in magnitude."""
    a, b = a.double(), b.double()
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    cosine = (a * b).sum(dim=-1) / torch.where(norms > 0, norms, 1)
    return cosine.clamp(-1, 1)


def _chunks(n: int, unit: int, progress: Progress | None) -> list[tuple[int, int]]:
    step = n if progress is None else -(-n // (_CALLS * unit)) * unit
    return [(i, min(i + step, n)) for i in range(0, n, step)]
