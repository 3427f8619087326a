"""One way in for pixels: numpy or torch, in memory, memory-mapped or on a GPU, bad pixels told apart.

`Pixels` reads a (..., C) array in float64 blocks along its first axis, so a scene that lies in a
memory map is never loaded as a whole, whatever its interleave. Blocks of a tensor on a GPU stay there: what
is made of them is written for both kinds (`space_of`). A pixel counts as valid when the
mask keeps it, all of its bands are finite, and at least one band is not zero (an all-zero pixel is
the usual mark for "no data").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import MEMORY, as_mask, as_numpy, as_wide, check_values

BLOCK_VALUES = 1 << 22  # 32 MiB of float64 a block: past the caches, far below memory

_SAME = 1e-12  # of a squared cosine; float32 storage of a multiple leaves 1e-14, the best sensors' noise 1e-7
_LARGEST = 1e290  # sums of larger values leave float64's range


def on_device(value: Any) -> bool:
    """Whether `value` is a tensor that numpy cannot read where it lies."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def space_of(values: Any) -> Any:
    """The library, torch or numpy, whose functions take `values`. Both know `axis`."""
    return torch if isinstance(values, Tensor) else np


def to_host(values: Any) -> NDArray[Any]:
    """Small results of either kind as a numpy array."""
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def beside(values: Any, array: NDArray[Any]) -> Any:
    """`array` where `values` lie, and of their kind."""
    if not isinstance(values, Tensor):
        return array
    return torch.from_numpy(np.ascontiguousarray(array)).to(values.device)


def flat_nonzero(flags: Any) -> Any:  # (n,) bool -> (k,) int64
    """The places of what is true."""
    return flags.nonzero()[:, 0] if isinstance(flags, Tensor) else np.flatnonzero(flags)


def dead_bands(alive: NDArray[np.bool_]) -> str:  # (C,)
    """What to add to "no valid pixel" where whole bands are to blame: the usual mark of bad bands."""
    dead = np.flatnonzero(~alive)
    if len(dead) in (0, len(alive)):
        return ""
    more = "" if len(dead) <= 5 else ", ..."
    listed = ", ".join(str(band) for band in dead[:5])
    return f" (bands that are finite in no pixel, drop them first: {listed}{more})"


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
        if isinstance(pixels, Tensor):
            check_values(function, "pixels", pixels)
        # (..., C), numpy's, or a tensor that lies on a GPU
        self.array: Any = (
            as_wide(function, "pixels", pixels).detach()
            if on_device(pixels)
            else as_numpy(function, "pixels", pixels)
        )
        shape = tuple(self.array.shape)
        if len(shape) < 2:
            raise ValueError(
                f"{function}: `pixels` must have shape (..., C) with at least one axis of pixels, "
                f"got {shape}"
            )
        if 0 in shape:
            raise ValueError(f"{function}: `pixels` must not be empty, got shape {shape}")
        self.shape, self.C = shape[:-1], shape[-1]
        self.P = int(np.prod(self.shape))
        if 8 * self.C**2 > MEMORY:  # the covariance's, which all that read pixels here begin with
            raise MemoryError(
                f"{function}: `pixels` must have bands whose covariance fits into memory, got C = {self.C}"
            )
        keep = as_mask(function, "mask", mask, self.shape)
        self._mask: Any = None
        if keep is not None:
            there = isinstance(self.array, Tensor)
            self._mask = keep.to(self.array.device) if there else to_host(keep)

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield (rows, block): `rows` of the flattened pixels and their values, (n, C) float64."""
        per_entry = int(np.prod(self.array.shape[1:]))
        entries = max(1, BLOCK_VALUES // per_entry)
        for first in range(0, len(self.array), entries):
            part = self.array[first : first + entries]
            wide = part.double() if isinstance(part, Tensor) else np.asarray(part, dtype=np.float64)
            block = wide.reshape(-1, self.C)
            start = first * (per_entry // self.C)
            yield slice(start, start + len(block)), block

    def valid_in(self, rows: slice, block: Any) -> Any:
        """Which pixels of a block are valid, (n,)."""
        valid = space_of(block).isfinite(block).all(axis=1) & (block != 0).any(axis=1)
        if self._mask is not None:
            valid &= self._mask.reshape(-1)[rows]
        return valid

    def take(self, index: Any) -> Any:
        """The pixels at flattened positions `index`, (n, C), in the input's own dtype."""
        if isinstance(self.array, Tensor):
            return self.array.reshape(-1, self.C)[torch.as_tensor(index, device=self.array.device)]
        return self.array[np.unravel_index(index, self.shape)]


@dataclass(frozen=True)
class Moments:
    """First and second moments of the valid pixels, each divided by the one number `scale`."""

    count: int
    scale: float
    mean: NDArray[np.float64]  # (C,)
    covariance: NDArray[np.float64]  # (C, C)
    valid: Any  # (P,) bool, where the pixels lie

    @property
    def correlation(self) -> NDArray[np.float64]:
        """E[y y^T] = covariance + mean mean^T, (C, C)."""
        return self.covariance + np.outer(self.mean, self.mean)

    @property
    def copies(self) -> NDArray[np.bool_]:  # (C,)
        """Bands that are an earlier one over again, or a multiple of it: they say nothing new."""
        same = np.ones_like(self.covariance, dtype=np.bool_)
        # By both: of a large offset the correlation sees nothing else, of a constant band the covariance sees nothing.
        for products in (self.covariance, self.correlation):
            power = np.outer(np.diag(products), np.diag(products))
            same &= products**2 >= (1 - _SAME) * power
        live = self.correlation.diagonal() > 0  # bands of zeros are no data, whatever they equal
        same &= np.outer(live, live)
        return np.asarray(np.tril(same, -1).any(axis=1))


def moments(pixels: Pixels) -> Moments:
    """Two passes over the blocks, in float64: scale and mean, then the centred second moment.

    From a GPU come the moments alone.

    Centring before squaring keeps the covariance exact for scenes with a large offset (raw sensor
    counts). The scale is the largest absolute value, one number for the whole scene, so that no
    result depends on the unit of the pixels.
    """
    alive = np.zeros(pixels.C, dtype=np.bool_)
    largest, sums, found = 0.0, [], []
    for rows, block in pixels.blocks():
        xp = space_of(block)
        good = pixels.valid_in(rows, block)
        found.append(good)
        if good.any():
            kept = block[good]
            peak = float(abs(kept).max())
            largest = max(largest, peak)
            if largest > _LARGEST:
                raise ValueError(
                    f"{pixels.function}: `pixels` must not exceed {_LARGEST:g}, got {largest:g}"
                )
            sums.append(to_host(kept.sum(axis=0)))
            alive[:] = True
        else:
            alive |= to_host(xp.isfinite(block).any(axis=0))
    valid = space_of(found[0]).concatenate(found)
    count = int(valid.sum())
    if count == 0:
        raise ValueError(
            f"{pixels.function}: `pixels` must hold at least one valid pixel, got none: all of the "
            f"{pixels.P} are masked, not finite or zero in every band{dead_bands(alive)}"
        )
    mean = np.sum([part / largest for part in sums], axis=0) / count
    centre = beside(pixels.array, mean)
    covariance = beside(pixels.array, np.zeros((pixels.C, pixels.C)))
    for rows, block in pixels.blocks():
        centred = block[valid[rows]] / largest - centre
        covariance += centred.T @ centred
    return Moments(count, largest, mean, to_host(covariance / count), valid)
