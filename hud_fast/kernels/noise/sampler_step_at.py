"""A sampler's step whose factors and noise lie on the device: what a CUDA graph of one denoising step replays.

    z <- table[k, 0] z + table[k, 1] eps + table[k, 2] n + table[k, 3] past,   past <- table[k, 4] z + table[k, 5] eps

with n of step `step` + k; a table of three columns has no past. `sampler_step` takes numbers, which a captured graph
would keep for ever; here k is read where the step runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import as_floating, check_device, check_tensor, shape_text
from hud_fast.kernels._backend import ran, resolve
from hud_fast.kernels._memory import empty
from hud_fast.kernels._op import Op
from hud_fast.kernels.noise.normal_noise import (
    Address,
    address_of,
    native_step,
    normal_noise_reference,
)


def sampler_step_at_reference(
    z: Tensor,  # (B, ...)
    eps: Tensor,  # (B, ...)
    table: Tensor,  # (K, 3) or (K, 6)
    row: Tensor,  # (1,)
    past: Tensor | None,  # (B, ...)
    address: Address,
) -> tuple[Tensor, Tensor | None]:  # (B, ...) each
    """The formula in plain torch; nothing in it waits for the device."""
    a, b, c, *more = table.to(z).index_select(0, row)[0]
    at = row if address.at is None else row + address.at
    count = z[0].numel() if len(z) else 0
    noise = normal_noise_reference(len(z), count, address._replace(at=at), z.device)
    eps = eps.to(z)
    out = a * z + b * eps + c * noise.view(z.shape).to(z)
    if past is None:
        return out, None
    return out + more[0] * past, more[1] * z + more[2] * eps


def _torch(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    past: Tensor | None,
    *address: Any,
    out: Tensor | None = None,
) -> Tensor:
    result, kept = sampler_step_at_reference(z, eps, table, row, past, Address(*address))
    if past is not None and kept is not None:
        past.copy_(kept)
    return result.contiguous() if out is None else out.copy_(result)


def _native(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    past: Tensor | None,
    *address: Any,
    out: Tensor | None = None,
) -> Tensor:
    where = Address(*address)
    factors = [
        torch.full((len(z),), float(f), dtype=torch.float64, device="cpu") for f in table[int(row)]
    ]
    a, b, c = factors[:3]
    at = row if where.at is None else row + where.at
    z, eps = z.contiguous(), eps.to(z.dtype).contiguous()
    result = empty(z.shape, z)
    native_step(result, z=z, e=eps, factors=(a, b, c), address=where._replace(at=at))
    if past is not None:
        result += float(factors[3][0]) * past if len(z) else 0.0
        kept = empty(z.shape, z)
        native_step(kept, z=z, e=eps, factors=(factors[4], factors[5], c))
        past.copy_(kept)
    return result if out is None else out.copy_(result)


def _triton(
    z: Tensor,
    eps: Tensor,
    table: Tensor,
    row: Tensor,
    past: Tensor | None,
    *address: Any,
    out: Tensor | None = None,
) -> Tensor:
    from hud_fast.kernels.noise import triton as diffusion

    out = empty(z.shape, z) if out is None else out
    target = out.contiguous()
    kept = None if past is None else past.contiguous()
    diffusion.affine(
        target,
        z=z.contiguous(),
        e=eps.contiguous(),
        past=kept,
        table=table.contiguous(),
        row=row,
        address=Address(*address),
    ).run("sampler_step_at", z)
    if target is not out:
        out.copy_(target)
    if past is not None and kept is not None and kept is not past:
        past.copy_(kept)
    return out


_OP = Op(
    "sampler_step_at(Tensor z, Tensor eps, Tensor table, Tensor row, Tensor(a!)? past, int seed, int step, "
    "int first, Tensor? at=None, Tensor? start=None) -> Tensor",
    {"torch": _torch, "cpu": _native, "triton": _triton},
    on_gpu="triton",
    halves=True,
    traced=False,
)


def sampler_step_at(
    z: Tensor,  # (B, ...)
    eps: Tensor,  # (B, ...)
    table: Tensor,  # (K, 3) or (K, 6)
    row: Tensor,  # (1,)
    *,
    seed: int,
    step: int | Tensor = 0,
    first: int | Tensor = 0,
    past: Tensor | None = None,  # (B, ...)
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
    table : Tensor, shape (K, 3), or (K, 6) with `past`
        Factors of z, eps and fresh noise of each step (`diffusion.sampling.plan`), and of a sampler that looks back
        those of `past`, and of z and eps in the next `past`. float32 or float64, on z's device.
    row : Tensor, one number
        k, int64, on z's device, from 0 to K - 1: not looked at before the step runs, and beyond the table undefined.
        Add 1 to it within the graph, and the next replay does the next step.
    seed, step, first : int
        The noise's address (see `normal_noise`), that of row 0: row k draws at `step` + k. `step` and `first` may be
        tensors of one int64 on z's device.
    past : Tensor, shape (B, ...), optional
        What the step before kept, of z's dtype; overwritten with what this step keeps. Zeros before the first.
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
    >>> table = torch.tensor([[2.0, -1.0, 0.0], [1.0, 1.0, 0.0]])
    >>> z, eps = torch.ones(2, 2), torch.full((2, 2), 0.5)
    >>> sampler_step_at(z, eps, table, torch.tensor(1), seed=0)
    tensor([[1.5000, 1.5000],
            [1.5000, 1.5000]])
    """
    op = "sampler_step_at"
    optional = {"past": past, "out": out}
    given = {"z": z, "eps": eps, "table": table, "row": row}
    given |= {name: value for name, value in optional.items() if value is not None}
    for name, value in given.items():
        check_tensor(op, name, value)
        check_device(op, name, value, z.device, "z")
        if torch.is_grad_enabled() and value.requires_grad:
            raise RuntimeError(f"{op}: `{name}` wants a gradient, and this step has none")
    z, eps = as_floating(op, "z", z), as_floating(op, "eps", eps)
    for name in given.keys() - {"z", "table", "row"}:
        value = given[name]
        if value.shape != z.shape or z.ndim == 0:
            raise ValueError(
                f"{op}: `{name}` must have shape (B, ...) as `z` {shape_text(z)}, got {shape_text(value)}"
            )
        if name != "eps" and value.dtype != z.dtype:
            raise TypeError(f"{op}: `{name}` must be of z's dtype {z.dtype}, got {value.dtype}")
    columns = 3 if past is None else 6
    if table.ndim != 2 or table.shape[1] < columns or len(table) == 0:
        raise ValueError(
            f"{op}: `table` must have shape (K, {columns}) with K >= 1, got {shape_text(table)}"
        )
    if table.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{op}: `table` must be of float32 or float64, got {table.dtype}")
    if row.dtype != torch.int64 or row.numel() != 1:
        raise TypeError(
            f"{op}: `row` must be a tensor of one int64, got {row.dtype} of shape {shape_text(row)}"
        )
    address = address_of(op, seed, step, first, z.device)
    arguments = (z, eps, table, row.reshape(1), past, *address)
    result: Tensor
    if out is None:
        result = _OP(*arguments, backend=backend)
    else:
        chosen = resolve(op, backend, z)
        result = _OP.implementations[chosen](*arguments, out=out)
        ran(chosen)
    return result
