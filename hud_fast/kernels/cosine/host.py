"""Which search runs: brute force, or the pruned tree in the span of the queries or of the scene's principal axes.

All give the same bits (csrc/cosine/tree.h); the choice is about time and memory only. The cost model counts
nanoseconds of one Zen 4 core, and only ratios matter: brute force takes 0.02 Q P C; a tree 450 P to build, and what it
takes to look at samples. A tree must promise a gain even where it fails to prune: queries that lie in the span of few
directions are sure to gain, others are tried on a few tiles first, and their tree may cost a sixth of brute force.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels._backend import ran
from hud_fast.kernels._native import C
from hud_fast.kernels.cosine.basis import (
    FIRST,
    SAMPLE,
    endmember_basis,
    inverse_norms,
    query_basis,
    sample_rows,
    scene_axes,
)
from hud_fast.kernels.cosine.tree import CosineTree, key_stride, note_plan

BRUTE_NS, ROW_NS, SAMPLE_NS = 0.02, 450.0, 3e7
_PAYS = {
    "span": 1.5,
    "scene": 6.0,
}  # brute force must cost so many times what the tree costs to build
_SMALL_NS = 2e7  # below this, brute force without a look
_BLOCK = 1 << 28  # bytes of packed reference rows where no limit is given: 256 MiB
_PROBED = 1 << 16  # queries among which the probe looks for neighbours
_DECIDE, _ALL_BANDS = 150.0, 1.2  # cycles of a row decided; a leaf in all bands comes from DRAM
_PIECE = 240  # queries that the kernel works on at once

Plan = str  # "auto", "brute", "span", "scene", "scene 32" (axes) or "bands" (scene, leaves in all bands)


def reference_side(reference: Tensor, threads: int) -> tuple[Tensor, Tensor]:
    """(P,) inverse norms (0 and NaN where a row takes no part) and the (C,) mean unit row."""
    inverse = inverse_norms(reference)
    mean = torch.empty(reference.shape[1], dtype=torch.float64, device="cpu")
    C.cosine_mean(reference, inverse, mean, threads)
    return inverse, mean


def tree_bytes(rows: int, dims: int) -> int:
    """Upper bound of what building a tree takes: keys, panels, boxes, order, the largest split."""
    return rows * (4 * key_stride(dims) + 4 * dims + 8 * dims // 8 + 8 + 8 + 8 + 8)


def some_units(query: Tensor) -> Tensor:  # (<= 4096, C) float64
    """Unit rows of some queries."""
    part = query[:: max(1, len(query) // SAMPLE)].contiguous()
    return sample_rows(part, inverse_norms(part))


def scene_tree(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    inverse: Tensor,  # (P,)
    mean: Tensor,  # (C,)
    threads: int,
    plan: Plan = "auto",
) -> CosineTree | None:
    """A tree on principal axes: first on few, of which some tiles of queries tell what more would cost and save.

    None where no tree beats brute force (queries that look like nothing in the scene).
    """
    known = sample_rows(reference, inverse)
    asked = some_units(query)
    axes = scene_axes(known, asked if len(asked) else known, mean)
    r = int(plan.removeprefix("scene ")) if plan.startswith("scene ") else FIRST
    tree = CosineTree.build(reference, inverse, mean, axes.basis(r), threads)
    if plan == "bands":
        tree.score_all_bands(threads)
    if plan != "auto" or not len(asked):
        return tree
    work = tree.probe(query[:: max(1, len(query) // _PROBED)].contiguous())
    bands = reference.shape[1]
    # Cycles of those tiles: for one more number in the keys, and for rows decided in float64.
    number = 24.0 * work["panels"] + 6.0 * work["single"]
    decide = work["exact"] * (_DECIDE + 0.25 * bands)
    first = axes.passed[min(FIRST, bands)]
    costs = {r: (r + 1) * number + decide * share / first for r, share in axes.passed.items()}
    best = min(costs, key=lambda r: costs[r])
    leaves = len(tree.data["row"]) * work["tiles"]
    if min(_ALL_BANDS * bands * number, costs[best]) > 0.8 * 24.0 * bands * leaves:
        return None
    # Where half of the pairs are scored nothing is pruned: few numbers for each would be the only gain, and what they
    # let through was foretold from a sample.
    if 12 * work["panels"] + work["single"] > 0.5 * 12 * leaves:
        return None
    if _ALL_BANDS * bands * number < costs[best]:
        tree.score_all_bands(threads)
    elif best > FIRST and costs[best] < 0.8 * costs[min(FIRST, bands)]:
        return CosineTree.build(reference, inverse, mean, axes.basis(best), threads)
    return tree


def brute(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    value: Tensor,  # (Q,) written
    index: Tensor,  # (Q,) written
    threads: int,
    limit: int | None,
    keep: Tensor | None = None,  # (P,) bool
) -> None:
    """Brute force over blocks of queries and of reference rows, so that scratch stays below `limit`."""
    note_plan("brute")
    bands = query.shape[1]
    dtype = query.dtype if query.dtype == reference.dtype else torch.float64
    copied = 8 if query.dtype != reference.dtype else 0
    rows, queries = len(reference), len(query)
    each_row, each_query = 4 * bands + 12 + copied * bands, 24 + copied * bands
    spare = max(0, (_BLOCK if limit is None else limit) - brute_least(bands, threads))
    row_step = max(32, min(rows, spare * 3 // 4 // each_row)) // 32 * 32 or rows
    query_step = max(_PIECE, min(queries, spare // 4 // each_query, 1 << 20))
    for first in range(0, queries, query_step):
        part = slice(first, first + query_step)
        q = query[part].to(dtype)
        best, at = value[part], index[part]
        for start in range(0, rows, row_step):
            u = reference[start : start + row_step].to(dtype)
            if keep is not None and not bool(keep[start : start + row_step].all()):
                u = torch.where(keep[start : start + row_step, None], u, 0)
            if start == 0:
                C.cosine_max(q, u, best, at, threads)
                continue
            other, where = torch.empty_like(best), torch.empty_like(at)
            C.cosine_max(q, u, other, where, threads)
            # A block without any usable row says -1; later blocks win only by more.
            ahead = (other > best) | ((at < 0) & (where >= 0))
            torch.where(ahead, other, best, out=best)
            torch.where(ahead, where + start, at, out=at)


class MemoryLimitError(ValueError):
    """A search cannot keep to its `memory_limit`; with `least` bytes it could."""

    least: int


def check_room(op: str, limit: int | None, least: int, what: str) -> None:
    """MemoryLimitError where a limit leaves no room."""
    if limit is not None and limit < least:
        error = MemoryLimitError(
            f"{op}: `memory_limit` must be at least {least} bytes for {what}, got {limit}"
        )
        error.least = least
        raise error


def tree_least(rows: int, bands: int, dims: int) -> int:
    """Bytes that a tree of keys and a small chunk of queries take."""
    return (1 << 20) + (1 << 16) + tree_bytes(rows, dims) + _sample_bytes(rows, bands)


def brute_least(bands: int, threads: int) -> int:
    """Bytes that brute force takes for one block of queries and one panel of rows."""
    pieces = 1 if threads <= 1 else 4 * threads
    piece = _PIECE * (400 + 4 * bands) + 16 * bands + 128
    return pieces * piece + 32 * (12 * bands + 12) + _PIECE * (24 + 8 * bands) + (1 << 16)


def answer(
    query: Tensor,  # (Q, C), or (Q, D) abundances, contiguous
    reference: Tensor,  # (P, C)
    tree: CosineTree | None,
    *,
    limit: int | None,
    scratch: int | None,  # of it, what a search in the tree may take
    mixtures: bool = False,
    probe: bool = False,
    inverse: Tensor | None = None,  # (P,) where some finite rows take no part
    known: Tensor | None = None,  # (Q,) float64, as of `CosineTree.search`
) -> tuple[Tensor, Tensor, bool]:
    """Each query's largest cosine and lowest row, and whether the tree answered all: else brute force took the rest."""
    threads = torch.get_num_threads()
    value = torch.empty(len(query), dtype=torch.float64, device="cpu")
    index = torch.empty(len(query), dtype=torch.int64, device="cpu")
    done = 0
    if tree is not None:
        note_plan(plan_name(tree))
        done = tree.search(
            query,
            value,
            index,
            threads=threads,
            mixtures=mixtures,
            probe=probe,
            scratch=scratch,
            known=known,
        )
    pruned = tree is not None and done == len(query)
    if not pruned:
        keep = None if inverse is None else inverse > 0
        brute(query[done:], reference, value[done:], index[done:], threads, limit, keep)
    ran("cpu")
    return value, index, pruned


class Search:
    """The way chosen for some queries, a tree where one pays, kept for all parts of them.

    With `endmembers` the queries are abundances: their spectra are never formed, and there is always a tree.
    """

    def __init__(
        self,
        query: Tensor,  # (Q, C), or (Q, D), that the choice is made for
        reference: Tensor,  # (P, C) contiguous
        *,
        limit: int | None = None,
        plan: Plan = "auto",
        endmembers: Tensor | None = None,  # (D, C) float64, largest value about 1
    ) -> None:
        self.reference, self.limit, self.plan = reference, limit, plan
        self.mixtures = endmembers is not None
        self.tree: CosineTree | None = None
        self.spare: int | None = None
        rows, bands = reference.shape
        threads = torch.get_num_threads()
        if endmembers is not None:
            inverse, mean = reference_side(reference, threads)
            basis = endmember_basis(endmembers, sample_rows(reference, inverse), mean)
            self._room(basis.columns.shape[1] + 1)
            self.tree = CosineTree.build(reference, inverse, mean, basis, threads, endmembers)
            return
        cost = BRUTE_NS * len(query) * rows * bands
        if plan == "brute" or not len(query) or not rows or (plan == "auto" and cost < _SMALL_NS):
            return
        inverse, mean = reference_side(reference, threads)
        if not bool((inverse > 0).any()):
            return
        build = ROW_NS * rows + SAMPLE_NS
        if plan == "span" or (plan == "auto" and cost > _PAYS["span"] * build):
            known = sample_rows(reference, inverse)
            found = query_basis(some_units(query), known, mean)
            if found is None and plan == "span":
                raise ValueError("the queries do not lie in the span of few directions")
            if found is not None:
                if self._room(found.columns.shape[1] + 1):
                    self.tree = CosineTree.build(reference, inverse, mean, found, threads)
                return
        if (plan != "auto" or cost > _PAYS["scene"] * build) and self._room(65, all_bands=True):
            self.tree = scene_tree(query, reference, inverse, mean, threads, plan)

    def _room(self, dims: int, all_bands: bool = False) -> bool:
        """Whether the limit leaves room for a tree, and how much beside it for a chunk of queries."""
        if self.limit is None:
            return True
        rows, bands = self.reference.shape
        leaves = 4 * bands * rows if all_bands else 0
        tree = tree_bytes(rows, dims) + leaves + _sample_bytes(rows, bands)
        self.spare = self.limit - tree - (1 << 20)
        return self.spare > 0

    def run(
        self,
        query: Tensor,  # (Q, C) or (Q, D)
        known: Tensor | None = None,  # (Q,) float64
    ) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
        """Search some of the queries; `known` as of `CosineTree.search`."""
        probe = self.plan == "auto" and self.tree is not None and not self.tree.data["about_zero"]
        value, index, pruned = answer(
            query.contiguous(),
            self.reference,
            self.tree,
            limit=self.limit,
            scratch=self.spare,
            mixtures=self.mixtures,
            probe=probe,
            known=known,
        )
        if not pruned:
            self.tree = None  # not tried again on later parts
        return value, index


def search(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    *,
    limit: int | None = None,
    plan: Plan = "auto",
) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
    """The largest cosine of each query and its lowest row; contiguous CPU tensors of float32 or float64."""
    return Search(query, reference, limit=limit, plan=plan).run(query)


def plan_name(tree: CosineTree) -> str:
    kind = "span" if tree.data["about_zero"] else "bands" if tree.data["all_bands"] else "scene"
    return f"tree: {kind}"


def _sample_bytes(rows: int, bands: int) -> int:
    """Inverse norms, samples of both sides, and what is computed from them."""
    return 8 * rows + 8 * bands * (4 * 4096 + 4 * bands) + 64 * 2048 * 128 // 8
