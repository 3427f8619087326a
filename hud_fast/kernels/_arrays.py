"""NumPy in, NumPy out; tensor in, tensor out: the one place where public functions change between the two."""

from __future__ import annotations

import math
import warnings
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ArrayLike: TypeAlias = "NDArray[Any] | Tensor"
ArrayT = TypeVar("ArrayT", NDArray[Any], Tensor)

_SMALL_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.uint16}


def from_numpy(array: NDArray[Any]) -> Tensor:
    """A tensor on the array's own memory where torch allows it (no copy), else on a copy."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    odd = any(step < 0 or (array.itemsize and step % array.itemsize) for step in array.strides)
    if odd or not array.flags.aligned:
        array = array.copy()
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():  # torch warns of read-only memory; no kernel writes to an input
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def as_tensor(value: object, op: str, name: str) -> Tensor:
    """`value` as a tensor; TypeError that names op and argument for anything but an array of real numbers."""
    if isinstance(value, Tensor):
        tensor = value
    elif isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiu":
            raise TypeError(
                f"{op}: `{name}` must be an array of real numbers, got dtype {value.dtype}"
            )
        if np.ma.is_masked(value):
            raise TypeError(
                f"{op}: `{name}` must be a plain array, got a masked array with masked values: fill them first, "
                "with numpy.nan say"
            )
        if value.dtype == np.float16 or value.dtype.itemsize <= 8:
            tensor = from_numpy(value)
        else:
            raise TypeError(f"{op}: `{name}` must be float64 or narrower, got dtype {value.dtype}")
    else:
        raise TypeError(
            f"{op}: `{name}` must be a numpy.ndarray or a torch.Tensor, got {type(value).__name__}"
        )
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{op}: `{name}` must be a tensor of real numbers, got {tensor.dtype}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{op}: `{name}` must be a dense tensor, got layout {tensor.layout}")
    if tensor.is_quantized or tensor.is_nested:
        kind = "quantized" if tensor.is_quantized else "nested"
        raise TypeError(f"{op}: `{name}` must be a plain dense tensor, got a {kind} one")
    return tensor.resolve_neg()  # a kernel sees memory, not torch's lazy sign


def as_floating(value: object, op: str, name: str) -> Tensor:
    """As `as_tensor`, but only float types of 16 bits and more pass."""
    tensor = as_tensor(value, op, name)
    if not tensor.is_floating_point():
        raise TypeError(f"{op}: `{name}` must be of a floating-point dtype, got {tensor.dtype}")
    if tensor.itemsize < 2:
        raise TypeError(f"{op}: `{name}` must have floats of 16 bits or more, got {tensor.dtype}")
    return tensor


def check_flag(op: str, name: str, value: object) -> bool:
    """A bool from True or False; TypeError for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: `{name}` must be True or False, got {value!r}")
    return bool(value)


def check_limit(op: str, value: object) -> int | None:
    """`memory_limit`: None, or a number of bytes above 0."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{op}: `memory_limit` must be a number of bytes or None, got {value!r}")
    if value < 1:
        raise ValueError(f"{op}: `memory_limit` must be at least 1 byte, got {value}")
    return int(value)


def widen(tensor: Tensor) -> Tensor:
    """float32 and float64 as they are; digital numbers and halves to float32 where it holds them, else float64."""
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    small = tensor.dtype in _SMALL_INTEGERS or tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.to(torch.float32 if small else torch.float64)


def unit_scale(values: Tensor) -> float:
    """The power of two that brings the largest of some finite values into [1/2, 1); exact, and 1 where all are 0."""
    exponent = math.frexp(float(values.abs().max()))[1]
    return math.ldexp(1.0, min(max(-exponent, -1000), 1000))


def like_input(result: Tensor, value: object) -> Any:
    """`result` as the kind of array that `value` was."""
    return result.detach().numpy() if isinstance(value, np.ndarray) else result


def shape_text(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
