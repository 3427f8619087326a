"""Each pixel's nearest real pixel by cosine: `kernels.cosine_max` and `kernels.CosineIndex` as the metrics ask them.

The values are float64 of the raw bands, what brute force would give. The search is prepared once and asked in parts
where progress is wanted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hud_fast.kernels import CosineIndex, cosine_max
from hud_fast.kernels._backend import resolve
from hud_fast.kernels.cosine.device import TileSearch
from hud_fast.kernels.cosine.host import MixtureSearch, Search
from hud_fast.kernels.cosine.launch import on_cuda
from hud_fast.metrics._search import chunks
from hud_fast.metrics.progress import Progress
from hud_fast.unmixing.pixels import BLOCK_VALUES

_QUERIES = 4096  # parts are a multiple of so many pixels
_TOGETHER = (
    1 << 19
)  # mixtures formed at once on a GPU: the more, the closer the neighbours in a tile

Found = tuple[Tensor, Tensor]  # (n,) float64, (n,) int64


def nearest_pixels(
    query: Tensor,  # (n, C) finite
    reference: Tensor | CosineIndex,  # (P, C)
    *,
    progress: Progress | None = None,
    memory_limit: int | None = None,
    backend: str | None = None,
) -> Found:
    """Largest cosine of each query with any reference pixel, and which."""
    if isinstance(reference, CosineIndex):
        return _in_parts(query, reference.search, progress)
    chosen = resolve("cosine_max", backend, query)
    if chosen == "cuda":
        search = TileSearch(query, reference, on_cuda(query.device), limit=memory_limit)
        return _in_parts(query, search.run, progress)
    if chosen != "cpu":
        known = reference
        return _in_parts(query, lambda part: cosine_max(part, known, backend=chosen), progress)
    query = query.contiguous()
    ready = Search(query, reference.contiguous(), limit=memory_limit)
    return _in_parts(query, ready.run, progress)


def nearest_to_mixtures(
    abundances: Tensor,  # (n, D) finite
    endmembers: Tensor,  # (D, C) float64, largest value about 1
    reference: Tensor | CosineIndex,  # (P, C)
    *,
    progress: Progress | None = None,
    memory_limit: int | None = None,
    backend: str | None = None,
) -> Found:
    """The same for the pixels abundances @ endmembers, of which at most a block is formed."""
    ask: Callable[[Tensor], Found]
    if isinstance(reference, CosineIndex):
        known = reference.endmembers
        same = known is not None and torch.equal(known, endmembers.cpu())
        ask = reference.search_mixtures if same else _formed(endmembers, reference.search)
    else:
        rows = reference
        chosen = resolve("cosine_max", backend, abundances)
        if chosen == "cpu":
            ask = MixtureSearch(endmembers, rows.contiguous(), limit=memory_limit).run
        elif chosen == "cuda":
            launcher = on_cuda(rows.device)
            tiles = TileSearch(
                abundances, rows, launcher, limit=memory_limit, endmembers=endmembers
            )
            together = _TOGETHER if memory_limit is None else tiles.piece
            ask = _formed(endmembers, tiles.run, together)
        else:
            ask = _formed(endmembers, lambda part: cosine_max(part, rows, backend=chosen))
    return _in_parts(abundances.contiguous(), ask, progress)


def _formed(
    endmembers: Tensor, search: Callable[[Tensor], Found], rows: int = 0
) -> Callable[[Tensor], Found]:
    """A search of mixtures that forms a block of their spectra at a time."""
    rows = rows or max(1, BLOCK_VALUES // endmembers.shape[1])

    def ask(part: Tensor) -> Found:
        found = [search(block.double() @ endmembers) for block in part.split(rows)]
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    return ask


def _in_parts(query: Tensor, ask: Callable[[Tensor], Found], progress: Progress | None) -> Found:
    found: list[Found] = []
    for first, last in chunks(len(query), _QUERIES, progress):
        found.append(ask(query[first:last]))
        if progress is not None:
            progress(last, len(query))
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])
