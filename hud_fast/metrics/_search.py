"""The search for the nearest pixel behind the metrics, and what it shares with that for windows (`_nearest_windows`).

Both return what brute force over all bands in float64 would: the kernel (in r + 1 numbers a pixel
where the generated pixels allow it) finds the place, and the value is computed again at that place
from the raw bands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from hud_fast.metrics._span import into_span, span_basis
from hud_fast.unmixing._pixels import BLOCK_VALUES

Norm = Literal["pixel", "block"]
Progress = Callable[[int, int], None]

_CALLS = 16  # kernel calls that a search with progress is split into, each of a multiple of ...
_QUERIES = 4096  # ... so many pixels: set-up stays small, the kernel's lanes full


def nearest_pixels(
    query: Tensor,  # (n, C) finite
    reference: Tensor,  # (P, C) finite
    *,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:  # (n,) float64, (n,) int64
    """Largest cosine of each query with any reference pixel, and which."""
    from hud_fast.kernels import cosine_max

    basis = span_basis(query)
    if basis is None:
        keys, index_keys = query, reference
    else:
        keys = into_span(query, basis, inside=True)
        index_keys = into_span(reference, basis, inside=False)
    found: list[Tensor] = []
    for first, last in _chunks(len(query), _QUERIES, progress):
        found.append(cosine_max(keys[first:last], index_keys)[1])
        if progress is not None:
            progress(last, len(query))
    index = torch.cat(found)
    rows = max(1, BLOCK_VALUES // query.shape[1])
    value = torch.cat(
        [
            paired_cosine(query[i : i + rows], reference[index[i : i + rows]])
            for i in range(0, len(query), rows)
        ]
    )
    return value, index


def paired_cosine(a: Tensor, b: Tensor) -> Tensor:  # (..., C), (..., C) -> (...) float64
    """Cosine of each pair, 0 where one of them is zero, at most 1 in magnitude."""
    a, b = a.double(), b.double()
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    cosine = (a * b).sum(dim=-1) / torch.where(norms > 0, norms, 1)
    return cosine.clamp(-1, 1)


def _chunks(n: int, unit: int, progress: Progress | None) -> list[tuple[int, int]]:
    step = n if progress is None else -(-n // (_CALLS * unit)) * unit
    return [(i, min(i + step, n)) for i in range(0, n, step)]
