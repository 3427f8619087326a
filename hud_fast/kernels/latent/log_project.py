"""Log-projection of abundances (HUD, arXiv 2506.02601, eqs. 4 and 5).

    z = ln(x + delta),  delta = exp(-ln D - 8) = e^-8 / D

takes abundances off the simplex into a space where a Gaussian diffusion makes sense. Softmax over D brings them back:
softmax(z) = (x + delta) / (1 + e^-8) (eq. 6). Linear unmixing may leave negative abundances: they count as 0 here.

Shapes: any, with the D endmembers along `dim`. One pass: reads and writes each value once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import ArrayT, as_floating, as_index, like_input, shape_text
from hud_fast.kernels._backend import on_stream
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op, contiguous


def delta_of(D: int) -> float:
    """The floor of eq. 4, e^-8 / D."""
    return math.exp(-8.0) / D


def log_project_reference(
    abundances: Tensor,  # (..., D, ...)
    delta: float,
) -> Tensor:
    """Eq. 4 in plain torch."""
    return torch.log(abundances.clamp_min(0) + delta)


def log_project_backward_reference(grad: Tensor, abundances: Tensor, delta: float) -> Tensor:
    """d loss / d x: g / (x + delta), and 0 where x < 0 was cut off."""
    return torch.where(abundances < 0, 0.0, grad / (abundances + delta))


def _native(abundances: Tensor, delta: float) -> Tensor:
    x = abundances.detach().contiguous()
    z = empty(x.shape, x)
    C.log_project(x, z, delta, torch.get_num_threads())
    return z


def _native_backward(grad: Tensor, abundances: Tensor, delta: float) -> Tensor:
    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gx = empty(x.shape, x)
    C.log_project_backward(g, x, gx, delta, torch.get_num_threads())
    return gx


def _cuda(abundances: Tensor, delta: float) -> Tensor:
    x = abundances.detach().contiguous()
    z = torch.empty_like(x)
    C.cuda_log_project(
        x.data_ptr(), z.data_ptr(), x.dtype == torch.float32, x.numel(), delta, *on_stream(x)
    )
    return z


def _cuda_backward(grad: Tensor, abundances: Tensor, delta: float) -> Tensor:
    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gx = torch.empty_like(x)
    C.cuda_log_project_backward(
        g.data_ptr(),
        x.data_ptr(),
        gx.data_ptr(),
        x.dtype == torch.float32,
        x.numel(),
        delta,
        *on_stream(x),
    )
    return gx


def _triton(abundances: Tensor, delta: float) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    x = abundances.detach().contiguous()
    z = torch.empty_like(x)
    simplex.log_project(x, z, delta).run("log_project", x)
    return z


def _triton_backward(grad: Tensor, abundances: Tensor, delta: float) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gx = torch.empty_like(x)
    simplex.log_project(x, gx, delta, g).run("log_project", x)
    return gx


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    abundances, ctx.delta = inputs
    ctx.save_for_backward(abundances)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor]:
    (x,) = ctx.saved_tensors
    return (torch.ops.hud_fast.log_project_backward(grad, x, ctx.delta, backend=ctx.backend),)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *saved, ctx.delta = inputs
    ctx.save_for_backward(*saved)


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    g, x = ctx.saved_tensors
    slope = torch.where(x < 0, 0.0, 1 / (x + ctx.delta))
    return grad * slope, -grad * g * slope * slope


_OP = Op(
    "log_project(Tensor abundances, float delta) -> Tensor",
    {
        "torch": contiguous(log_project_reference),
        "cpu": _native,
        "cuda": _cuda,
        "triton": _triton,
    },
    setup=_setup,
    backward=_backward,
    on_gpu="triton",
    halves=True,
)
Op(
    "log_project_backward(Tensor grad, Tensor abundances, float delta) -> Tensor",
    {
        "torch": contiguous(log_project_backward_reference),
        "cpu": _native_backward,
        "cuda": _cuda_backward,
        "triton": _triton_backward,
    },
    setup=_setup_backward,
    backward=_double_backward,
    gradient_of=_OP,
)


def check_dim(op: str, name: str, tensor: Tensor, dim: int) -> int:
    """`dim` counted from the front; an error where it is no integer, or the tensor has no such axis or an empty one."""
    dim = as_index(op, "dim", dim)
    if tensor.ndim == 0 or not -tensor.ndim <= dim < tensor.ndim:
        raise ValueError(
            f"{op}: `dim` must name an axis of `{name}` with shape {shape_text(tensor)}, got {dim}"
        )
    if tensor.shape[dim] == 0:
        raise ValueError(
            f"{op}: `{name}` must have D >= 1 along dim {dim}, got shape {shape_text(tensor)}"
        )
    return dim % tensor.ndim


def log_project(
    abundances: ArrayT,  # (..., D, ...)
    dim: int = -1,
    *,
    backend: str | None = None,
) -> ArrayT:  # as abundances
    """Log-projected abundances z = ln(max(x, 0) + e^-8 / D).

    Parameters
    ----------
    abundances : ndarray or Tensor, shape (..., D, ...)
        Abundances (fractions), float16, bfloat16, float32 or float64; negative ones count as 0; NaN stays NaN.
    dim : int
        The axis of the D endmembers: -1 for band-last arrays, 1 for channel-first maps (B, D, H, W).
    backend : {None, "cpu", "cuda", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    ndarray or Tensor
        z, same kind, shape, dtype and device; differentiable for tensors.

    Raises
    ------
    TypeError
        For anything but an array or tensor of floats.
    ValueError
        For a `dim` that does not exist or has length 0.

    References
    ----------
    HUD, arXiv 2506.02601, eqs. 4 and 5.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> z = hud.log_project(np.array([[0.0, 0.25, 0.75]]))
    >>> z.round(3)
    array([[-9.099, -1.386, -0.288]])
    >>> hud.simplex_softmax(z).round(4)
    array([[1.000e-04, 2.500e-01, 7.499e-01]])
    """
    x = as_floating("log_project", "abundances", abundances)
    axis = check_dim("log_project", "abundances", x, dim)
    return like_input(_OP(x, delta_of(x.shape[axis]), backend=backend), abundances)
