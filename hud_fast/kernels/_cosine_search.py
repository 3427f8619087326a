"""Which search runs: brute force, or the pruned tree in the span of the queries or of the scene's principal axes.

All give the same bits (csrc/cpu/cosine_tree.h); the choice is about time and memory only. The cost model counts
nanoseconds of one Zen 4 core, and only ratios matter: brute force takes 0.02 Q P C; a tree 450 P to build, and what it
takes to look at samples. A tree must promise a gain even where it fails to prune: queries that lie in the span of few
directions are sure to gain, others are tried on a few tiles first, and the tree may cost a sixth of brute force at most.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels._cosine_basis import (
    Basis,
    endmember_basis,
    sample_rows,
    scene_basis,
    span_basis,
)
from hud_fast.kernels._cosine_tree import CosineTree, key_stride, note_plan
from hud_fast.kernels._native import C

BRUTE_NS, ROW_NS, SAMPLE_NS = 0.02, 450.0, 3e7
_PAYS = {"span": 1.5, "scene": 6.0}  # brute force must cost so many times what the tree costs to build
_SMALL_NS = 2e7  # below this, brute force without a look
_BLOCK = 1 << 28  # bytes of packed reference rows where no limit is given: 256 MiB
_PIECE = 240  # queries that the kernel works on at once

Plan = str  # "auto", "brute", "span", "scene" or "bands" (scene, leaves in all bands)


def reference_side(reference: Tensor, threads: int) -> tuple[Tensor, Tensor]:
    """(P,) inverse norms (0 and NaN where a row takes no part) and the (C,) mean unit row."""
    inverse = torch.empty(len(reference), dtype=torch.float64)
    C.row_inverse(reference, inverse, threads)
    mean = torch.empty(reference.shape[1], dtype=torch.float64)
    C.cosine_mean(reference, inverse, mean, threads)
    return inverse, mean


def tree_bytes(rows: int, dims: int) -> int:
    """Upper bound of what building a tree takes: keys, panels, boxes, order, the largest split."""
    return rows * (4 * key_stride(dims) + 4 * dims + 8 * dims // 8 + 8 + 8 + 8 + 8)


def choose(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    inverse: Tensor,  # (P,)
    mean: Tensor,  # (C,)
    *,
    plan: Plan = "auto",
) -> Basis | None:
    """The basis of the tree that pays, None for brute force."""
    rows, bands = reference.shape
    brute = BRUTE_NS * len(query) * rows * bands
    if plan == "brute" or not bool((inverse > 0).any()):
        return None
    if plan == "auto" and brute < _SMALL_NS:
        return None
    build = ROW_NS * rows + SAMPLE_NS
    step = max(1, len(query) // 4096)
    part = query[::step].contiguous()
    factor = torch.empty(len(part), dtype=torch.float64)
    C.row_inverse(part, factor, torch.get_num_threads())
    asked, known = sample_rows(part, factor), sample_rows(reference, inverse)
    if plan == "span" or (plan == "auto" and brute > _PAYS["span"] * build):
        basis = span_basis(asked, known, mean)
        if basis is not None:
            return basis
        if plan == "span":
            raise ValueError("the queries do not lie in the span of few directions")
    if plan != "auto" or brute > _PAYS["scene"] * build:
        basis = scene_basis(known, asked if len(asked) else known, mean)
        if plan == "bands":
            return Basis(basis.columns, about_zero=False, all_bands=True)
        return basis
    return None


def brute(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    value: Tensor,  # (Q,) written
    index: Tensor,  # (Q,) written
    threads: int,
    limit: int | None,
) -> None:
    """Brute force over blocks of queries and of reference rows, so that scratch stays below `limit`."""
    note_plan("brute")
    bands = query.shape[1]
    dtype = query.dtype if query.dtype == reference.dtype else torch.float64
    copied = 8 if query.dtype != reference.dtype else 0
    rows, queries = len(reference), len(query)
    each_row, each_query = 4 * bands + 12 + copied * bands, 24 + copied * bands
    spare = (_BLOCK if limit is None else limit) - brute_least(bands, threads)
    if spare < 0:
        raise ValueError(
            f"`memory_limit` must be at least {brute_least(bands, threads)} bytes for C = {bands} bands and "
            f"{threads} thread{'s' if threads > 1 else ''}, got {limit}"
        )
    row_step = max(32, min(rows, spare * 3 // 4 // each_row)) // 32 * 32 or rows
    query_step = max(_PIECE, min(queries, spare // 4 // each_query, 1 << 20))
    for first in range(0, queries, query_step):
        part = slice(first, first + query_step)
        q = query[part].to(dtype)
        best, at = value[part], index[part]
        for start in range(0, rows, row_step):
            u = reference[start : start + row_step].to(dtype)
            if start == 0:
                C.cosine_max(q, u, best, at, threads)
                continue
            other, where = torch.empty_like(best), torch.empty_like(at)
            C.cosine_max(q, u, other, where, threads)
            # A block without any usable row says -1; later blocks win only by more.
            ahead = (other > best) | ((at < 0) & (where >= 0))
            torch.where(ahead, other, best, out=best)
            torch.where(ahead, where + start, at, out=at)


def brute_least(bands: int, threads: int) -> int:
    """Bytes that brute force takes for one block of queries and one panel of rows."""
    pieces = 1 if threads <= 1 else 4 * threads
    piece = _PIECE * (400 + 4 * bands) + 16 * bands + 128
    return pieces * piece + 32 * (12 * bands + 12) + _PIECE * (24 + 8 * bands) + (1 << 16)


def search(
    query: Tensor,  # (Q, C)
    reference: Tensor,  # (P, C)
    *,
    limit: int | None = None,
    plan: Plan = "auto",
) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
    """The largest cosine of each query and its lowest row, float32 or float64 contiguous CPU tensors."""
    threads = torch.get_num_threads()
    value = torch.empty(len(query), dtype=torch.float64)
    index = torch.empty(len(query), dtype=torch.int64)
    done = 0
    rows, bands = reference.shape
    small = BRUTE_NS * len(query) * rows * bands < _SMALL_NS
    if plan != "brute" and len(query) and rows and not (plan == "auto" and small):
        inverse, mean = reference_side(reference, threads)
        basis = choose(query, reference, inverse, mean, plan=plan)
        if basis is not None:
            spare = _tree_spare(rows, bands, basis, limit)
            if spare is None or spare > 0:
                tree = CosineTree.build(reference, inverse, mean, basis, threads)
                note_plan(_name(basis))
                probe = plan == "auto" and not basis.about_zero
                done = tree.search(
                    query, value, index, threads=threads, probe=probe, scratch=spare
                )
    if done < len(query) or not len(query):
        brute(query[done:], reference, value[done:], index[done:], threads, limit)
    return value, index


def search_mixtures(
    abundances: Tensor,  # (Q, D)
    endmembers: Tensor,  # (D, C) float64, largest value about 1
    reference: Tensor,  # (P, C)
    *,
    limit: int | None = None,
) -> tuple[Tensor, Tensor]:  # (Q,) float64, (Q,) int64
    """As `search` for the pixels abundances @ endmembers, which are never formed."""
    threads = torch.get_num_threads()
    inverse, mean = reference_side(reference, threads)
    basis = endmember_basis(endmembers, sample_rows(reference, inverse), mean)
    rows, bands = reference.shape
    spare = _tree_spare(rows, bands, basis, limit)
    if limit is not None and spare is not None and spare <= 0:
        raise ValueError(
            f"`memory_limit` must be at least {limit - spare + (1 << 16)} bytes for {rows} reference rows "
            f"and {len(endmembers)} endmembers, got {limit}"
        )
    tree = CosineTree.build(reference, inverse, mean, basis, threads, endmembers)
    note_plan(_name(basis))
    value = torch.empty(len(abundances), dtype=torch.float64)
    index = torch.empty(len(abundances), dtype=torch.int64)
    tree.search(abundances, value, index, threads=threads, mixtures=True, scratch=spare)
    return value, index


def _name(basis: Basis) -> str:
    kind = "span" if basis.about_zero else ("bands" if basis.all_bands else "scene")
    return f"tree: {kind}"


def _tree_spare(rows: int, bands: int, basis: Basis, limit: int | None) -> int | None:
    """Bytes left for a chunk of queries beside the tree; None where there is no limit."""
    if limit is None:
        return None
    dims = basis.columns.shape[1] + 1
    leaves = 4 * bands * rows if basis.all_bands else 0
    samples = 8 * bands * (2 * 4096 + 3 * bands)
    return limit - tree_bytes(rows, dims) - leaves - samples - 8 * rows - (1 << 20)
