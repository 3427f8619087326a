"""The latent space's encoding in one pass: log-projection and standardisation (HUD, arXiv 2506.02601, eqs. 4 and 5).

    z_d = (ln(max(x_d, 0) + delta) - mean_d) / std_d,   delta = e^-8 / D

with one mean and standard deviation an endmember (of the training scene's log-projected abundances): raw z has neither
mean 0 nor variance 1, and a diffusion ends in N(0, I). Shapes: any, with the D endmembers along `dim`.
`standardized_softmax` undoes it.
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
from hud_fast.kernels.latent.log_project import (
    check_dim,
    delta_of,
    log_project_backward_reference,
    log_project_reference,
)
from hud_fast.kernels.latent.standard import along, on_cpu, on_device, sizes_around, statistic


def log_standardize_reference(
    abundances: Tensor,  # (..., D, ...)
    mean: Tensor,  # (D,)
    std: Tensor,  # (D,)
    dim: int,
) -> Tensor:
    """The formula in plain torch."""
    z = log_project_reference(abundances, delta_of(abundances.shape[dim]))
    return (z - along(mean, z, dim)) / along(std, z, dim)


def log_standardize_backward_reference(
    grad: Tensor, abundances: Tensor, std: Tensor, dim: int
) -> Tensor:
    """d loss / d x: g / (std (x + delta)), and 0 where x < 0 was cut off."""
    scaled = grad / along(std, grad, dim)
    return log_project_backward_reference(scaled, abundances, delta_of(abundances.shape[dim]))


def _native(abundances: Tensor, mean: Tensor, std: Tensor, dim: int) -> Tensor:
    x = abundances.detach().contiguous()
    z = empty(x.shape, x)
    sizes = sizes_around(x, dim)
    threads = torch.get_num_threads()
    C.log_standardize(None, x, z, *sizes, delta_of(sizes[1]), on_cpu(mean), on_cpu(std), threads)
    return z


def _native_backward(grad: Tensor, abundances: Tensor, std: Tensor, dim: int) -> Tensor:
    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gx = empty(x.shape, x)
    sizes, s = sizes_around(x, dim), on_cpu(std)
    threads = torch.get_num_threads()
    C.log_standardize(g, x, gx, *sizes, delta_of(sizes[1]), s, s, threads)
    return gx


def _triton(abundances: Tensor, mean: Tensor, std: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_standardize as standardize

    x = abundances.detach().contiguous()
    z = torch.empty_like(x)
    sizes, m, s = sizes_around(x, dim), on_device(mean, x), on_device(std, x)
    launch = standardize.log_standardize(x, z, sizes, delta_of(sizes[1]), m, s)
    launch.run("log_standardize", x)
    return z


def _triton_backward(grad: Tensor, abundances: Tensor, std: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_standardize as standardize

    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gx = torch.empty_like(x)
    sizes, s = sizes_around(x, dim), on_device(std, x)
    launch = standardize.log_standardize(x, gx, sizes, delta_of(sizes[1]), s, s, g)
    launch.run("log_standardize", x)
    return gx


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    abundances, _, std, ctx.dim = inputs
    ctx.save_for_backward(abundances, std)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor]:
    x, std = ctx.saved_tensors
    backward = torch.ops.hud_fast.log_standardize_backward
    return (backward(grad, x, std, ctx.dim, backend=ctx.backend),)


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *saved, ctx.dim = inputs
    ctx.save_for_backward(*saved)


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    g, x, std = ctx.saved_tensors
    slope = torch.where(x < 0, 0.0, 1 / (x + delta_of(x.shape[ctx.dim])))
    scaled = grad * slope / along(std, x, ctx.dim)
    return scaled, -scaled * g * slope


_OP = Op(
    "log_standardize(Tensor abundances, Tensor mean, Tensor std, int dim) -> Tensor",
    {
        "torch": contiguous(log_standardize_reference),
        "cpu": _native,
        "triton": _triton,
    },
    setup=_setup,
    backward=_backward,
    on_gpu="triton",
    halves=True,
)
Op(
    "log_standardize_backward(Tensor grad, Tensor abundances, Tensor std, int dim) -> Tensor",
    {
        "torch": contiguous(log_standardize_backward_reference),
        "cpu": _native_backward,
        "triton": _triton_backward,
    },
    setup=_setup_backward,
    backward=_double_backward,
    gradient_of=_OP,
)


def log_standardize(
    abundances: ArrayT,  # (..., D, ...)
    mean: ArrayLike | Sequence[float],  # (D,)
    std: ArrayLike | Sequence[float],  # (D,)
    dim: int = -1,
    *,
    backend: str | None = None,
) -> ArrayT:  # as abundances
    """Standardised log-projected abundances, z = (ln(max(x, 0) + e^-8 / D) - mean) / std, in one pass.

    Parameters
    ----------
    abundances : ndarray or Tensor, shape (..., D, ...)
        Abundances (fractions), float16, bfloat16, float32 or float64; negative ones count as 0; NaN stays NaN.
    mean, std : ndarray, Tensor or sequence, shape (D,)
        Finite, std > 0 (not looked at on a GPU); constants: no gradient flows into them.
    dim : int
        The axis of the D endmembers: -1 for band-last arrays, 1 for channel-first maps (B, D, H, W).
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    ndarray or Tensor
        z, same kind, shape, dtype and device; differentiable in `abundances` for tensors.

    Raises
    ------
    TypeError
        For anything but an array or tensor of floats.
    ValueError
        For a `dim` that does not exist or has length 0; for `mean` or `std` of another shape, not finite, or std <= 0.

    References
    ----------
    HUD, arXiv 2506.02601, eqs. 4 and 5.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> hud.log_standardize(np.array([[0.0, 0.25, 0.75]]), [-5.0, -1.0, -1.0], [2.0, 1.0, 1.0]).round(3)
    array([[-2.049, -0.386,  0.712]])
    """
    x = as_floating("log_standardize", "abundances", abundances)
    axis = check_dim("log_standardize", "abundances", x, dim)
    D = x.shape[axis]
    centre = statistic("log_standardize", "mean", mean, D)
    spread = statistic("log_standardize", "std", std, D, positive=True)
    return like_input(_OP(x, centre, spread, axis, backend=backend), abundances)
