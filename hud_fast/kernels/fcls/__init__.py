"""Fully constrained least squares (FCLS) for many pixels (Heinz & Chang 2001; HUD, arXiv 2506.02601, eq. 2).

    x = argmin |y - A' x|^2  over  x >= 0, sum x = 1        (NNLS: x >= 0 alone)

Exact: every result carries a certificate, the duality gap max_i c_i - sum_i x_i c_i, c the negative gradient, which
bounds how far the objective is from its minimum. The way there (csrc/fcls/solve.h): pixels minus the mean endmember,
projected on the endmembers' QR factors in float64; a first support from the abundances that exceed their noise in the
solution without x >= 0; rounds in float32, one pixel in each vector lane, that drop what is negative and let in what
violates the optimality conditions most; the same in float64, which certifies. What cycles, breaks down or has more than
64 endmembers goes to a monotone active set that always ends (csrc/fcls/active_set.h). Shapes: pixels (..., C),
endmembers (D, C), abundances (..., D). A pixel costs C D multiplications for its projection and D^3 / 6 (few of them)
or about k^3 / 6 a round, k its support.

Gradients: at the optimum the support's equations are linear, so d x solves them for d y and d A (implicit function
theorem); abundances at zero have none. A pixel where the support changes has no gradient; one side's is given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_tensor,
    check_device,
    check_endmembers,
    check_flag,
    like_input,
    shape_text,
    widen,
)
from hud_fast.kernels._backend import capturing, readable
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op
from hud_fast.kernels.fcls import device as fcls_device
from hud_fast.kernels.fcls.reference import fcls_reference, reduce_problem
from hud_fast.kernels.fcls.tables import fcls_tables

_CERTIFIED = C.fcls_certified  # duality gap, in `FCLSResult`'s unit
_BACKWARD_CHUNK = 16384  # pixels whose (D + 1)^2 systems are held at once


class FCLSResult(NamedTuple):
    """Abundances with their certificate; arrays or tensors as the pixels were."""

    abundances: Any  # (..., D)
    residual: Any  # (...) float64: |y - A' x|, in the pixels' unit
    gap: Any  # (...) float64: duality gap over (|y - m| + max_i |a_i - m|)^2, m the mean endmember, or 0 for NNLS
    status: Any  # (...) int8: 0 optimal (gap <= 1e-12), 1 not certified, 2 pixel not finite or its square overflows


def _native(
    pixels: Tensor,
    endmembers: Tensor,
    sum_to_one: bool,
    shade: bool,
    status: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pixels = pixels.detach()
    problem = reduce_problem(endmembers.detach(), sum_to_one, shade)
    tables = fcls_tables(problem, sum_to_one)
    P, D = pixels.shape[0], endmembers.shape[0]
    abundances = empty((P, D), pixels)
    extras: tuple[Tensor | None, ...] = (None, None, None)
    if status:
        residual = torch.empty(P, dtype=torch.float64, device="cpu")
        extras = (
            residual,
            torch.empty_like(residual),
            torch.empty(P, dtype=torch.int8, device="cpu"),
        )
    C.fcls(
        pixels,
        problem.centre,
        problem.centred,
        problem.column_max,
        problem.scale,
        sum_to_one,
        D,
        *tables,
        abundances,
        *extras,
        torch.get_num_threads(),
    )
    return abundances, *(_filled(extra, i == 2) for i, extra in enumerate(extras))  # type: ignore[return-value]


def _cuda(
    pixels: Tensor,
    endmembers: Tensor,
    sum_to_one: bool,
    shade: bool,
    status: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    pixels = pixels.detach()
    tables = fcls_device.prepare(endmembers, sum_to_one, shade, pixels.device)
    to = fcls_device.results(pixels, tables, True)
    fcls_device.solve(pixels, tables, to)
    if not capturing(pixels):
        _solve_again(pixels, endmembers, sum_to_one, shade, to)
    empty = (part.new_empty(0) for part in to[1:] if part is not None)
    return (to.abundances, *empty) if not status else tuple(to)  # type: ignore[return-value]


def _solve_again(
    pixels: Tensor,
    endmembers: Tensor,
    sum_to_one: bool,
    shade: bool,
    to: fcls_device.Solution,
) -> None:
    """Pixels whose certificate fails, by the CPU's solver, put back. Reads one number back from the device.

    A pixel that is not finite is what it is: it is not asked again.
    """
    assert to.gap is not None
    assert to.status is not None
    rows = (~((to.status == 0) & (to.gap <= _CERTIFIED))).nonzero()[:, 0]
    if len(rows) == 0:
        return
    rows = rows[pixels[rows].isfinite().all(1)]
    some = pixels[rows].cpu()
    for part, found in zip(
        to, _native(some, endmembers.cpu(), sum_to_one, shade, True), strict=True
    ):
        assert part is not None
        part[rows] = found.to(part)


def _filled(extra: Tensor | None, flags: bool) -> Tensor:
    return (
        torch.empty(0, dtype=torch.int8 if flags else torch.float64, device="cpu")
        if extra is None
        else extra
    )


def _torch(
    pixels: Tensor,
    endmembers: Tensor,
    sum_to_one: bool,
    shade: bool,
    status: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    result = fcls_reference(
        pixels.detach(), endmembers.detach(), sum_to_one=sum_to_one, shade=shade
    )
    if status:
        return result
    return result[0], *(part.new_empty(0) for part in result[1:])  # type: ignore[return-value]


def _fcls_gradient(
    grad: Tensor,  # (P, D)
    pixels: Tensor,  # (P, C)
    endmembers: Tensor,  # (D, C)
    abundances: Tensor,  # (P, D)
    sum_to_one: bool,
) -> tuple[Tensor, Tensor]:  # (P, C), (D, C)
    """Implicit gradient: solve the support's equations for w, then dy = A' w and dA = w r' - x (A' w)'."""
    unit = endmembers.detach().double().abs().max()
    unit = torch.where(unit > 0, unit, 1.0)  # a tensor: this is traced by torch.compile
    A = endmembers.double() / unit
    if (
        sum_to_one
    ):  # then sum(w) = 0, so that a shift of all endmembers is free, and better conditioned
        shift = A.mean(0)
        A = A - shift
    else:
        shift = torch.zeros_like(A[0])
    D = len(A)
    gram = A @ A.T
    to_pixels, to_endmembers = torch.empty_like(pixels), torch.zeros_like(A)
    for start in range(0, len(pixels), _BACKWARD_CHUNK):
        part = slice(start, start + _BACKWARD_CHUNK)
        x = abundances[part].double()
        x = torch.where(
            torch.isfinite(x).all(1, keepdim=True), x, 0.0
        )  # a bad pixel has no gradient
        member = x > 0
        on = member.double()
        system = x.new_zeros(len(x), D + 1, D + 1)
        system[:, :D, :D] = gram * on[:, :, None] * on[:, None, :] + torch.diag_embed(1 - on)
        if sum_to_one:
            system[:, :D, D] = system[:, D, :D] = on
            system[:, D, D] = 1 - on.amax(1)  # solvable without a support, too
        else:
            system[:, D, D] = 1
        right = torch.nn.functional.pad(torch.where(member, grad[part].double(), 0.0), (0, 1))
        w = torch.linalg.solve_ex(system, right)[0][:, :D] * on
        direction = w @ A
        to_pixels[part] = (direction / unit).to(pixels.dtype)
        residual = pixels[part].double() / unit - shift - x @ A
        residual = torch.where(member.any(1, keepdim=True), residual, 0.0)
        to_endmembers += w.T @ residual - x.T @ direction
    return to_pixels, (to_endmembers / unit).to(endmembers.dtype)


def _fake(
    pixels: Tensor,
    endmembers: Tensor,
    sum_to_one: bool,
    shade: bool,
    status: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch._check(pixels.ndim == 2 and endmembers.ndim == 2, lambda: "fcls: expected matrices")
    torch._check(pixels.shape[1] == endmembers.shape[1], lambda: "fcls: band counts differ")
    P = pixels.shape[0]
    extra = P if status else 0
    return (
        pixels.new_empty(P, endmembers.shape[0]),
        pixels.new_empty(extra, dtype=torch.float64),
        pixels.new_empty(extra, dtype=torch.float64),
        pixels.new_empty(extra, dtype=torch.int8),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    pixels, endmembers, sum_to_one, shade, *_ = inputs
    ctx.save_for_backward(pixels, endmembers, output[0])
    ctx.constrained = (
        sum_to_one and not shade
    )  # with a shade the sum binds only where the shade is 0
    ctx.shade = shade
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    pixels, endmembers, abundances = ctx.saved_tensors
    if ctx.shade:
        rest = (1 - abundances.sum(1, keepdim=True)).clamp_min(0)
        rest = torch.where(rest > 1e-6, rest, 0.0)  # rounding of the sum is not a shade
        full = torch.cat([abundances, rest], 1)
        black = torch.cat([endmembers, torch.zeros_like(endmembers[:1])])
        wide = torch.nn.functional.pad(grad, (0, 1))
        to_pixels, to_endmembers = _fcls_gradient(wide, pixels, black, full, True)
        return to_pixels, to_endmembers[:-1]
    return _fcls_gradient(grad, pixels, endmembers, abundances, ctx.constrained)


_OP = Op(
    "fcls(Tensor pixels, Tensor endmembers, bool sum_to_one, bool shade, bool status)"
    " -> (Tensor abundances, Tensor residual, Tensor gap, Tensor status)",
    {"torch": _torch, "cpu": _native, "cuda": _cuda},
    fake=_fake,
    setup=_setup,
    backward=_backward,
    on_gpu="cuda",
    traced=False,
)


def fcls(
    pixels: ArrayT,  # (..., C)
    endmembers: ArrayLike,  # (D, C)
    *,
    sum_to_one: bool = True,
    shade: bool = False,
    return_status: bool = False,
    backend: str | None = None,
) -> Any:  # (..., D), or FCLSResult
    """Abundances of every pixel by fully constrained least squares: x >= 0 exactly, sum x = 1 to rounding, optimal.

    Parameters
    ----------
    pixels : ndarray or Tensor, shape (..., C)
        Spectra in any unit; float32 or float64, any strides; integers are converted. A pixel with a non-finite band
        gives NaN abundances for itself only.
    endmembers : ndarray or Tensor, shape (D, C)
        One finite spectrum a row, in the pixels' unit. Near-duplicate and dependent rows are fine.
    sum_to_one : bool
        False solves non-negative least squares (NNLS).
    shade : bool
        Adds a zero spectrum to the endmembers and leaves its abundance out, so that the sum may fall below 1 where a
        pixel is darker than its material (needs ``sum_to_one=True``).
    return_status : bool
        Return an `FCLSResult` with residual, relative duality gap and status beside the abundances; all three are of
        the float64 solution, before float32 abundances are rounded. Without the sum constraint the gap is the largest
        violation of the optimality conditions, max_i c_i or |x . c|, in the same unit, rounding of x . c included.
    backend : {None, "cpu", "cuda", "torch"}
        Force an implementation; None takes the fastest, on a GPU the one that `check_gpu` has proved there. "cuda"
        sends pixels whose certificate fails to the CPU's solver.

    Returns
    -------
    ndarray or Tensor, shape (..., D), or FCLSResult
        Same kind and device as `pixels`; float32 for float32 pixels, else float64 (computed in float64 either way).
        Differentiable in both arguments for tensors.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers.
    ValueError
        For shapes that do not fit, no or non-finite endmembers, or ``shade`` without ``sum_to_one``.

    References
    ----------
    Heinz & Chang, IEEE TGRS 39(3), 2001; Lawson & Hanson, Solving Least Squares Problems, ch. 23; HUD, arXiv
    2506.02601, eq. 2.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> endmembers = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> hud.fcls(np.array([[0.25, 0.75, 0.0], [2.0, 0.0, 0.0]]), endmembers)
    array([[0.25, 0.75],
           [1.  , 0.  ]])
    """
    y, A = as_tensor("fcls", "pixels", pixels), as_tensor("fcls", "endmembers", endmembers)
    sum_to_one = check_flag("fcls", "sum_to_one", sum_to_one)
    shade, status = (
        check_flag("fcls", "shade", shade),
        check_flag("fcls", "return_status", return_status),
    )
    if shade and not sum_to_one:
        raise ValueError("fcls: `shade` must be False where `sum_to_one` is False, got True")
    y = y if y.dtype in (torch.float32, torch.float64) else y.to(_result_dtype(y))
    A = widen(A)
    if y.ndim == 0 or y.shape[-1] == 0:
        raise ValueError(
            f"fcls: `pixels` must have shape (..., C) with C >= 1, got {shape_text(y)}"
        )
    check_endmembers("fcls", A, y.shape[-1], readable=readable(A))
    check_device("fcls", "endmembers", A, y.device, "pixels")
    flat = y.reshape(-1, y.shape[-1])
    parts = _OP(flat, A, sum_to_one, shade, status, backend=backend)
    lead = y.shape[:-1]
    abundances = like_input(parts[0].reshape(*lead, A.shape[0]), pixels)
    if not status:
        return abundances
    return FCLSResult(abundances, *(like_input(part.reshape(lead), pixels) for part in parts[1:]))


def _result_dtype(pixels: Tensor) -> torch.dtype:
    return torch.float32 if pixels.dtype in (torch.float16, torch.bfloat16) else torch.float64
