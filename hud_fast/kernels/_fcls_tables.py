"""What the compiled FCLS reads of its endmembers: factors, Gram matrix, first guess; padded to whole vectors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hud_fast.kernels._fcls_reference import ReducedProblem

MOST = 64  # endmembers that the fast path takes: its supports are bit masks of one word
_ILL = 2e3  # condition number from which on x is refined: its error would pass 1e-10
_LOST = 1e-12  # share of the largest singular value below which a direction is rounding


class FCLSTables(NamedTuple):
    """In the order that the binding takes them; those of the fast path are empty beyond `MOST` endmembers."""

    basis: Tensor  # (C, rank)
    columns: Tensor  # (D, rank): R
    columns_t: Tensor  # (rank, padded)
    gram: Tensor  # (D, padded): R R', plus column_max^2 with the sum constraint
    start: Tensor  # (rank, padded): z to the solution without x >= 0, in units of its noise
    start_offset: Tensor  # (padded)
    per_freedom: float  # 1 / (C - rank)
    refine: bool  # ill-conditioned: one more step on the residual


def _pad(table: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(table, (0, columns - table.shape[-1])).contiguous()


def fcls_tables(problem: ReducedProblem, sum_to_one: bool) -> FCLSTables:
    """Tables of a problem. `start` divides each abundance by its standard deviation at unit noise: t statistics."""
    R = problem.columns
    D, rank = R.shape
    wide = -(-rank // 4) * 4
    basis, columns = _pad(problem.basis, wide), _pad(R, wide)
    freedom = 1 / max(1, len(problem.basis) - rank)
    if D > MOST:
        none = R.new_empty(0)
        return FCLSTables(basis, columns, none, none, none, none, freedom, False)
    padded = -(-D // 16) * 16
    gram = columns @ columns.T
    if sum_to_one:
        gram = gram + (problem.column_max**2 or 1.0)
    inverse = torch.linalg.pinv(R, rtol=_LOST)  # (rank, D): x = z @ inverse + offset
    deviation = torch.linalg.vector_norm(inverse, dim=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    offset = (1 / D if sum_to_one else 0.0) / deviation
    start = _pad((inverse / deviation).T, wide).T
    return FCLSTables(
        basis,
        columns,
        _pad(columns.T, padded),
        _pad(gram, padded),
        _pad(start, padded),
        _pad(offset, padded),
        freedom,
        refine=_condition(R) > _ILL,
    )


def _condition(R: Tensor) -> float:
    """Largest over smallest singular value of the columns, those lost to rounding left out."""
    values = torch.linalg.svdvals(R)
    kept = values[values > _LOST * values[0]]
    return float(values[0] / kept[-1]) if len(kept) else 1.0
