"""The arguments of public functions: arrays read in one way, numbers checked in one way, errors in the same words.

Every reader and check takes the function's name and the argument's before the value, and its error names both, what
was expected and what came. NumPy in, NumPy out; tensor in, tensor out. Nothing of the package is imported here.
"""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._text import printable

ArrayLike: TypeAlias = "NDArray[Any] | Tensor"
MEMORY = (  # bytes of the machine
    os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 40
)
NO_ROOM = "the memory must hold the arguments and the result, there is not enough"
ArrayT = TypeVar("ArrayT", NDArray[Any], Tensor)
# What the axis of bands, or of endmembers, is called where axes have names.
BAND_NAMES = ("band", "bands", "wavelength", "wavelengths")
ENDMEMBER_NAMES = ("endmember", "endmembers")
_MOST_AXES = 8  # that the compiled kernels read: kMaxDims of csrc/common/tensor.h


def as_numpy(function: str, argument: str, value: object) -> NDArray[Any]:
    """`value` as a numpy array of real numbers, not copied; a tensor is detached and brought to the host."""
    if isinstance(value, Tensor):
        check_values(function, argument, value)
    elif not hasattr(value, "__array__") or isinstance(value, type):
        raise TypeError(
            f"{function}: `{argument}` must be a numpy array or a torch tensor, got {type(value).__name__}"
        )
    check_order(function, argument, value)
    array = array_of(function, argument, value)
    if array.dtype.kind not in "fiu":
        raise _not_real(function, argument, array.dtype)
    return array


def array_of(function: str, argument: str, value: Any) -> NDArray[Any]:
    """`value`, a list too, as a numpy array of whatever it holds, not copied; a tensor is brought to the host."""
    try:
        if isinstance(value, Tensor):
            host = value.detach().cpu().resolve_conj().resolve_neg().as_subclass(Tensor)
            array = host.float().numpy() if host.dtype == torch.bfloat16 else host.numpy()
        elif isinstance(value, np.ndarray):
            array = value
        else:
            array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # floats of eight bits, ragged lists
        kind = f"one of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(
            f"{function}: `{argument}` must be a numpy array or a torch tensor, got {kind}"
        ) from error
    if 0 in array.strides:
        _check_repeated(function, argument, array.shape, array.nbytes)
    refuse_masked(function, argument, value)
    return array


def refuse_masked(function: str, argument: str, value: object) -> None:
    """Refuse a masked array with masked values, or a list of such: NumPy's own functions would drop the mask."""
    if _is_masked(value):
        raise TypeError(
            f"{function}: `{argument}` must be a plain array, got a masked array with masked values: fill them first, "
            "with numpy.nan say"
        )


def _is_masked(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_masked(one) for one in value if isinstance(one, (list, tuple, np.ndarray)))
    return isinstance(value, np.ndarray) and bool(np.ma.is_masked(value))


def check_order(function: str, argument: str, value: object) -> None:
    """Refuse an array with named axes (xarray's) whose axis of bands, or of endmembers, is not the last."""
    names = getattr(value, "dims", None)
    if not isinstance(names, tuple):
        return
    for known in (BAND_NAMES, ENDMEMBER_NAMES):
        place = next((i for i, name in enumerate(names) if str(name).lower() in known), None)
        if place is None:
            continue
        if place != len(names) - 1:
            raise ValueError(
                f"{function}: `{argument}` must have the axis {names[place]!r} last, got {names}: use "
                f".transpose(..., {names[place]!r})"
            )
        return


def as_tensor(function: str, argument: str, value: object) -> Tensor:
    """`value` as a dense tensor of its own dtype, on its own memory where torch allows it."""
    if isinstance(value, Tensor):
        tensor = value
    else:
        array = as_numpy(function, argument, value)
        if array.dtype.itemsize > 8:
            raise TypeError(
                f"{function}: `{argument}` must be float64 or narrower, got dtype {array.dtype}"
            )
        tensor = from_numpy(array)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise _not_real(function, argument, tensor.dtype)
    check_dense(function, argument, tensor)
    if 0 in tensor.stride() and tensor.device.type == "cpu":
        _check_repeated(function, argument, tensor.shape, tensor.numel() * tensor.itemsize)
    return tensor.resolve_neg()  # a kernel sees memory, not torch's lazy sign


def as_floating(function: str, argument: str, value: object) -> Tensor:
    """As `as_tensor`, but only float types of 16 bits and more pass."""
    tensor = as_tensor(function, argument, value)
    if not tensor.is_floating_point():
        raise TypeError(
            f"{function}: `{argument}` must be of a floating-point dtype, got {tensor.dtype}"
        )
    if tensor.itemsize < 2:
        raise TypeError(
            f"{function}: `{argument}` must have floats of 16 bits or more, got {tensor.dtype}"
        )
    if tensor.ndim > _MOST_AXES:
        raise ValueError(
            f"{function}: `{argument}` must have at most {_MOST_AXES} axes, got shape {shape_text(tensor)}"
        )
    return tensor


def as_wide(
    function: str, argument: str, value: object, *, small_integers: torch.dtype = torch.float64
) -> Tensor:
    """`value` as a float32 or float64 tensor: see `widen`; long doubles become float64."""
    if not isinstance(value, Tensor):
        value = as_numpy(function, argument, value)
        value = value if value.dtype.itemsize <= 8 else value.astype(np.float64)
    return widen(as_tensor(function, argument, value), small_integers)


def widen(tensor: Tensor, small_integers: torch.dtype = torch.float32) -> Tensor:
    """float32 and float64 as they are, narrower floats as float32, integers as float64.

    Those of up to 16 bits become `small_integers`: float32 holds them exactly.
    """
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.is_floating_point():
        return tensor.float()
    return tensor.to(small_integers if tensor.itemsize <= 2 else torch.float64)


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


def like_input(result: Tensor, value: ArrayT) -> ArrayT:
    """`result` as the kind of array that `value` was."""
    if isinstance(value, Tensor):
        return result
    return result.detach().cpu().numpy()


def as_mask(function: str, argument: str, mask: object, shape: Sequence[int]) -> Tensor | None:
    """`mask` as a tensor of booleans of `shape`, where it lies; None stays None."""
    if mask is None:
        return None
    given = mask if isinstance(mask, Tensor) else array_of(function, argument, mask)
    if given.dtype not in (np.bool_, torch.bool):
        raise TypeError(
            f"{function}: `{argument}` must be boolean (True = valid pixel), got {given.dtype}"
        )
    keep = given.detach() if isinstance(given, Tensor) else from_numpy(given)
    check_values(function, argument, keep)
    if tuple(keep.shape) != tuple(shape):
        raise ValueError(
            f"{function}: `{argument}` must have the shape {tuple(shape)} of the pixels, got {shape_text(keep)}"
        )
    return keep


def check_count(function: str, argument: str, value: Any, *, least: int = 1) -> int:
    """`value` as a plain int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{function}: `{argument}` must be an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{function}: `{argument}` must be at least {least}, got {value}")
    return int(value)


def check_seed(function: str, seed: Any) -> int:
    """`seed` as a plain int; anything that is not a whole number >= 0 is refused."""
    return check_count(function, "seed", seed, least=0)


def check_limit(function: str, value: object) -> int | None:
    """`memory_limit`: None, or a number of bytes above 0."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{function}: `memory_limit` must be a number of bytes or None, got {value!r}"
        )
    if value < 1:
        raise ValueError(f"{function}: `memory_limit` must be at least 1 byte, got {value}")
    return min(int(value), (1 << 63) - 1)  # more than any memory, as the kernels take it


def check_flag(function: str, argument: str, value: object) -> bool:
    """A bool from True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: `{argument}` must be True or False, got {value!r}")
    return bool(value)


def check_choice(function: str, argument: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of the words."""
    if not isinstance(value, str) or value not in choices:
        words = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{function}: `{argument}` must be {words}, got {value!r}")


def as_index(function: str, argument: str, value: Any) -> int:
    """`value` as a plain int; NumPy's and tensors of one integer pass, a bool does not."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except (TypeError, RuntimeError):  # the second of a tensor without values
        raise TypeError(f"{function}: `{argument}` must be an integer, got {value!r}") from None


def as_device(function: str, argument: str, value: Any) -> torch.device:
    """A device that this machine has, from its name."""
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"{function}: `{argument}` must be a device of this machine, got {value!r}"
        ) from error
    return device


def check_number(function: str, argument: str, value: Any) -> float:
    """`value` as a float; a word, an array of several, or what is no real number is refused."""
    try:
        if isinstance(value, (str, bytes)) or value is np.ma.masked:
            raise TypeError
        return float(value)
    except (
        TypeError,
        ValueError,
        OverflowError,
        RuntimeError,
    ):  # a tensor without values: the last
        raise TypeError(
            f"{function}: `{argument}` must be a number, got {printable(repr(value), 60)}"
        ) from None


def check_progress(function: str, value: object) -> None:
    """`progress`: None, or something to call."""
    if not (value is None or callable(value)):
        raise TypeError(
            f"{function}: `progress` must be a function or None, got {type(value).__name__}"
        )


def check_path(function: str, argument: str, value: Any, hint: str = "") -> None:
    """Refuse what names no file or folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"{function}: `{argument}` must be a path, got {type(value).__name__}{hint}"
        )


def check_pair(function: str, argument: str, value: Any, *, least: int = 1) -> tuple[int, int]:
    """Rows and columns; one int means a square."""
    pair = (value, value) if isinstance(value, (int, np.integer)) else value
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(
            f"{function}: `{argument}` must be an int or a pair (rows, columns), got {value!r}"
        )
    rows, columns = (check_count(function, argument, side, least=least) for side in pair)
    return rows, columns


def check_tensor(function: str, argument: str, value: object) -> None:
    """Refuse anything but a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{function}: `{argument}` must be a torch.Tensor, got {type(value).__name__}"
        )


def check_dense(function: str, argument: str, tensor: Tensor) -> None:
    """Refuse sparse, nested and quantized tensors."""
    if tensor.layout != torch.strided:
        raise TypeError(
            f"{function}: `{argument}` must be a dense tensor, got layout {tensor.layout}"
        )
    if tensor.is_quantized or tensor.is_nested:
        kind = "quantized" if tensor.is_quantized else "nested"
        raise TypeError(f"{function}: `{argument}` must be a plain dense tensor, got a {kind} one")


def check_values(function: str, argument: str, tensor: Tensor) -> None:
    """Refuse what is not dense, and tensors without memory: meta, fake and functional ones."""
    check_dense(function, argument, tensor)
    if tensor.is_meta or hasattr(tensor, "fake_mode") or torch._is_functional_tensor(tensor):
        kind = "meta" if tensor.is_meta else "fake or functional"
        raise TypeError(
            f"{function}: `{argument}` must be a tensor that holds values, got a {kind} one"
        )


def check_on_cpu(function: str, argument: str, tensor: Tensor) -> None:
    """Refuse a tensor that lies elsewhere, or holds no values."""
    if tensor.device.type != "cpu":
        raise RuntimeError(
            f"{function}: `{argument}` must be on the CPU, got device {tensor.device}"
        )
    check_values(function, argument, tensor)


def check_device(
    function: str, argument: str, tensor: Tensor, device: torch.device, of: str
) -> None:
    """Refuse a tensor that is not on `device`, the device of the argument `of`."""
    if tensor.device != device:
        raise RuntimeError(
            f"{function}: `{argument}` must be on {device} as `{of}` is, got {tensor.device}"
        )


def check_finite(function: str, argument: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity."""
    check_values(function, argument, tensor)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{function}: `{argument}` must be finite, got NaN or infinity")


def check_endmembers(
    function: str,
    endmembers: Tensor,
    C: int | None = None,
    *,
    of: str = "pixels",
    readable: bool = True,
    nonzero: bool = False,
) -> None:
    """Refuse endmembers that are not (D, C) and finite; C is that of the argument `of`, None for any.

    Where they are not `readable` only the shape is checked; with `nonzero` one value at least must not be zero.
    """
    if endmembers.ndim != 2 or C not in (None, endmembers.shape[1]):
        bands = "" if C is None else f" with C = {C} as in `{of}`"
        raise ValueError(
            f"{function}: `endmembers` must have shape (D, C){bands}, got {shape_text(endmembers)}"
        )
    if 0 in endmembers.shape:
        raise ValueError(
            f"{function}: `endmembers` must have at least one row and one band, got shape {shape_text(endmembers)}"
        )
    if not readable:
        return
    check_values(function, "endmembers", endmembers)
    finite = torch.isfinite(endmembers)
    if not bool(finite.all()):
        row = int((~finite).any(1).to(torch.int8).argmax())
        raise ValueError(
            f"{function}: `endmembers` must be finite, got a non-finite value in row {row}"
        )
    if nonzero and not bool((endmembers != 0).any()):
        raise ValueError(f"{function}: `endmembers` must not all be zero")


def unit_scale(values: Tensor) -> float:
    """The power of two that brings the largest of some finite values into [1/2, 1); exact, and 1 where all are 0."""
    exponent = math.frexp(float(values.abs().max()))[1]
    return math.ldexp(1.0, min(max(-exponent, -1000), 1000))


def shape_text(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def out_of_memory(error: BaseException) -> bool:
    """Whether lack of the host's memory is what an error tells of, in torch's words or NumPy's."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _check_repeated(function: str, argument: str, shape: Sequence[int], size: int) -> None:
    """Refuse what is larger than the machine by repeating numbers, before anything is made of its size."""
    if size > MEMORY:
        raise MemoryError(
            f"{function}: `{argument}` must fit into memory, got numbers repeated to {tuple(shape)}, {size >> 30} GiB"
        )


def _not_real(function: str, argument: str, dtype: object) -> TypeError:
    return TypeError(
        f"{function}: `{argument}` must hold real numbers (integers or floats), got {dtype}"
    )
