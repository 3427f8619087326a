"""One way in for pixels: numpy or torch, in memory, memory-mapped or on a GPU, bad pixels told apart.

`Pixels` reads a (..., C) array in float64 blocks along its first axis, so a scene that lies in a
memory map is never loaded as a whole, whatever its interleave. Blocks of a tensor on a GPU stay there: what
is made of them is written for both kinds (`space_of`). A pixel counts as valid when the
mask keeps it, all of its bands are finite, and at least one band is not zero (an all-zero pixel is
the usual mark for "no data"; with `zeros` it is data).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import MEMORY, as_mask, as_numpy, as_wide, check_values
from hud_fast._pool import Pool
from hud_fast.scenes import SceneBlocks
from hud_fast.scenes.blocks import Part

T = TypeVar("T")
BLOCK_VALUES = 1 << 22  # 32 MiB of float64 a block: past the caches, far below memory
CHUNK_VALUES = 1 << 18  # 2 MiB of float64: what is made of a chunk is still near when it is used


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


def widened(values: Any) -> Any:
    """The values in float64."""
    return values.double() if isinstance(values, Tensor) else np.asarray(values, dtype=np.float64)


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

    def __init__(
        self,
        function: str,
        pixels: Any,
        mask: Any = None,
        *,
        zeros: bool = False,
        pool: Pool | None = None,
    ) -> None:
        self.function, self.zeros, self.pool = function, zeros, pool
        self.only_whole, self.spoilt = False, 0
        if isinstance(pixels, Tensor):
            check_values(function, "pixels", pixels)
        # (..., C), numpy's, or a tensor that lies on a GPU
        self.array: Any = (
            as_wide(function, "pixels", pixels).detach()
            if on_device(pixels)
            else pixels
            if isinstance(pixels, SceneBlocks)
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
            array = self.array
            self._mask = keep.to(array.device) if isinstance(array, Tensor) else to_host(keep)

    def parts(self) -> list[Part]:
        """What is read at a time, some rows each: in the order of the pixels, where no file asks for another."""
        if isinstance(self.array, SceneBlocks):
            return self.array.parts(BLOCK_VALUES)
        H = self.shape[0]
        rows = max(1, BLOCK_VALUES * H // (self.P * self.C))
        return [(slice(r, min(r + rows, H)), slice(None)) for r in range(0, H, rows)]

    def places(self, part: Part) -> Any:  # (n,)
        """A part's places among the flattened pixels, as a slice where they are one."""
        rows, columns = part
        across = self.P // self.shape[0]
        first, last, _ = columns.indices(across)
        if last - first == across:
            return slice(rows.start * across, rows.stop * across)
        return (np.arange(rows.start, rows.stop)[:, None] * across + np.arange(first, last)).ravel()

    def values(self, part: Part) -> Any:  # (n, C)
        """A part's values as they are."""
        taken = self.array[part] if isinstance(self.array, SceneBlocks) else self.array[part[0]]
        return taken.reshape(-1, self.C)

    def block(self, part: Part) -> tuple[Any, Any]:  # (n,), (n, C) float64
        """A part's places and values."""
        return self.places(part), widened(self.values(part))

    def blocks(self) -> Iterator[tuple[Any, Any]]:
        """Yield (places, block) of all parts."""
        return map(self.block, self.parts())

    def each(
        self, work: Callable[..., T], more: Callable[[Part], tuple[Any, ...]] | None = None
    ) -> Iterator[T]:
        """Yield ``work(pixels, part, *more(part))`` of all parts in turn, by the pool's workers where there is one."""
        calls = ((self, part, *(more(part) if more is not None else ())) for part in self.parts())
        if self.pool is None:
            for call in calls:
                yield work(*call)
            return
        yield from self.pool.in_order(work, calls)

    def whole(self) -> Pixels:
        """The same pixels but for those that are cut off or have bands that fell out, which are counted."""
        self.only_whole = True
        return self

    def kept_in(self, part: Part) -> Any:  # (n,) bool
        """Which pixels of a part the mask keeps; None: all."""
        return None if self._mask is None else self._mask.reshape(-1)[self.places(part)]

    def valid_in(self, block: Any, kept: Any) -> Any:
        """Which pixels of a block are valid, (n,), of those that the mask keeps."""
        valid: Any
        if isinstance(block, Tensor):
            valid = block.isfinite().all(dim=1)
            if not self.zeros:
                valid &= (block != 0).any(dim=1)
        else:
            valid = np.ones(len(block), np.bool_)
            for rows in chunks(block):
                _mark(valid[rows], block[rows], self.zeros)
        if kept is not None:
            valid &= kept
        return valid

    def __getstate__(self) -> dict[str, Any]:
        """Workers elsewhere have no pool of their own, and are told which pixels are valid."""
        return {**vars(self), "pool": None, "_mask": None}

    def take(self, index: Any) -> Any:
        """The pixels at flattened positions `index`, (n, C), in the input's own dtype."""
        if isinstance(self.array, SceneBlocks):
            return self.array.take(index)
        if isinstance(self.array, Tensor):
            return self.array.reshape(-1, self.C)[torch.as_tensor(index, device=self.array.device)]
        return self.array[np.unravel_index(index, self.shape)]


def chunks(values: Any) -> list[slice]:  # (n, C)
    """The rows of some pixels, as many at a time as stay in a core's cache; on a device all of them."""
    n, C = values.shape
    step = n if isinstance(values, Tensor) else max(1, CHUNK_VALUES // C)
    return [slice(r, min(r + step, n)) for r in range(0, n, step)]


def _mark(valid: NDArray[np.bool_], chunk: NDArray[Any], zeros: bool) -> None:  # (n,), (n, C)
    """Unset what is not finite or zero in all bands; the extremes, and the first band, say that mostly nothing is."""
    if chunk.dtype.kind == "f" and not np.isfinite([chunk.max(), chunk.min()]).all():
        valid &= np.isfinite(chunk).all(axis=1)
    if zeros:
        return
    dark = np.flatnonzero(chunk[:, 0] == 0)
    valid[dark] &= (chunk[dark] != 0).any(axis=1)
