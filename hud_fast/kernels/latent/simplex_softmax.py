"""Softmax over the D endmembers: from log-projected values back onto the simplex (HUD, arXiv 2506.02601, eq. 6).

    x_i = exp(z_i - max z) / sum_j exp(z_j - max z);   softmax(ln(x + delta)) = (x + delta) / (1 + e^-8)

Shapes: any, with the D endmembers along `dim`. A row with NaN or +inf gives NaN in that row only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import ArrayT, as_floating, like_input
from hud_fast.kernels._backend import eager, on_stream, ran, resolve
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
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
    ran("cpu")
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
    ran("cuda")
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
    ran("triton")
    return x


def _triton_backward(grad: Tensor, abundances: Tensor, dim: int) -> Tensor:
    from hud_fast.kernels.latent import triton_simplex as simplex

    g, x = grad.detach().contiguous(), abundances.detach().contiguous()
    gz = torch.empty_like(x)
    simplex.softmax(g, gz, sizes_around(x, dim), x=x).run("simplex_softmax", x)
    return gz


def _torch(z: Tensor, dim: int) -> Tensor:
    ran("torch")
    return simplex_softmax_reference(z, dim).contiguous()


def _torch_backward(grad: Tensor, abundances: Tensor, dim: int) -> Tensor:
    return simplex_softmax_backward_reference(grad, abundances, dim).contiguous()


_FORWARD = {"torch": _torch, "cpu": _native, "cuda": _cuda, "triton": _triton}
_BACKWARD = {
    "torch": _torch_backward,
    "cpu": _native_backward,
    "cuda": _cuda_backward,
    "triton": _triton_backward,
}
_OFFERED = tuple(_FORWARD)


def _run(z: Tensor, dim: int, backend: str = "") -> Tensor:
    return _FORWARD[resolve("simplex_softmax", backend or None, z, offered=_OFFERED)](z, dim)


def _run_backward(grad: Tensor, abundances: Tensor, dim: int, backend: str = "") -> Tensor:
    chosen = resolve("simplex_softmax", backend or None, abundances, offered=_OFFERED)
    return _BACKWARD[chosen](grad, abundances, dim)


_LIBRARY = torch.library.Library("hud_fast", "FRAGMENT")
_LIBRARY.define('simplex_softmax(Tensor z, int dim, str backend="") -> Tensor')
_LIBRARY.define(
    'simplex_softmax_backward(Tensor grad, Tensor abundances, int dim, str backend="") -> Tensor'
)
for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("simplex_softmax", _run, _device)
    _LIBRARY.impl("simplex_softmax_backward", _run_backward, _device)


def _fake(z: Tensor, dim: int, backend: str = "") -> Tensor:
    torch._check(0 <= dim < z.ndim, lambda: f"simplex_softmax: no axis {dim}")
    return torch.empty_like(z, memory_format=torch.contiguous_format)


def _fake_backward(grad: Tensor, abundances: Tensor, dim: int, backend: str = "") -> Tensor:
    return torch.empty_like(abundances, memory_format=torch.contiguous_format)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(output)
    _, ctx.dim, ctx.backend = inputs


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (x,) = ctx.saved_tensors
    return torch.ops.hud_fast.simplex_softmax_backward(grad, x, ctx.dim, ctx.backend), None, None


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[1])
    ctx.dim = inputs[2]


def _double_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    g, x = ctx.saved_tensors
    along = (grad * x).sum(ctx.dim, keepdim=True)
    to_grad = x * (grad - along)
    to_abundances = grad * (g - (g * x).sum(ctx.dim, keepdim=True)) - g * along
    return to_grad, to_abundances, None, None


torch.library.register_fake("hud_fast::simplex_softmax", _fake, lib=_LIBRARY)
torch.library.register_fake("hud_fast::simplex_softmax_backward", _fake_backward, lib=_LIBRARY)
torch.library.register_autograd(
    "hud_fast::simplex_softmax", _backward, setup_context=_setup, lib=_LIBRARY
)
torch.library.register_autograd(
    "hud_fast::simplex_softmax_backward",
    _double_backward,
    setup_context=_setup_backward,
    lib=_LIBRARY,
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
    chosen = resolve("simplex_softmax", backend, tensor, offered=_OFFERED)
    if chosen == "torch" or eager(tensor):
        x = _FORWARD[chosen](tensor, axis)
    else:
        x = torch.ops.hud_fast.simplex_softmax(tensor, axis, chosen)
    return like_input(x, z)
