"""One way in for pixels: numpy or torch, in memory or memory-mapped, bad pixels told apart.

`Pixels` reads a (..., C) array in float64 blocks along its first axis, so a scene that lies in a
memory map is never loaded as a whole, whatever its interleave. A pixel counts as valid when the
mask keeps it, all of its bands are finite, and at least one band is not zero (an all-zero pixel is
the usual mark for "no data").

`as_tensor` and `like` are the two ends of the operations that run in torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ArrayT = TypeVar("ArrayT", NDArray[Any], Tensor)

BLOCK_VALUES = 1 << 22  # 32 MiB of float64 a block: past the caches, far below memory
_FLOATS = (torch.float32, torch.float64)


def check_seed(function: str, seed: int) -> int:
    """`seed` as a plain int; anything that is not a whole number >= 0 is refused."""
    return check_count(function, "seed", seed, least=0)


def check_count(function: str, argument: str, value: int, *, least: int = 1) -> int:
    """`value` as a plain int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{function}: `{argument}` must be an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{function}: `{argument}` must be at least {least}, got {value}")
    return int(value)


def as_numpy(function: str, argument: str, value: Any) -> NDArray[Any]:
    """A real numeric numpy view of `value` (a tensor is detached and brought to the host)."""
    if isinstance(value, Tensor):
        host = value.detach().cpu()
        value = host.float().numpy() if host.dtype == torch.bfloat16 else host.numpy()
    elif not hasattr(value, "__array__"):
        raise TypeError(
            f"{function}: `{argument}` must be a numpy array or a torch tensor, "
            f"got {type(value).__name__}"
        )
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"{function}: `{argument}` must hold real numbers (integers or floats), "
            f"got {array.dtype}"
        )
    return array


def as_tensor(
    function: str, argument: str, value: Any, *, small_integers: torch.dtype = torch.float64
) -> Tensor:
    """`value` as a float32 or float64 tensor, without a copy where the memory allows.

    Half precision becomes float32; integers of up to 16 bits become `small_integers` (float32 holds
    them exactly), wider ones float64.
    """
    if isinstance(value, Tensor):
        tensor = value
        if tensor.is_complex() or tensor.dtype == torch.bool:
            raise TypeError(
                f"{function}: `{argument}` must hold real numbers (integers or floats), "
                f"got {tensor.dtype}"
            )
    else:
        array = as_numpy(function, argument, value)
        if array.dtype.kind in "iu":
            wide = array.dtype.itemsize > 2 or small_integers == torch.float64
            array = array.astype(np.float64 if wide else np.float32)
        elif array.dtype.itemsize == 2:
            array = array.astype(np.float32)
        elif array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if any(step < 0 for step in array.strides):
            array = np.ascontiguousarray(array)
        with warnings.catch_warnings():
            # A read-only memory map may be borrowed: nothing here writes to its input.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            tensor = torch.from_numpy(array)
    if tensor.dtype in _FLOATS:
        return tensor
    if tensor.is_floating_point():
        return tensor.float()
    narrow = tensor.dtype in (torch.uint8, torch.int8, torch.int16, torch.uint16)
    return tensor.to(small_integers if narrow else torch.float64)


def like(value: ArrayT, result: Tensor) -> ArrayT:
    """`result` as the kind of array that `value` is."""
    if isinstance(value, Tensor):
        return result
    return result.detach().cpu().numpy()


def as_mask(
    function: str, argument: str, mask: Any, shape: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """`mask` as a boolean numpy array of `shape`; None stays None."""
    if mask is None:
        return None
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != np.bool_:
        raise TypeError(
            f"{function}: `{argument}` must be boolean (True = valid pixel), got {array.dtype}"
        )
    if array.shape != shape:
        raise ValueError(
            f"{function}: `{argument}` must have the shape {shape} of the pixels, got {array.shape}"
        )
    return cast("NDArray[np.bool_]", array)


def dead_bands(alive: NDArray[np.bool_]) -> str:  # (C,)
    """What to add to "no valid pixel" where whole bands are to blame: the usual mark of bad bands."""
    dead = np.flatnonzero(~alive)
    if len(dead) in (0, len(alive)):
        return ""
    more = "" if len(dead) <= 5 else ", ..."
    listed = ", ".join(str(band) for band in dead[:5])
    return f" (bands that are finite in no pixel, drop them first: {listed}{more})"


def check_endmembers(function: str, endmembers: Tensor, C: int) -> None:
    """Refuse `endmembers` that are not (D, C) with D >= 1 and finite."""
    if endmembers.ndim != 2 or endmembers.shape[0] < 1 or endmembers.shape[1] != C:
        raise ValueError(
            f"{function}: `endmembers` must have shape (D, C) with C = {C} as in `pixels`, "
            f"got {tuple(endmembers.shape)}"
        )
    if not bool(torch.isfinite(endmembers).all()):
        raise ValueError(f"{function}: `endmembers` must be finite, got NaN or infinite values")


class Pixels:
    """A scene's pixels, read in float64 blocks.

    Attributes
    ----------
    shape : tuple of int
        Leading shape (...) of the input; P is its product.
    C : int
        Number of bands.
    """

    def __init__(self, function: str, pixels: Any, mask: Any = None) -> None:
        self.function = function
        self.array = as_numpy(function, "pixels", pixels)  # (..., C)
        if self.array.ndim < 2:
            raise ValueError(
                f"{function}: `pixels` must have shape (..., C) with at least one axis of pixels, "
                f"got {self.array.shape}"
            )
        if self.array.size == 0:
            raise ValueError(
                f"{function}: `pixels` must not be empty, got shape {self.array.shape}"
            )
        self.shape: tuple[int, ...] = self.array.shape[:-1]
        self.C: int = self.array.shape[-1]
        self.P = int(np.prod(self.shape))
        self._mask = as_mask(function, "mask", mask, self.shape)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield (rows, block): `rows` of the flattened pixels and their values, (n, C) float64."""
        per_entry = self.array[0].size
        entries = max(1, BLOCK_VALUES // per_entry)
        for first in range(0, len(self.array), entries):
            part = np.asarray(self.array[first : first + entries], dtype=np.float64)
            block = part.reshape(-1, self.C)
            start = first * (per_entry // self.C)
            yield slice(start, start + len(block)), block

    def valid_in(self, rows: slice, block: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which pixels of a block are valid, (n,)."""
        valid = np.isfinite(block).all(axis=1) & (block != 0).any(axis=1)
        if self._mask is not None:
            valid &= self._mask.reshape(-1)[rows]
        return cast("NDArray[np.bool_]", valid)

    def take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The pixels at flattened positions `index`, (n, C), in the input's own dtype."""
        return self.array[np.unravel_index(index, self.shape)]


@dataclass(frozen=True)
class Moments:
    """First and second moments of the valid pixels, each divided by the one number `scale`."""

    count: int
    scale: float
    mean: NDArray[np.float64]  # (C,)
    covariance: NDArray[np.float64]  # (C, C)
    valid: NDArray[np.bool_]  # (P,)

    @property
    def correlation(self) -> NDArray[np.float64]:
        """E[y y^T] = covariance + mean mean^T, (C, C)."""
        return self.covariance + np.outer(self.mean, self.mean)


def moments(pixels: Pixels) -> Moments:
    """Two passes over the blocks, in float64: scale and mean, then the centred second moment.

    Centring before squaring keeps the covariance exact for scenes with a large offset (raw sensor
    counts). The scale is the largest absolute value, one number for the whole scene, so that no
    result depends on the unit of the pixels.
    """
    valid = np.zeros(pixels.P, dtype=np.bool_)
    alive = np.zeros(pixels.C, dtype=np.bool_)
    largest, sums = 0.0, []
    for rows, block in pixels.blocks():
        alive |= np.isfinite(block).any(axis=0)
        good = pixels.valid_in(rows, block)
        valid[rows] = good
        if good.any():
            kept = block[good]
            peak = float(np.abs(kept).max())
            largest = max(largest, peak)
            sums.append(kept.sum(axis=0))
    count = int(valid.sum())
    if count == 0:
        raise ValueError(
            f"{pixels.function}: `pixels` must hold at least one valid pixel, got none: all of the "
            f"{pixels.P} are masked, not finite or zero in every band{dead_bands(alive)}"
        )
    mean = np.sum([part / largest for part in sums], axis=0) / count
    covariance = np.zeros((pixels.C, pixels.C))
    for rows, block in pixels.blocks():
        centred = block[valid[rows]] / largest - mean
        covariance += centred.T @ centred
    return Moments(count, largest, mean, covariance / count, valid)
