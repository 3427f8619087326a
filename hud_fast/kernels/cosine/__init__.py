"""The largest cosine of each query spectrum with any reference spectrum, and where it is.

    value_i = max_j <q_i, u_j> / (|q_i| |u_j|),  index_i = the lowest j that attains it

What point fidelity (HUD, arXiv 2506.02601, eq. 16) needs for every generated pixel. The similarity matrix is never
formed: a float32 pass keeps every row that could be the maximum, by a proven rounding bound, and float64 rescores
those from the raw bands. The pass is brute force, 2 Q P C operations (csrc/cosine/brute.h), or, where that promises a
gain, a walk of a tree of the reference that prunes all but a few per cent of the pairs (csrc/cosine/tree.h): the
values and indices have the same bits either way. `CosineIndex` builds the tree once for many calls. All ways in
go through `prepare`, which decides who searches, and how.

A zero query has cosine 0 with everything. A query with a NaN or infinite band gives NaN and index -1. Reference rows
that are zero or not finite take no part. A row whose largest value is below 1e-300 counts as zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_tensor,
    check_device,
    check_limit,
    like_input,
    shape_text,
    widen,
)
from hud_fast.kernels._backend import readable
from hud_fast.kernels._op import Op
from hud_fast.kernels.cosine.basis import GATE, inverse_norms, span_basis
from hud_fast.kernels.cosine.door import Searcher, choose, prepare
from hud_fast.kernels.cosine.host import MemoryLimitError
from hud_fast.kernels.cosine.index import CosineIndex, read_endmembers
from hud_fast.kernels.cosine.reference import cosine_max_reference

__all__ = [
    "GATE",
    "CosineIndex",
    "MemoryLimitError",
    "Searcher",
    "cosine_max",
    "cosine_max_reference",
    "inverse_norms",
    "prepare",
    "read_endmembers",
    "span_basis",
]


def _native(
    query: Tensor, reference: Tensor, memory_limit: int | None = None
) -> tuple[Tensor, Tensor]:
    return _by("cpu", query, reference, memory_limit)


def _torch(
    query: Tensor, reference: Tensor, memory_limit: int | None = None
) -> tuple[Tensor, Tensor]:
    return _by("torch", query, reference, memory_limit)


def _tiles(
    query: Tensor, reference: Tensor, memory_limit: int | None = None
) -> tuple[Tensor, Tensor]:
    return _by("cuda", query, reference, memory_limit)


def _by(backend: str, query: Tensor, reference: Tensor, limit: int | None) -> tuple[Tensor, Tensor]:
    q = query.detach()
    return prepare(q, reference.detach(), backend=backend, memory_limit=limit).run(q)


def _fake(
    query: Tensor, reference: Tensor, memory_limit: int | None = None
) -> tuple[Tensor, Tensor]:
    del memory_limit
    torch._check(query.ndim == 2 and reference.ndim == 2, lambda: "cosine_max: expected matrices")
    torch._check(query.shape[1] == reference.shape[1], lambda: "cosine_max: band counts differ")
    rows = query.shape[0]
    return query.new_empty(rows, dtype=torch.float64), query.new_empty(rows, dtype=torch.int64)


_OP = Op(
    "cosine_max(Tensor query, Tensor reference, int? memory_limit=None) -> (Tensor value, Tensor index)",
    {"torch": _torch, "cpu": _native, "cuda": _tiles},
    fake=_fake,
    on_gpu="cuda",
    traced=False,
)


def cosine_max(
    query: ArrayT,  # (Q, C)
    reference: ArrayLike,  # (P, C)
    *,
    backend: str | None = None,
    memory_limit: int | None = None,
) -> tuple[ArrayT, ArrayT]:  # (Q,) float64, (Q,) int64
    """For each query spectrum, the largest cosine with any reference spectrum, and that spectrum's row.

    Parameters
    ----------
    query : ndarray or Tensor, shape (Q, C)
        Spectra to look up; any real dtype. A zero row gives 0, a row with a non-finite band NaN and index -1.
    reference : ndarray or Tensor, shape (P, C)
        Spectra to look among. Zero and non-finite rows take no part.
    backend : {None, "cpu", "torch", "cuda"}
        Force an implementation; None takes the fastest, on a GPU "cuda" where `check_gpu` has proved it. "cuda"
        compares a few queries of a call with brute force.
    memory_limit : int, optional
        Bytes of scratch beyond inputs and outputs, whatever Q is; the compiled kernels keep to it, the plain torch
        reference does not. None works on a million queries at a time.

    Returns
    -------
    value : (Q,) float64
        The cosine, in [-1, 1], computed in float64 from the bands as given. Not differentiable.
    index : (Q,) int64
        The lowest reference row that attains it.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers.
    ValueError
        Where the shapes do not fit, no reference row has a direction, or `memory_limit` is too small to work in.
    RuntimeError
        For tensors on different devices, a backend that cannot run, or where brute force contradicts a GPU's search.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 16.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> value, index = hud.cosine_max(np.array([[2.0, 2.0]]), np.array([[1.0, 0.0], [3.0, 3.0]]))
    >>> float(value[0].round(12)), int(index[0])
    (1.0, 1)
    """
    q = widen(as_tensor("cosine_max", "query", query))
    u = widen(as_tensor("cosine_max", "reference", reference))
    if q.ndim != 2 or q.shape[1] == 0:
        raise ValueError(
            f"cosine_max: `query` must have shape (Q, C) with C >= 1, got {shape_text(q)}"
        )
    if u.ndim != 2 or u.shape[1] != q.shape[1]:
        raise ValueError(
            f"cosine_max: `reference` must have shape (P, C) with C = {q.shape[1]} as in `query`, got {shape_text(u)}"
        )
    check_device("cosine_max", "reference", u, q.device, "query")
    limit = check_limit("cosine_max", memory_limit)
    backend = choose(q, u, None, backend, limit)
    if readable(u) and not _has_direction(u):
        raise ValueError(
            "cosine_max: `reference` must have at least one finite, non-zero row, got "
            + (f"none among {len(u)}" if len(u) else f"shape {shape_text(u)}")
        )
    value, index = _OP(q.detach(), u.detach(), limit, backend=backend)
    return like_input(value, query), like_input(index, query)


def _has_direction(rows: Tensor) -> bool:
    """Whether any row is finite and above 1e-300, as the kernels ask; looks at a few before it looks at all."""
    for part in (rows[:64], rows):
        finite = torch.isfinite(part).all(-1)
        if bool((finite & (part.abs() > 1e-300).any(-1)).any()):
            return True
    return False
