"""Unconstrained abundances (eq. 3 of arXiv 2506.02601): least squares by QR.

x = argmin |y - A^T x|^2 for each pixel, with A (D, C) one endmember a row. A^T = Q R gives R x =
Q^T y, solved as a triangular system; (A A^T)^-1 is never formed, since it would square the
condition number. No constraint: values may be negative and need not sum to one.

Shapes: pixels (..., C), endmembers (D, C) -> (..., D). Cost: O(P C D).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import ArrayT, as_wide, check_endmembers, check_values, like_input
from hud_fast.unmixing.pixels import BLOCK_VALUES


def linear_abundances(
    pixels: ArrayT,  # (..., C)
    endmembers: Any,  # (D, C)
) -> ArrayT:  # (..., D)
    """Least-squares abundances without constraints; negative values stay.

    Computed in float64 whatever the input, differentiable with respect to `pixels`.

    Parameters
    ----------
    pixels : array or tensor, (..., C)
        Spectra. A pixel with a non-finite band gives NaN in that pixel only.
    endmembers : array or tensor, (D, C)
        One spectrum a row, in the unit of `pixels`; D <= C and linearly independent.

    Returns
    -------
    (..., D)
        The kind, device and dtype of `pixels` (float64 for integers, float32 for half precision).

    Raises
    ------
    TypeError
        Input that is not numeric.
    ValueError
        Shapes that do not fit, more endmembers than bands, dependent or non-finite endmembers.

    References
    ----------
    arXiv 2506.02601, eq. 3.

    Examples
    --------
    >>> import numpy as np
    >>> endmembers = np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    >>> pixels = np.array([[0.5, 1.0, 0.5], [1.0, -1.0, 1.0]])
    >>> linear_abundances(pixels, endmembers).round(6).tolist()
    [[0.5, 0.5], [1.0, -0.5]]
    """
    y = as_wide("linear_abundances", "pixels", pixels)
    check_values("linear_abundances", "pixels", y)
    if y.ndim < 1 or y.shape[-1] < 1:
        raise ValueError(
            f"linear_abundances: `pixels` must have shape (..., C), got {tuple(y.shape)}"
        )
    A = as_wide("linear_abundances", "endmembers", endmembers)
    check_values("linear_abundances", "endmembers", A)
    A = A.to(y.device)
    check_endmembers("linear_abundances", A, y.shape[-1])
    D, C = A.shape
    if D > C:
        raise ValueError(
            f"linear_abundances: `endmembers` must be at most as many as the bands, "
            f"C = {C}, got {D}"
        )
    Q, R = _qr(A.double())
    flat = y.reshape(-1, C)
    rows = max(1, BLOCK_VALUES // C)
    parts = [_solve(flat[i : i + rows], Q, R) for i in range(0, max(len(flat), 1), rows)]
    return like_input(torch.cat(parts).reshape(*y.shape[:-1], D), pixels)


def _qr(A: Tensor) -> tuple[Tensor, Tensor]:  # (D, C) -> (C, D), (D, D)
    Q, R = torch.linalg.qr(A.T)
    values = torch.linalg.svdvals(A)
    if not bool(values[-1] > values[0] * max(A.shape) * torch.finfo(A.dtype).eps):
        raise ValueError(
            "linear_abundances: `endmembers` must be linearly independent, "
            f"got singular values from {float(values[0]):.3g} down to {float(values[-1]):.3g}"
        )
    return Q, R


def _solve(
    block: Tensor,  # (n, C)
    Q: Tensor,  # (C, D)
    R: Tensor,  # (D, D)
) -> Tensor:  # (n, D)
    """One block, in float64; rows with a non-finite band become NaN as a whole."""
    good = torch.isfinite(block).all(dim=1, keepdim=True)
    y = torch.where(good, block, 0).double()
    x = torch.linalg.solve_triangular(R, (y @ Q).T, upper=True).T
    return torch.where(good, x, torch.nan).to(block.dtype)
