"""Each pixel's nearest real pixel by cosine: the kernel's search, prepared once and asked in parts.

The values are float64 of the raw bands, what brute force would give.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hud_fast.kernels import CosineIndex
from hud_fast.kernels.cosine import prepare
from hud_fast.metrics._search import progress_step
from hud_fast.metrics.progress import Progress

_QUERIES = 4096  # parts are a multiple of so many pixels


def nearest_pixels(
    query: Tensor,  # (n, C) finite, or (n, D) abundances
    reference: Tensor | CosineIndex,  # (P, C)
    *,
    endmembers: Tensor | None = None,  # (D, C) as `read_endmembers` gives them
    progress: Progress | None = None,
    memory_limit: int | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:  # (n,) float64, (n,) int64
    """Largest cosine of each query with any reference pixel, and which; in parts where progress is wanted."""
    search = prepare(
        query, reference, endmembers=endmembers, backend=backend, memory_limit=memory_limit
    )
    return in_parts(search.run, query, progress)


def in_parts(
    ask: Callable[..., tuple[Tensor, Tensor]],
    query: Tensor,  # (n, C) or (n, D)
    progress: Progress | None,
    *beside: Tensor,  # (n,) each
) -> tuple[Tensor, Tensor]:  # (n,) float64, (n,) int64
    """What is found for the queries and what stands `beside` them: at once, or in parts where progress is wanted."""
    if progress is None:
        return ask(query, *beside)
    found = []
    step = progress_step(len(query), _QUERIES)
    for first in range(0, len(query), step):
        few = slice(first, min(first + step, len(query)))
        found.append(ask(query[few], *(one[few] for one in beside)))
        progress(few.stop, len(query))
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])
