"""From the network's z to spectra in one pass: softmax, then mixing (HUD, arXiv 2506.02601, eqs. 6 and 1).

    x = softmax over D of (std z + mean),   cube[b, i, j] = sum_d x[b, d, i, j] endmembers[d]

z is channel-first, as networks have it; the cube is band-last, as scenes are. The abundances of a vector of pixels live
in the L1 only: neither they nor their transposed copy are written to memory. The CPU kernel takes D <= 256.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_floating,
    as_tensor,
    like_input,
    shape_text,
)
from hud_fast.kernels._backend import resolve
from hud_fast.kernels._memory import empty
from hud_fast.kernels._native import C
from hud_fast.kernels._op import Op
from hud_fast.kernels.latent.standard import on_cpu, on_device, statistic
from hud_fast.kernels.latent.standardized_softmax import standardized_softmax_reference

LONGEST = 256  # as kDecodeLongest in csrc/latent/job.h


def softmax_decode_reference(
    z: Tensor,  # (B, D, H, W)
    endmembers: Tensor,  # (D, C)
    mean: Tensor,  # (D,)
    std: Tensor,  # (D,)
) -> Tensor:  # (B, H, W, C)
    """The formula in plain torch."""
    x = standardized_softmax_reference(z, mean, std, 1)
    return x.movedim(1, -1) @ endmembers.to(z)


def _statistics(z: Tensor, mean: Tensor | None, std: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both given or neither: mean 0 and standard deviation 1 by default."""
    if mean is None or std is None:
        zeros = torch.zeros(z.shape[1], dtype=torch.float64, device=z.device)
        return zeros, torch.ones_like(zeros)
    return mean, std


def _native(
    z: Tensor, endmembers: Tensor, mean: Tensor | None = None, std: Tensor | None = None
) -> Tensor:  # (B, H, W, C)
    z = z.detach().contiguous()
    B, D, H, W = z.shape
    cube = empty((B, H, W, endmembers.shape[1]), z)
    m, s = map(on_cpu, _statistics(z, mean, std))
    C.softmax_decode(z, cube, B, D, H * W, on_cpu(endmembers), m, s, torch.get_num_threads())
    return cube


def _triton(
    z: Tensor, endmembers: Tensor, mean: Tensor | None = None, std: Tensor | None = None
) -> Tensor:  # (B, H, W, C)
    from hud_fast.kernels.latent import triton_decode as decode

    z = z.detach().contiguous()
    spectra = endmembers.detach().to(z.device).contiguous()
    cube = z.new_empty((z.shape[0], *z.shape[2:], spectra.shape[1]))
    m = None if mean is None else on_device(mean, z)
    s = None if std is None else on_device(std, z)
    decode.softmax_decode(z, cube, spectra, m, s).run("softmax_decode", z)
    return cube


def _torch(
    z: Tensor, endmembers: Tensor, mean: Tensor | None = None, std: Tensor | None = None
) -> Tensor:  # (B, H, W, C)
    return softmax_decode_reference(z, endmembers, *_statistics(z, mean, std)).contiguous()


def _fake(z: Tensor, endmembers: Tensor, *rest: Any) -> Tensor:
    B, _, H, W = z.shape
    return z.new_empty((B, H, W, endmembers.shape[1]))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    z, endmembers, *statistics = ctx.saved_tensors
    mean, std = _statistics(z, *statistics)
    x = torch.ops.hud_fast.standardized_softmax(z, mean, std, 1, backend=ctx.backend)
    to_x = (grad @ endmembers.to(grad).T).movedim(-1, 1)
    to_z = torch.ops.hud_fast.standardized_softmax_backward(to_x, x, std, 1, backend=ctx.backend)
    to_endmembers = None
    if ctx.needs_input_grad[1]:
        to_endmembers = torch.einsum("bdhw,bhwc->dc", x, grad).to(endmembers)
    return to_z, to_endmembers


_OP = Op(
    "softmax_decode(Tensor z, Tensor endmembers, Tensor? mean=None, Tensor? std=None) -> Tensor",
    {"torch": _torch, "cpu": _native, "triton": _triton},
    fake=_fake,
    setup=_setup,
    backward=_backward,
    on_gpu="triton",
    halves=True,
)


def softmax_decode(
    z: ArrayT,  # (B, D, H, W)
    endmembers: ArrayLike,  # (D, C)
    *,
    mean: ArrayLike | Sequence[float] | None = None,  # (D,)
    std: ArrayLike | Sequence[float] | None = None,  # (D,)
    backend: str | None = None,
) -> ArrayT:  # (B, H, W, C)
    """Cubes of spectra from latent maps: softmax of std z + mean over D, mixed with the endmembers, in one pass.

    Parameters
    ----------
    z : ndarray or Tensor, shape (B, D, H, W)
        Latent maps; float16, bfloat16, float32 or float64.
    endmembers : ndarray or Tensor, shape (D, C)
        One spectrum a row; rounded to the type of the arithmetic (float64 for float64, else float32).
    mean, std : ndarray, Tensor or sequence, shape (D,), optional
        What `log_standardize` was given; 0 and 1 by default.
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    ndarray or Tensor, shape (B, H, W, C)
        Same kind, dtype and device as `z`; differentiable in `z` and `endmembers`. A pixel with a NaN or +inf in z is
        NaN.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers.
    ValueError
        For shapes that do not fit, D > 256 with ``backend="cpu"``, or a `std` that is not positive.

    References
    ----------
    HUD, arXiv 2506.02601, eqs. 1 and 6.

    Examples
    --------
    >>> import torch, hud_fast as hud
    >>> cube = hud.softmax_decode(torch.zeros(2, 3, 8, 8), torch.eye(3, 5))
    >>> cube.shape, cube[0, 0, 0].numpy().round(3)
    (torch.Size([2, 8, 8, 5]), array([0.333, 0.333, 0.333, 0.   , 0.   ], dtype=float32))
    """
    op = "softmax_decode"
    tensor = as_floating(op, "z", z)
    if tensor.ndim != 4 or tensor.shape[1] == 0:
        raise ValueError(
            f"{op}: `z` must have shape (B, D, H, W) with D >= 1, got {shape_text(tensor)}"
        )
    D = tensor.shape[1]
    spectra = as_tensor(op, "endmembers", endmembers)
    if spectra.ndim != 2 or spectra.shape[0] != D:
        raise ValueError(
            f"{op}: `endmembers` must have shape (D, C) with D = {D} as in `z`, got {shape_text(spectra)}"
        )
    if not spectra.is_floating_point():
        spectra = spectra.double()
    centre = None if mean is None else statistic(op, "mean", mean, D)
    spread = None if std is None else statistic(op, "std", std, D, positive=True)
    if spread is None and centre is not None:
        spread = torch.ones_like(centre)
    if centre is None and spread is not None:
        centre = torch.zeros_like(spread)
    chosen = resolve(op, backend, tensor)
    if chosen == "cpu" and D > LONGEST:
        if backend == "cpu":
            raise ValueError(f"{op}: `z` must have D <= {LONGEST} for backend 'cpu', got D = {D}")
        chosen = "torch"
    return like_input(_OP(tensor, spectra, centre, spread, backend=chosen), z)
