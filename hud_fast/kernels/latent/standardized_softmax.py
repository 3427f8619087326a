"""The latent space's decoding in one pass: standardisation undone, then softmax (HUD, arXiv 2506.02601, eq. 6).

    x = softmax over D of (std z + mean)

Shapes: any, with the D endmembers along `dim`. A line with NaN or +inf gives NaN in that line only. It undoes
`log_standardize` up to eq. 6's factor: softmax(ln(x + delta)) = (x + delta) / (1 + e^-8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import ArrayLike, ArrayT, as_floating, like_input
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op, contiguous
from hud_fast.kernels.latent.log_project import check_dim
from hud_fast.kernels.latent.simplex_softmax import (
    simplex_softmax_backward_reference,
    simplex_softmax_reference,
)
from hud_fast.kernels.latent.standard import along, on_cpu, on_device, sizes_around, statistic


def standardized_softmax_reference(
    z: Tensor,  # (..., D, ...)
    mean: Tensor,  # (D,)
    std: Tensor,  # (D,)
    dim: int,
) -> Tensor:
    """The formula in plain torch."""
    return simplex_softmax_reference(z * along(std, z, dim) + along(mean, z, dim), dim)


def standardized_softmax_backward_reference(
    grad: Tensor, abundances: Tensor, std: Tensor, dim: int
) -> Tensor:
    """d loss / d z = std x (g - sum_i g_i x_i)."""
    inner = simplex_softmax_backward_reference(grad, abundances, dim)
    return inner * along(std, inner, dim)


def _native(z: Tensor, mean: Tensor, std: Tensor, dim: int) -> Tensor:
    z = z.detach().contiguous()
    x = empty(z.shape, z)
    threads = torch.get_num_threads()
    C.standardized_softmax(z, None, x, *sizes_around(z, dim), on_cpu(mean), on_cpu(std), threads)
    return x


def _native_backward(grad: Tensor, abundances: Tensor, std: Tensor, dim: int) -> Tensor:
    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gz, s = empty(x.shape, x), on_cpu(std)
    C.standardized_softmax(g, x, gz, *sizes_around(x, dim), s, s, torch.get_num_threads())
    return gz


def _triton(z: Tensor, mean: Tensor, std: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    z = z.detach().contiguous()
    x = torch.empty_like(z)
    m, s = on_device(mean, z), on_device(std, z)
    simplex.softmax(z, x, sizes_around(z, dim), mean=m, std=s).run("standardized_softmax", z)
    return x


def _triton_backward(grad: Tensor, abundances: Tensor, std: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gz, s = torch.empty_like(x), on_device(std, x)
    launch = simplex.softmax(g, gz, sizes_around(x, dim), x=x, mean=s, std=s)
    launch.run("standardized_softmax", x)
    return gz


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, std, ctx.dim = inputs
    ctx.save_for_backward(output, std)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor]:
    x, std = ctx.saved_tensors
    backward = torch.ops.hud_fast.standardized_softmax_backward
    return (backward(grad, x, std, ctx.dim, backend=ctx.backend),)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *saved, ctx.dim = inputs
    ctx.save_for_backward(*saved)


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    g, x, std = ctx.saved_tensors
    outer = grad * along(std, grad, ctx.dim)
    total = (outer * x).sum(ctx.dim, keepdim=True)
    to_grad = x * (outer - total)
    to_abundances = outer * (g - (g * x).sum(ctx.dim, keepdim=True)) - g * total
    return to_grad, to_abundances


_OP = Op(
    "standardized_softmax(Tensor z, Tensor mean, Tensor std, int dim) -> Tensor",
    {
        "torch": contiguous(standardized_softmax_reference),
        "cpu": _native,
        "triton": _triton,
    },
    setup=_setup,
    backward=_backward,
    on_gpu="triton",
    halves=True,
)
Op(
    "standardized_softmax_backward(Tensor grad, Tensor abundances, Tensor std, int dim) -> Tensor",
    {
        "torch": contiguous(standardized_softmax_backward_reference),
        "cpu": _native_backward,
        "triton": _triton_backward,
    },
    setup=_setup_backward,
    backward=_double_backward,
    gradient_of=_OP,
)


def standardized_softmax(
    z: ArrayT,  # (..., D, ...)
    mean: ArrayLike | Sequence[float],  # (D,)
    std: ArrayLike | Sequence[float],  # (D,)
    dim: int = -1,
    *,
    backend: str | None = None,
) -> ArrayT:  # as z
    """Abundances on the simplex from standardised z: softmax of std z + mean over the endmember axis, in one pass.

    Parameters
    ----------
    z : ndarray or Tensor, shape (..., D, ...)
        Standardised log-projected abundances; float16, bfloat16, float32 or float64.
    mean, std : ndarray, Tensor or sequence, shape (D,)
        What `log_standardize` was given; constants: no gradient flows into them.
    dim : int
        The axis of the D endmembers.
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    ndarray or Tensor
        Abundances, >= 0 and summing to 1 over `dim`; same kind, shape, dtype and device; differentiable in `z`.

    Raises
    ------
    TypeError
        For anything but an array or tensor of floats.
    ValueError
        For a `dim` that does not exist or has length 0; for `mean` or `std` of another shape, not finite, or std <= 0.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 6.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> mean, std = [-5.0, -1.0, -1.0], [2.0, 1.0, 1.0]
    >>> x = np.array([[0.0, 0.25, 0.75]])
    >>> hud.standardized_softmax(hud.log_standardize(x, mean, std), mean, std).round(4)
    array([[1.000e-04, 2.500e-01, 7.499e-01]])
    """
    tensor = as_floating("standardized_softmax", "z", z)
    axis = check_dim("standardized_softmax", "z", tensor, dim)
    centre = statistic("standardized_softmax", "mean", mean, tensor.shape[axis])
    spread = statistic("standardized_softmax", "std", std, tensor.shape[axis], positive=True)
    return like_input(_OP(tensor, centre, spread, axis, backend=backend), z)
