"""The one way to a search: which implementation, in how much memory, by which strategy is decided here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hud_fast.kernels._backend import ran, resolve
from hud_fast.kernels.cosine.basis import PIECE_VALUES
from hud_fast.kernels.cosine.device import TileSearch, least_bytes
from hud_fast.kernels.cosine.host import Search, brute_least, check_room, tree_least
from hud_fast.kernels.cosine.index import CosineIndex
from hud_fast.kernels.cosine.launch import on_cuda
from hud_fast.kernels.cosine.reference import cosine_max_reference

# Mixtures formed at once on a GPU: the more, the closer the neighbours in a tile.
_TOGETHER = 1 << 19

Found = tuple[Tensor, Tensor]  # (n,) float64, (n,) int64


@dataclass(frozen=True)
class Searcher:
    """A search that is ready for any part of the queries it was prepared for."""

    run: Callable[[Tensor], Found]  # (n, C), or (n, D) abundances -> cosines and rows
    # The same beside cosines (n,) that rows elsewhere reach: where none here does, it may be -2 and -1.
    above: Callable[[Tensor, Tensor], Found] | None = None


def prepare(
    query: Tensor,  # (Q, C), or (Q, D) abundances
    reference: Tensor | CosineIndex,  # (P, C)
    *,
    endmembers: Tensor | None = None,  # (D, C)
    backend: str | None = None,
    memory_limit: int | None = None,
) -> Searcher:
    """Make a search of `cosine_max` ready, to be asked in parts.

    Parameters
    ----------
    query : Tensor, shape (Q, C) or (Q, D)
        All that will be asked, float32 or float64: what pays is judged by it.
    reference : Tensor, shape (P, C), or CosineIndex
        Float32 or float64, on the device of `query`. An index has its own backend and memory limit.
    endmembers : Tensor, shape (D, C), optional
        As `read_endmembers` gives them, on the device of `query`, whose rows are abundances then: of the spectra
        ``query @ endmembers`` at most a block is formed.
    backend, memory_limit
        As of `cosine_max`.

    Returns
    -------
    Searcher
        Its ``run(part)`` gives the cosines, (n,) float64, and the rows, (n,) int64, of a part of the queries;
        ``above(part, known)``, where there is one, needs less time where cosines are known that rows elsewhere reach.

    Raises
    ------
    MemoryLimitError
        A ValueError, where the search cannot keep to `memory_limit`: its attribute `least` says what it needs.
    RuntimeError
        For a backend that cannot run.

    Examples
    --------
    >>> import torch
    >>> from hud_fast.kernels.cosine import prepare
    >>> query, reference = torch.tensor([[2.0, 2.0]]), torch.tensor([[1.0, 0.0], [3.0, 3.0]])
    >>> prepare(query, reference).run(query)[1]
    tensor([1])
    """
    if isinstance(reference, CosineIndex):
        known = reference.endmembers
        if endmembers is None:
            return Searcher(reference.search)
        if known is not None and torch.equal(known, endmembers.cpu()):
            return Searcher(reference.search_mixtures)
        return Searcher(_formed(reference.search, endmembers))
    rows = reference
    chosen = choose(query, rows, endmembers, backend, memory_limit)
    if chosen == "cpu":
        rows = rows.contiguous()
        made = Search(query, rows, limit=memory_limit, endmembers=endmembers)
        return Searcher(made.run, made.run)
    if chosen == "cuda":
        launcher = on_cuda(rows.device)
        tiles = TileSearch(query, rows, launcher, limit=memory_limit, endmembers=endmembers)
        together = _TOGETHER if memory_limit is None else tiles.piece
        return Searcher(_formed(tiles.run, endmembers, together))

    def plain(part: Tensor) -> Found:
        ran("torch")
        return cosine_max_reference(part, rows)

    return Searcher(_formed(plain, endmembers))


def choose(
    query: Tensor,  # (Q, C), or (Q, D) abundances
    reference: Tensor,  # (P, C)
    endmembers: Tensor | None,  # (D, C)
    backend: str | None,
    limit: int | None,
) -> str:
    """The backend, once it is sure that it can run and keep to the limit."""
    chosen = resolve("cosine_max", backend, query)
    if limit is None:
        return chosen
    rows, bands = reference.shape
    threads = torch.get_num_threads()
    what = f"{rows} rows of {bands} bands"
    if chosen == "cuda":
        least, what = least_bytes(rows, bands), f"{what} on a GPU"
    elif endmembers is not None:
        least = tree_least(rows, bands, len(endmembers) + 1)
    else:
        least = brute_least(bands, threads)
        what = f"C = {bands} bands and {threads} thread{'s' if threads > 1 else ''}"
    check_room("cosine_max", limit, least, what)
    return chosen


def _formed(
    search: Callable[[Tensor], Found], endmembers: Tensor | None, rows: int = 0
) -> Callable[[Tensor], Found]:
    """A search of mixtures that forms a block of their spectra at a time; without endmembers the search itself."""
    if endmembers is None:
        return search
    ends, rows = endmembers, rows or max(1, PIECE_VALUES // endmembers.shape[1])

    def ask(part: Tensor) -> Found:
        found = [search(block.double() @ ends) for block in part.contiguous().split(rows)]
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    return ask
