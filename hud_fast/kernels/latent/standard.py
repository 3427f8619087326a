"""Mean and standard deviation per endmember, as the latent space's operations take them; sizes around an axis."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import array_of, as_tensor, shape_text
from hud_fast.kernels._backend import readable


def sizes_around(tensor: Tensor, dim: int) -> tuple[int, int, int]:
    """(outer, D, inner): how a contiguous tensor lies around `dim`."""
    shape = tensor.shape
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def statistic(op: str, name: str, value: object, D: int, *, positive: bool = False) -> Tensor:
    """`value` as a (D,) float64 tensor; an error that names it where it is none, or not finite, or not positive.

    Values on a GPU are not looked at: that would stop the host until the GPU gets there, and no graph could hold it.
    """
    if isinstance(value, (list, tuple)):
        value = array_of(op, name, value)
    tensor = as_tensor(op, name, value).detach()
    if tuple(tensor.shape) != (D,):
        raise ValueError(
            f"{op}: `{name}` must have shape (D,) with D = {D}, got {shape_text(tensor)}"
        )
    tensor = tensor.double().contiguous()
    if readable(tensor) and not tensor.is_cuda:
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{op}: `{name}` must be finite, got {tensor.tolist()}")
        if positive and not bool((tensor > 0).all()):
            raise ValueError(f"{op}: `{name}` must be positive, got {tensor.tolist()}")
    return tensor


def along(values: Tensor, like: Tensor, dim: int) -> Tensor:
    """(D,) `values` in like's dtype and device, shaped to broadcast along `dim`."""
    shape = [1] * like.ndim
    shape[dim] = -1
    return values.to(like).view(shape)


def on_device(values: Tensor, like: Tensor) -> Tensor:
    """As the Triton kernels read parameters: contiguous float64 beside `like`."""
    return values.detach().to(like.device, torch.float64).contiguous()


def on_cpu(values: Tensor) -> Any:
    """As the CPU kernels read parameters: contiguous float64."""
    return values.detach().to("cpu", torch.float64).contiguous()
