"""NumPy in, NumPy out; tensor in, tensor out: the one place where public functions change between the two."""

from __future__ import annotations

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
    if any(step < 0 or (array.itemsize and step % array.itemsize) for step in array.strides):
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
    return tensor


def as_floating(value: object, op: str, name: str) -> Tensor:
    """As `as_tensor`, but only float types pass."""
    tensor = as_tensor(value, op, name)
    if not tensor.is_floating_point():
        raise TypeError(f"{op}: `{name}` must be of a floating-point dtype, got {tensor.dtype}")
    return tensor


def widen(tensor: Tensor) -> Tensor:
    """float32 and float64 as they are; digital numbers and halves to a float type that holds them exactly."""
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    small = tensor.dtype in _SMALL_INTEGERS or tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.to(torch.float32 if small else torch.float64)


def like_input(result: Tensor, value: object) -> Any:
    """`result` as the kind of array that `value` was."""
    return result.detach().numpy() if isinstance(value, np.ndarray) else result


def shape_text(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
