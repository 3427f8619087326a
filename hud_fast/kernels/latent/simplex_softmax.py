"""Softmax over the D endmembers: from log-projected values back onto the simplex (HUD, arXiv 2506.02601, eq. 6).

    x_i = exp(z_i - max z) / sum_j exp(z_j - max z);   softmax(ln(x + delta)) = (x + delta) / (1 + e^-8)

Shapes: any, with the D endmembers along `dim`. A row with NaN or +inf gives NaN in that row only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import ArrayT, as_floating, like_input
from hud_fast.kernels._backend import on_stream
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op, contiguous
from hud_fast.kernels.latent.log_project import check_dim
from hud_fast.kernels.latent.standard import sizes_around


def simplex_softmax_reference(
    z: Tensor,  # (..., D, ...)
    dim: int,
) -> Tensor:
    """Eq. 6 in plain torch."""
    e = torch.exp(z - z.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def simplex_softmax_backward_reference(grad: Tensor, abundances: Tensor, dim: int) -> Tensor:
    """d loss / d z = x (g - sum_i g_i x_i)."""
    return abundances * (grad - (grad * abundances).sum(dim, keepdim=True))


def _native(z: Tensor, dim: int) -> Tensor:
    z = z.detach().contiguous()
    x = empty(z.shape, z)
    C.simplex_softmax(z, x, *sizes_around(z, dim), torch.get_num_threads())
    return x


def _native_backward(grad: Tensor, abundances: Tensor, dim: int) -> Tensor:
    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gz = empty(x.shape, x)
    C.simplex_softmax_backward(g, x, gz, *sizes_around(x, dim), torch.get_num_threads())
    return gz


def _cuda(z: Tensor, dim: int) -> Tensor:
    z = z.detach().contiguous()
    x = torch.empty_like(z)
    C.cuda_simplex_softmax(
        z.data_ptr(),
        0,
        x.data_ptr(),
        z.dtype == torch.float32,
        *sizes_around(z, dim),
        *on_stream(z),
    )
    return x


def _cuda_backward(grad: Tensor, abundances: Tensor, dim: int) -> Tensor:
    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gz = torch.empty_like(x)
    C.cuda_simplex_softmax(
        g.data_ptr(),
        x.data_ptr(),
        gz.data_ptr(),
        x.dtype == torch.float32,
        *sizes_around(x, dim),
        *on_stream(x),
    )
    return gz


def _triton(z: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    z = z.detach().contiguous()
    x = torch.empty_like(z)
    simplex.softmax(z, x, sizes_around(z, dim)).run("simplex_softmax", z)
    return x


def _triton_backward(grad: Tensor, abundances: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gz = torch.empty_like(x)
    simplex.softmax(g, gz, sizes_around(x, dim), x=x).run("simplex_softmax", x)
    return gz


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(output)
    ctx.dim = inputs[1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor]:
    (x,) = ctx.saved_tensors
    return (torch.ops.hud_fast.simplex_softmax_backward(grad, x, ctx.dim, backend=ctx.backend),)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *saved, ctx.dim = inputs
    ctx.save_for_backward(*saved)


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    g, x = ctx.saved_tensors
    along = (grad * x).sum(ctx.dim, keepdim=True)
    to_grad = x * (grad - along)
    to_abundances = grad * (g - (g * x).sum(ctx.dim, keepdim=True)) - g * along
    return to_grad, to_abundances


_OP = Op(
    "simplex_softmax(Tensor z, int dim) -> Tensor",
    {
        "torch": contiguous(simplex_softmax_reference),
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
    "simplex_softmax_backward(Tensor grad, Tensor abundances, int dim) -> Tensor",
    {
        "torch": contiguous(simplex_softmax_backward_reference),
        "cpu": _native_backward,
        "cuda": _cuda_backward,
        "triton": _triton_backward,
    },
    setup=_setup_backward,
    backward=_double_backward,
    gradient_of=_OP,
)


def simplex_softmax(
    z: ArrayT,  # (..., D, ...)
    dim: int = -1,
    *,
    backend: str | None = None,
) -> ArrayT:  # as z
    """Abundances on the simplex from log-projected values: softmax over the endmember axis.

    Parameters
    ----------
    z : ndarray or Tensor, shape (..., D, ...)
        Log-projected abundances; float16, bfloat16, float32 or float64.
    dim : int
        The axis of the D endmembers.
    backend : {None, "cpu", "cuda", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    ndarray or Tensor
        Abundances, >= 0 and summing to 1 over `dim`; same kind, shape, dtype and device; differentiable for tensors.

    Raises
    ------
    TypeError
        For anything but an array or tensor of floats.
    ValueError
        For a `dim` that does not exist or has length 0.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 6.

    Examples
    --------
    >>> import torch, hud_fast as hud
    >>> maps = hud.simplex_softmax(torch.zeros(2, 4, 8, 8), dim=1)
    >>> float(maps[0, :, 0, 0].sum())
    1.0
    """
    tensor = as_floating("simplex_softmax", "z", z)
    axis = check_dim("simplex_softmax", "z", tensor, dim)
    return like_input(_OP(tensor, axis, backend=backend), z)
