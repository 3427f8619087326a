"""The diffusion's forward process with its noise in the kernel (HUD, arXiv 2506.02601, eq. 8).

    z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps,   eps ~ N(0, I)

eps, the target of training (eq. 15), is returned beside z_t. Its number e for sample i depends on (seed, step, i, e)
only: see `normal_noise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import ArrayLike, array_of, as_floating, as_tensor, check_tensor, shape_text
from hud_fast.kernels._backend import readable
from hud_fast.kernels._memory import empty
from hud_fast.kernels._op import Op, contiguous_like
from hud_fast.kernels.latent.standard import on_device
from hud_fast.kernels.noise.normal_noise import (
    Address,
    address_of,
    native_step,
    normal_noise_reference,
)


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(-1, *[1] * (like.ndim - 1))


def q_sample_reference(
    z: Tensor,  # (B, ...)
    signal: Tensor,  # (B,)
    address: Address,
) -> tuple[Tensor, Tensor]:  # (B, ...) each
    """Eq. 8 in plain torch."""
    count = z[0].numel() if len(z) else 0
    drawn = normal_noise_reference(len(z), count, address, z.device)
    noise = drawn.view(z.shape).to(z)
    signal = signal.double()
    noisy = _per_sample(signal.sqrt(), z) * z + _per_sample((1 - signal).sqrt(), z) * noise
    return noisy, noise


def _native(z: Tensor, signal: Tensor, *address: Any) -> tuple[Tensor, Tensor]:
    z = z.detach().contiguous()
    signal = signal.detach().to("cpu", torch.float64).contiguous()
    noisy, noise = empty(z.shape, z), empty(z.shape, z)
    factors = (signal.sqrt(), torch.zeros_like(signal), (1 - signal).sqrt())
    native_step(noisy, z=z, noise_out=noise, factors=factors, address=Address(*address))
    return noisy, noise


def _triton(z: Tensor, signal: Tensor, *address: Any) -> tuple[Tensor, Tensor]:
    from hud_fast.kernels.noise import triton as diffusion

    z = z.detach().contiguous()
    noisy, noise = torch.empty_like(z), torch.empty_like(z)
    level = on_device(signal, z)
    where = Address(*address)
    launch = diffusion.affine(noisy, z=z, noise_out=noise, signal=level, address=where)
    launch.run("q_sample", z)
    return noisy, noise


def _torch(z: Tensor, signal: Tensor, *address: Any) -> tuple[Tensor, Tensor]:
    noisy, noise = q_sample_reference(z, signal, Address(*address))
    return noisy.contiguous(), noise.contiguous()


def _fake(z: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return contiguous_like(z), contiguous_like(z)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor]:
    (signal,) = ctx.saved_tensors
    return (_per_sample(signal.sqrt(), grad) * grad,)


_OP = Op(
    "q_sample(Tensor z, Tensor signal, int seed, int step, int first, Tensor? at=None, Tensor? start=None)"
    " -> (Tensor, Tensor)",
    {"torch": _torch, "cpu": _native, "triton": _triton},
    fake=_fake,
    setup=_setup,
    backward=_backward,
    on_gpu="triton",
    halves=True,
)


def q_sample(
    z: Tensor,  # (B, ...)
    signal: ArrayLike | Sequence[float],  # (B,)
    *,
    seed: int,
    step: int | Tensor,
    first: int | Tensor = 0,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:  # (B, ...) each
    """Noisy latents and their noise: z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps, each sample at its own time.

    Parameters
    ----------
    z : Tensor, shape (B, ...)
        Clean latents z_0; float16, bfloat16, float32 or float64.
    signal : Tensor, ndarray or sequence, shape (B,)
        abar_t of each sample, from 0 to 1 (`NoiseSchedule.alphas_cumprod[t]`); not looked at on a GPU.
    seed, step, first : int
        The noise's address: sample b of the batch reads that of sample `first` + b at `step`. `step` and `first`
        may be tensors of one int64 on z's device. See `normal_noise`.
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    noisy, noise : Tensor, shape (B, ...)
        z_t and eps, same dtype and device; `noisy` is differentiable in `z`.

    Raises
    ------
    TypeError
        For a `z` that is no tensor of floats, or an address that is not of integers.
    ValueError
        For a `signal` of another shape or outside [0, 1], or an address out of range.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 8; Ho, Jain and Abbeel 2020, arXiv 2006.11239.

    Examples
    --------
    >>> import torch, hud_fast as hud
    >>> noisy, noise = hud.q_sample(torch.ones(2, 3, 4, 4), [1.0, 0.0], seed=0, step=7)
    >>> bool((noisy[0] == 1).all()), bool((noisy[1] == noise[1]).all())
    (True, True)
    """
    op = "q_sample"
    check_tensor(op, "z", z)
    z = as_floating(op, "z", z)
    if z.ndim == 0:
        raise ValueError(f"{op}: `z` must have shape (B, ...), got ()")
    given = array_of(op, "signal", signal) if isinstance(signal, (list, tuple)) else signal
    levels = as_tensor(op, "signal", given).detach().double()
    if tuple(levels.shape) != (len(z),):
        raise ValueError(
            f"{op}: `signal` must have shape (B,) with B = {len(z)} as in `z`, got {shape_text(levels)}"
        )
    if readable(levels) and not levels.is_cuda and not bool(((levels >= 0) & (levels <= 1)).all()):
        raise ValueError(f"{op}: `signal` must lie in [0, 1], got {levels.tolist()}")
    address = address_of(op, seed, step, first, z.device)
    noisy, noise = _OP(z, levels, *address, backend=backend)
    return noisy, noise
