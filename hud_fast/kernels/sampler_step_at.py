"""A sampler's step whose factors and noise lie on the device: what a CUDA graph of one denoising step replays.

    z <- table[k, 0] z + table[k, 1] eps + table[k, 2] n,   n of step `step` + k

`sampler_step` takes numbers, which a captured graph would keep for ever; here k is read where the step runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels._arrays import as_floating, shape_text
from hud_fast.kernels._backend import eager, ran, resolve
from hud_fast.kernels._memory import empty
from hud_fast.kernels._standard import on_device
from hud_fast.kernels.normal_noise import (
    check_address,
    check_tensor,
    native_step,
    normal_noise_reference,
)


def sampler_step_at_reference(
    z: Tensor,  # (B, ...)
    eps: Tensor,  # (B, ...)
    table: Tensor,  # (K, 3)
    row: Tensor,  # (1,)
    seed: int,
    step: int,
    first: int,
) -> Tensor:  # (B, ...)
    """The formula in plain torch; nothing in it waits for the device."""
    a, b, c = table.to(z).index_select(0, row)[0]
    count = z[0].numel() if len(z) else 0
    noise = normal_noise_reference(
        len(z), count, seed=seed, step=step, first=first, at=row, device=z.device
    )
    out: Tensor = a * z + b * eps.to(z) + c * noise.view(z.shape).to(z)
    return out


def _torch(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    seed: int,
    step: int,
    first: int,
    out: Tensor,
) -> None:
    ran("torch")
    out.copy_(sampler_step_at_reference(z, eps, table, row, seed, step, first))


def _native(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    seed: int,
    step: int,
    first: int,
    out: Tensor,
) -> None:
    a, b, c = (torch.full((len(z),), float(f), dtype=torch.float64) for f in table[int(row)])
    result = out if out.is_contiguous() else empty(z.shape, z)
    native_step(
        result,
        z=z.detach().contiguous(),
        e=eps.detach().to(z.dtype).contiguous(),
        factors=(a, b, c),
        address=(seed, step, first),
        at=row,
    )
    if result is not out:
        out.copy_(result)


def _triton(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    seed: int,
    step: int,
    first: int,
    out: Tensor,
) -> None:
    from hud_fast.kernels.triton import diffusion

    result = out if out.is_contiguous() else torch.empty(z.shape, dtype=z.dtype, device=z.device)
    diffusion.affine(
        result,
        z=z.detach().contiguous(),
        e=eps.detach().contiguous(),
        table=on_device(table, z),
        row=row,
        address=(seed, step, first),
    ).run("sampler_step_at", z)
    if result is not out:
        out.copy_(result)
    ran("triton")


_PATHS = {"torch": _torch, "cpu": _native, "triton": _triton}
_OFFERED = tuple(_PATHS)


def _run(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    seed: int,
    step: int,
    first: int,
    backend: str = "",
) -> Tensor:
    out = empty(z.shape, z)
    chosen = resolve("sampler_step_at", backend or None, z, offered=_OFFERED)
    _PATHS[chosen](z, eps, table, row, seed, step, first, out)
    return out


_LIBRARY = torch.library.Library("hud_fast", "FRAGMENT")
_LIBRARY.define(
    "sampler_step_at(Tensor z, Tensor eps, Tensor table, Tensor row, int seed, int step, int first, "
    'str backend="") -> Tensor'
)
for _device in ("CPU", "CUDA"):
    _LIBRARY.impl("sampler_step_at", _run, _device)


def _fake(z: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(z, memory_format=torch.contiguous_format)


torch.library.register_fake("hud_fast::sampler_step_at", _fake, lib=_LIBRARY)


def sampler_step_at(
    z: Tensor,  # (B, ...)
    eps: Tensor,  # (B, ...)
    table: Tensor,  # (K, 3)
    row: Tensor,  # (1,)
    *,
    seed: int,
    step: int = 0,
    first: int = 0,
    out: Tensor | None = None,  # (B, ...)
    backend: str | None = None,
) -> Tensor:  # (B, ...)
    """Step k = `row` of a sampler: table[k, 0] z + table[k, 1] eps + table[k, 2] n, in one pass over memory.

    Parameters
    ----------
    z : Tensor, shape (B, ...)
        z_t; float16, bfloat16, float32 or float64.
    eps : Tensor, shape (B, ...)
        The network's noise for it, of any of these dtypes.
    table : Tensor, shape (K, 3)
        Factors of z, eps and fresh noise of each step (`diffusion.sampling.plan`), float64, on z's device.
    row : Tensor, shape (1,)
        k, int64, on z's device, from 0 to K - 1: not looked at before the step runs, and beyond the table undefined.
        Add 1 to it within the graph, and the next replay does the next step.
    seed, step, first : int
        The noise's address (see `normal_noise`), that of row 0: row k draws at `step` + k.
    out : Tensor, shape (B, ...), optional
        Where the result goes; may be `z` itself. Of z's dtype and device.
    backend : {None, "cpu", "triton", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    Tensor, shape (B, ...)
        z of the next, less noisy time; no gradients.

    Raises
    ------
    TypeError
        For anything but tensors of those dtypes, or an address that is not of integers.
    ValueError
        For shapes that do not fit, or an address out of range.
    RuntimeError
        For tensors on different devices, or one that wants a gradient.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 14; Song, Meng and Ermon 2021, arXiv 2010.02502 (DDIM).

    Examples
    --------
    >>> import torch
    >>> from hud_fast.kernels import sampler_step_at
    >>> table = torch.tensor([[2.0, -1.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    >>> z, eps = torch.ones(2, 2), torch.full((2, 2), 0.5)
    >>> sampler_step_at(z, eps, table, torch.tensor([1]), seed=0)
    tensor([[1.5000, 1.5000],
            [1.5000, 1.5000]])
    """
    op = "sampler_step_at"
    given = {"z": z, "eps": eps, "table": table, "row": row} | ({} if out is None else {"out": out})
    for name, value in given.items():
        check_tensor(op, name, value)
        if value.device != z.device:
            raise RuntimeError(
                f"{op}: `{name}` must be on z's device {z.device}, got {value.device}"
            )
        if torch.is_grad_enabled() and value.requires_grad:
            raise RuntimeError(f"{op}: `{name}` wants a gradient, and this step has none")
    z, eps = as_floating(z, op, "z"), as_floating(eps, op, "eps")
    for name in given.keys() & {"eps", "out"}:
        value = given[name]
        if value.shape != z.shape or z.ndim == 0:
            raise ValueError(
                f"{op}: `{name}` must have shape (B, ...) as `z` {shape_text(z)}, got {shape_text(value)}"
            )
    if out is not None and out.dtype != z.dtype:
        raise TypeError(f"{op}: `out` must be of z's dtype {z.dtype}, got {out.dtype}")
    if table.ndim != 2 or table.shape[1] != 3 or len(table) == 0:
        raise ValueError(
            f"{op}: `table` must have shape (K, 3) with K >= 1, got {shape_text(table)}"
        )
    if table.dtype != torch.float64:
        raise TypeError(f"{op}: `table` must be of float64, got {table.dtype}")
    if row.dtype != torch.int64 or row.numel() != 1:
        raise TypeError(
            f"{op}: `row` must be a tensor of one int64, got {row.dtype} of shape {shape_text(row)}"
        )
    address = check_address(op, seed, step, first)
    chosen = resolve(op, backend, z, offered=_OFFERED)
    place = row.detach().reshape(1)
    if out is None and not eager(z, eps):
        result: Tensor = torch.ops.hud_fast.sampler_step_at(z, eps, table, place, *address, chosen)
        return result
    target = empty(z.shape, z) if out is None else out
    _PATHS[chosen](z, eps, table, place, *address, target)
    return target
