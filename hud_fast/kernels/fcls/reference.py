"""FCLS in plain torch: the same monotone active set, over a batch of pixels with masked dense systems.

Readable and runs on any device; (P, D + 1, D + 1) systems a step make it slow and memory-hungry: the compiled kernel is
the fast path. Gram matrices here cost the square of the condition number: near-duplicate endmembers are exact to about
1e-8 of the objective only, which the returned gap shows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hud_fast._checks import unit_scale
from hud_fast.kernels._native import C

_CHUNK = 16384


class ReducedProblem(NamedTuple):
    """FCLS after scaling, centring and QR: min |z - columns' x| with z = basis' (scale y - centre)."""

    scale: float  # a power of two that brings the endmembers to 1: no square of theirs overflows or vanishes
    centre: Tensor  # (C,) float64: the mean scaled endmember, 0 for NNLS
    basis: Tensor  # (C, rank)
    columns: Tensor  # (D, rank)
    centred: Tensor  # (D, C)
    column_max: float  # largest centred endmember norm


def _qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Reduced QR; by NumPy on the CPU, whose bits do not follow torch's thread count."""
    if matrix.device.type != "cpu":
        basis, triangle = torch.linalg.qr(matrix)
        return basis, triangle
    q, r = np.linalg.qr(matrix.numpy())
    return torch.from_numpy(q), torch.from_numpy(r)


def reduce_problem(
    endmembers: Tensor,  # (D, C)
    sum_to_one: bool,
    shade: bool,
) -> ReducedProblem:
    """Centre on the mean (free under the sum constraint, and better conditioned) and factor."""
    A = endmembers.double()
    scale = unit_scale(A)
    A = A * scale
    if shade:
        A = torch.cat([A, torch.zeros_like(A[:1])])
    centre = A.mean(0) if sum_to_one else torch.zeros_like(A[0])
    centred = (A - centre).contiguous()
    basis, triangle = _qr(centred.T)
    if sum_to_one and 1 < len(A) <= A.shape[1]:
        # The centred endmembers sum to zero: the last direction is rounding.
        basis, triangle = basis[:, :-1], triangle[:-1]
    column_max = float(torch.linalg.vector_norm(centred, dim=1).max())
    return ReducedProblem(
        scale, centre, basis.contiguous(), triangle.T.contiguous(), centred, column_max
    )


def _support_step(
    gram: Tensor,  # (D, D)
    descent: Tensor,  # (P, D)
    on: Tensor,  # (P, D) bool
    sum_to_one: bool,
) -> Tensor:  # (P, D)
    """The step to the minimum on each pixel's support, keeping the sum."""
    P, D = descent.shape
    m = on.double()
    system = descent.new_zeros(P, D + 1, D + 1)
    system[:, :D, :D] = gram * m[:, :, None] * m[:, None, :] + torch.diag_embed(1 - m)
    if sum_to_one:
        system[:, :D, D] = system[:, D, :D] = m
    else:
        system[:, D, D] = 1
    right = torch.nn.functional.pad(descent * m, (0, 1))
    solution: Tensor = torch.linalg.solve_ex(system, right)[0]
    return solution[:, :D] * m


def _solve(
    z: Tensor,  # (P, rank)
    problem: ReducedProblem,
    norm: Tensor,  # (P,)
    sum_to_one: bool,
) -> tuple[Tensor, Tensor]:  # (P, D), (P,)
    R = problem.columns
    gram = R @ R.T
    P, D = len(z), len(R)
    x = z.new_zeros(P, D)
    if sum_to_one:
        nearest = ((R * R).sum(1) - 2 * z @ R.T).argmin(1)
        x[torch.arange(P, device=z.device), nearest] = 1
    on, blocked = x > 0, torch.zeros_like(x, dtype=torch.bool)
    reach = norm + problem.column_max
    tolerance = C.fcls_tolerance * problem.column_max * reach
    for _ in range(20 * D + 50):
        descent = (z - x @ R) @ R.T
        mean = (x * descent).sum(1)
        violation = (descent - mean[:, None]).masked_fill(on | blocked, -torch.inf)
        worst, entering = violation.max(1)
        todo = (worst > tolerance).nonzero()[:, 0]
        if len(todo) == 0:
            break
        enter = entering[todo]
        on[todo, enter] = True
        first = True
        while len(todo) > 0:
            now = (z[todo] - x[todo] @ R) @ R.T
            step = _support_step(gram, now, on[todo], sum_to_one)
            if first:
                lost = ~(step.gather(1, enter[:, None])[:, 0] > 0) | ~torch.isfinite(step).all(1)
                on[todo[lost], enter[lost]] = False
                blocked[todo[lost], enter[lost]] = True
                blocked[todo[~lost]] = False
                todo, step, first = todo[~lost], step[~lost], False
            room = torch.where(step < 0, -x[todo] / step, torch.inf)
            length, limit = room.min(1)
            partial = length < 1
            moved = x[todo] + length.clamp_max(1)[:, None] * step
            moved[partial, limit[partial]] = 0
            moved = moved.clamp_min(0)
            x[todo] = moved / moved.sum(1, keepdim=True) if sum_to_one else moved
            on[todo] &= (x[todo] > 0) | ~partial[:, None]
            todo = todo[partial]
        on &= x > 0
    descent = (z - x @ R) @ R.T
    mean, top = (x * descent).sum(1), descent.amax(1)
    # NNLS: x may be large where endmembers cancel, and the residual is known to eps * weight only.
    weight = x @ torch.linalg.vector_norm(R, dim=1)
    slack = mean.abs() + torch.finfo(torch.float64).eps * weight * reach
    gap = (top - mean) if sum_to_one else torch.maximum(top, slack)
    scale = reach * reach
    return x, torch.where(scale > 0, gap.clamp_min(0) / torch.where(scale > 0, scale, 1.0), 0.0)


def fcls_reference(
    pixels: Tensor,  # (P, C)
    endmembers: Tensor,  # (D, C)
    *,
    sum_to_one: bool = True,
    shade: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # (P, D), (P,), (P,), (P,)
    """Abundances, residual |y - A' x|, relative duality gap, and status (0 optimal, 1 not, 2 pixel not finite)."""
    problem = reduce_problem(endmembers, sum_to_one, shade)
    D = len(endmembers)
    parts = []
    for start in range(0, max(1, len(pixels)), _CHUNK):
        chunk = pixels[start : start + _CHUNK].double()
        finite = torch.isfinite(chunk).all(1)
        y = torch.where(finite[:, None], chunk * problem.scale - problem.centre, 0.0)
        x, gap = _solve(y @ problem.basis, problem, torch.linalg.vector_norm(y, dim=1), sum_to_one)
        residual = torch.linalg.vector_norm(y - x @ problem.centred, dim=1) / problem.scale
        status = torch.where(gap <= C.fcls_certified, 0, 1).to(torch.int8)
        bad = ~finite
        parts.append(
            (
                x.masked_fill(bad[:, None], torch.nan)[:, :D].to(pixels.dtype),
                residual.masked_fill(bad, torch.nan),
                gap.masked_fill(bad, torch.nan),
                status.masked_fill(bad, 2),
            )
        )
    abundances, residual, gap, status = (torch.cat(column) for column in zip(*parts, strict=True))
    return abundances, residual, gap, status
