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
_FEW = 16  # endmembers up to which the first guess goes by t statistics
_RIDGE = 0.03  # of the first guess beyond, in units of the largest endmember ...
_PRESENT = 0.04  # ... and the abundance from which on an endmember is in it
_LOST = 1e-12  # share of the largest singular value below which a direction is rounding


class FCLSTables(NamedTuple):
    """In the order that the binding takes them; those of the fast path are empty beyond `MOST` endmembers."""

    basis: Tensor  # (C, rank)
    columns: Tensor  # (D, rank): R
    columns_t: Tensor  # (rank, padded)
    gram: Tensor  # (D, padded): R R', plus column_max^2 with the sum constraint
    start: Tensor  # (rank, padded): z to what the first guess judges by
    start_offset: Tensor  # (padded)
    per_freedom: float  # 1 / (C - rank), or 0 where the first guess does not ask for the noise
    refine: bool  # ill-conditioned: one more step on the residual


def _pad(table: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    wide = np.zeros((*table.shape[:-1], columns))  # np.pad takes ten times as long
    wide[..., : table.shape[-1]] = table
    return wide


def fcls_tables(problem: ReducedProblem, sum_to_one: bool) -> FCLSTables:
    """Tables of a problem on the CPU, by NumPy, whose bits do not follow torch's thread count.

    `start` is least squares, each abundance divided by its standard deviation at unit noise: t statistics. Many
    endmembers are too alike for that, half of what it guesses is noise: there a ridge shrinks the abundances, whose
    size the sum constraint tells, and `per_freedom` is 0, as no noise is to be exceeded.
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
    left, values, right = np.linalg.svd(R, full_matrices=False)
    kept = values[values > _LOST * values.max(initial=0.0)]
    left, right = left[:, : len(kept)], right[: len(kept)]
    # (rank, D): x = z @ inverse + mean
    mean = 1 / D if sum_to_one else 0.0
    if sum_to_one and D > _FEW:
        inverse = (right.T * (kept / (kept**2 + (_RIDGE * problem.column_max) ** 2))) @ left.T
        offset, freedom = np.full(D, mean - _PRESENT), 0.0
    else:
        inverse = (right.T / kept) @ left.T
        deviation = np.linalg.norm(inverse, axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        inverse, offset = inverse / deviation, mean / deviation
    return FCLSTables(
        _tensor(basis),
        _tensor(columns),
        _tensor(_pad(columns.T, padded)),
        _tensor(_pad(gram, padded)),
        _tensor(_pad(_pad(inverse.T, wide).T, padded)),
        _tensor(_pad(offset, padded)),
        freedom,
        refine=len(kept) > 0 and bool(kept[0] / kept[-1] > _ILL),
    )


def _tensor(table: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(table))
