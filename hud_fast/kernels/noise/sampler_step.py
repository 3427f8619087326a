"""One step of a sampler from z_t to z_{t-1} in one pass (HUD, arXiv 2506.02601, eq. 14; DDIM, arXiv 2010.02502).

    z <- z_factor z + eps_factor eps(z, t) + noise_factor n

Both samplers are affine in (z_t, the network's noise, fresh noise): `diffusion.sampling.plan` gives the factors. n is
passed in, or drawn in the kernel at the address (seed, step, sample), or left out where noise_factor is 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import as_floating, check_device, check_number, check_tensor, shape_text
from hud_fast.kernels._memory import empty
from hud_fast.kernels._op import Op
from hud_fast.kernels.noise.normal_noise import (
    Address,
    address_of,
    native_step,
    normal_noise_reference,
)

Factors = tuple[float, float, float]


def sampler_step_reference(
    z: Tensor,  # (B, ...)
    eps: Tensor,  # (B, ...)
    noise: Tensor | None,  # (B, ...)
    factors: Factors,
    address: Address | None,
) -> Tensor:  # (B, ...)
    """The formula in plain torch."""
    out = factors[0] * z + factors[1] * eps
    if noise is None and address is not None:
        count = z[0].numel() if len(z) else 0
        normal = normal_noise_reference(len(z), count, address, z.device)
        noise = normal.view(z.shape).to(z)
    return out if noise is None else out + factors[2] * noise


def _native(z: Tensor, eps: Tensor, noise: Tensor | None, *rest: Any) -> Tensor:
    factors, address = _numbers(*rest)
    z, eps = z.detach().contiguous(), eps.detach().contiguous()
    given = None if noise is None else noise.detach().contiguous()
    out = empty(z.shape, z)
    a, b, c = (torch.full((len(z),), f, dtype=torch.float64, device="cpu") for f in factors)
    native_step(out, z=z, e=eps, noise=given, factors=(a, b, c), address=address)
    return out


def _triton(z: Tensor, eps: Tensor, noise: Tensor | None, *rest: Any) -> Tensor:
    from hud_fast.kernels.noise import triton as diffusion

    factors, address = _numbers(*rest)
    z, eps = z.detach().contiguous(), eps.detach().contiguous()
    given = None if noise is None else noise.detach().contiguous()
    out = torch.empty_like(z)
    launch = diffusion.affine(out, z=z, e=eps, noise=given, factors=factors, address=address)
    launch.run("sampler_step", z)
    return out


def _torch(z: Tensor, eps: Tensor, noise: Tensor | None, *rest: Any) -> Tensor:
    return sampler_step_reference(z, eps, noise, *_numbers(*rest)).contiguous()


def _numbers(
    z_factor: float, eps_factor: float, noise_factor: float, draw: bool, *address: Any
) -> tuple[Factors, Address | None]:
    """What the op takes behind its tensors, put together."""
    return (z_factor, eps_factor, noise_factor), Address(*address) if draw else None


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.has_noise, ctx.factors = inputs[2] is not None, inputs[3:6]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    a, b, c = ctx.factors
    return a * grad, b * grad, c * grad if ctx.has_noise else None


_OP = Op(
    "sampler_step(Tensor z, Tensor eps, Tensor? noise, float z_factor, float eps_factor, float noise_factor, "
    "bool draw, int seed, int step, int first, Tensor? at=None, Tensor? start=None) -> Tensor",
    {"torch": _torch, "cpu": _native, "triton": _triton},
    setup=_setup,
    backward=_backward,
    on_gpu="triton",
    halves=True,
)


def sampler_step(
    z: Tensor,  # (B, ...)
    eps: Tensor,  # (B, ...)
    *,
    z_factor: float,
    eps_factor: float,
    noise_factor: float = 0.0,
    noise: Tensor | None = None,  # (B, ...)
    seed: int | None = None,
    step: int | Tensor = 0,
    first: int | Tensor = 0,
    backend: str | None = None,
) -> Tensor:  # (B, ...)
    """One sampler step, z_factor z + eps_factor eps + noise_factor n, in one pass over memory.

    Parameters
    ----------
    z, eps : Tensor, shape (B, ...)
        z_t and the network's noise for it; one shape, dtype (float16, bfloat16, float32, float64) and device.
    z_factor, eps_factor, noise_factor : float
        Of the step (`diffusion.sampling.plan`). With noise_factor 0 no noise is read or drawn.
    noise : Tensor, shape (B, ...), optional
        The fresh noise n; else it is drawn in the kernel.
    seed, step, first : int
        The drawn noise's address (see `normal_noise`); `seed` is needed where noise is drawn. `step` and
        `first` may be tensors of one int64 on z's device; `sampler_step_at` reads the factors there, too.
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    Tensor, shape (B, ...)
        z of the next, less noisy time; differentiable in `z`, `eps` and `noise`.

    Raises
    ------
    TypeError
        For tensors that are not of floats or not of one dtype, or an address that is not of integers.
    ValueError
        For shapes that differ, noise_factor != 0 with neither `noise` nor `seed`, or an address out of range.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 14; Song, Meng and Ermon 2021, arXiv 2010.02502 (DDIM).

    Examples
    --------
    >>> import torch, hud_fast as hud
    >>> z, eps = torch.ones(2, 3), torch.full((2, 3), 0.5)
    >>> hud.sampler_step(z, eps, z_factor=2.0, eps_factor=-1.0)
    tensor([[1.5000, 1.5000, 1.5000],
            [1.5000, 1.5000, 1.5000]])
    """
    op = "sampler_step"
    tensors = {"z": z, "eps": eps} | ({} if noise is None else {"noise": noise})
    for name, value in tensors.items():
        check_tensor(op, name, value)
        tensors[name] = as_floating(op, name, value)
        if value.shape != z.shape or value.ndim == 0:
            raise ValueError(
                f"{op}: `{name}` must have shape (B, ...) as `z` {shape_text(z)}, got {shape_text(value)}"
            )
        if value.dtype != z.dtype:
            raise TypeError(f"{op}: `{name}` must be of z's dtype {z.dtype}, got {value.dtype}")
        check_device(op, name, value, z.device, "z")
    z, eps, noise = tensors["z"], tensors["eps"], tensors.get("noise")
    factors = (
        check_number(op, "z_factor", z_factor),
        check_number(op, "eps_factor", eps_factor),
        check_number(op, "noise_factor", noise_factor),
    )
    if factors[2] == 0:
        noise = None
    draw = factors[2] != 0 and noise is None
    if draw and seed is None:
        raise ValueError(
            f"{op}: `noise_factor` {noise_factor} needs `noise` or a `seed`, got neither"
        )
    address = address_of(op, seed if draw and seed is not None else 0, step, first, z.device)
    result: Tensor = _OP(z, eps, noise, *factors, draw, *address, backend=backend)
    return result
