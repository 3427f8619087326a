"""What the compiled FCLS reads of its endmembers: factors, Gram matrix, first guess; padded to whole vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.kernels._native import C
from hud_fast.kernels.fcls.reference import ReducedProblem

MOST = C.fcls_most_endmembers  # of the fast path: its supports are bit masks of one word
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


def _pad(table: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    return np.pad(table, [(0, 0)] * (table.ndim - 1) + [(0, columns - table.shape[-1])])


def fcls_tables(problem: ReducedProblem, sum_to_one: bool) -> FCLSTables:
    """Tables of a problem on the CPU, by NumPy, whose bits do not follow torch's thread count.

    `start` divides each abundance by its standard deviation at unit noise: t statistics.
    """
    R = problem.columns.numpy()
    D, rank = R.shape
    wide = -(-rank // 4) * 4
    basis, columns = _pad(problem.basis.numpy(), wide), _pad(R, wide)
    freedom = 1 / max(1, len(problem.basis) - rank)
    if D > MOST:
        none = torch.empty(0, dtype=torch.float64, device="cpu")
        return FCLSTables(
            _tensor(basis), _tensor(columns), none, none, none, none, freedom, refine=False
        )
    padded = -(-D // 16) * 16
    gram = columns @ columns.T
    if sum_to_one:
        gram = gram + (problem.column_max**2 or 1.0)
    inverse = np.linalg.pinv(R, rcond=_LOST)  # (rank, D): x = z @ inverse + offset
    deviation = np.linalg.norm(inverse, axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    offset = (1 / D if sum_to_one else 0.0) / deviation
    start = _pad((inverse / deviation).T, wide).T
    return FCLSTables(
        _tensor(basis),
        _tensor(columns),
        _tensor(_pad(columns.T, padded)),
        _tensor(_pad(gram, padded)),
        _tensor(_pad(start, padded)),
        _tensor(_pad(offset, padded)),
        freedom,
        refine=_condition(R) > _ILL,
    )


def _tensor(table: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(table))


def _condition(R: NDArray[np.float64]) -> float:
    """Largest over smallest singular value of the columns, those lost to rounding left out."""
    values = np.linalg.svd(R, compute_uv=False)
    kept = values[values > _LOST * values[0]]
    return float(values[0] / kept[-1]) if len(kept) else 1.0
