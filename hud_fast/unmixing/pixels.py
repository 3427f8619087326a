"""One way in for pixels: numpy or torch, in memory, memory-mapped or on a GPU, bad pixels told apart.

`Pixels` reads a (..., C) array in float64 blocks along its first axis, so a scene that lies in a
memory map is never loaded as a whole, whatever its interleave. Blocks of a tensor on a GPU stay there: what
is made of them is written for both kinds (`space_of`). A pixel counts as valid when the
mask keeps it, all of its bands are finite, and at least one band is not zero (an all-zero pixel is
the usual mark for "no data"; with `zeros` it is data).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import MEMORY, as_mask, as_numpy, as_wide, check_values
from hud_fast._pool import Pool
from hud_fast.scenes import SceneBlocks, saturation
from hud_fast.scenes.blocks import Part

T = TypeVar("T")
BLOCK_VALUES = 1 << 22  # 32 MiB of float64 a block: past the caches, far below memory
BEGINNING = 16  # rows whose mean the moments are taken about

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
        taken = self.values(part)
        wide = taken.double() if isinstance(taken, Tensor) else np.asarray(taken, dtype=np.float64)
        return self.places(part), wide

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
        valid = space_of(block).isfinite(block).all(axis=1)
        if not self.zeros:
            valid &= (block != 0).any(axis=1)
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
    """One pass over the blocks, in float64, of values less a few pixels' mean and over their largest.

    From a GPU come the moments alone.

    Centring before squaring keeps the covariance exact for scenes with a large offset (raw sensor
    counts); what the few pixels' mean is off is taken out after. The scale is the largest absolute
    value, one number for the whole scene, so that no result depends on the unit of the pixels.
    """
    scale, centre = _beginning(pixels)
    while True:
        sums, largest = _sums(pixels, scale, centre)
        if sums is not None:
            break
        scale = largest  # the few were nothing like the rest
    count, first, second, valid = sums
    shift = first / count
    ratio = scale / largest
    return Moments(
        count=count,
        scale=largest,
        mean=(centre / scale + shift) * ratio,
        covariance=(second / count - np.outer(shift, shift)) * ratio**2,
        valid=valid,
    )


def _beginning(pixels: Pixels) -> tuple[float, NDArray[np.float64]]:  # (C,)
    """Largest absolute value and mean of the first valid pixels of some parts."""
    found, parts = [], pixels.parts()
    for rows, columns in parts[:: -(-len(parts) // BEGINNING)]:
        part = slice(rows.start, rows.start + 1), columns
        _, block = pixels.block(part)
        kept = block[pixels.valid_in(block, pixels.kept_in(part))]
        if len(kept):
            _check_range(pixels, float(abs(kept).max()))  # before sums of them leave the range
            found.append((float(abs(kept).max()), len(kept), to_host(kept.sum(axis=0))))
    if not found:
        return 1.0, np.zeros(pixels.C)
    largest = max(peak for peak, _, _ in found)
    return largest, np.sum([s / sum(n for _, n, _ in found) for _, _, s in found], axis=0)


def _sums(
    pixels: Pixels, scale: float, centre: NDArray[np.float64]
) -> tuple[tuple[int, NDArray[np.float64], NDArray[np.float64], Any] | None, float]:
    """Count, first and second sums of the centred values, which pixels are valid; and the largest absolute value.

    No sums where values are so much larger than `scale` that their squares would lose their digits.
    """
    shape: Any = (pixels.P,)
    there = isinstance(pixels.array, Tensor)
    valid: Any = (
        torch.empty(shape, dtype=torch.bool, device=pixels.array.device)
        if there
        else np.empty(shape, bool)
    )
    alive = np.zeros(pixels.C, dtype=np.bool_)
    count, largest = 0, 0.0
    first, second = 0.0, beside(pixels.array, np.zeros((pixels.C, pixels.C)))
    pixels.spoilt = 0
    for places, good, spoilt, peak, a, b, live in pixels.each(
        _part_sums, lambda part: (pixels.kept_in(part), scale, centre)
    ):
        valid[places] = good
        pixels.spoilt += spoilt
        largest = max(largest, peak)
        alive |= live
        if peak:
            count, first = count + int(good.sum()), first + a
            second = second + b
    _check_range(pixels, largest)
    if count == 0:
        count = int(valid.sum())
    if count == 0:
        raise ValueError(
            f"{pixels.function}: `pixels` must hold at least one valid pixel, got none: all of the "
            f"{pixels.P} are masked, not finite or zero in every band{dead_bands(alive)}"
        )
    if largest > 1e6 * scale or largest < 1e-6 * scale:
        return None, largest
    return (count, np.asarray(first), to_host(second), valid), largest


def _part_sums(
    pixels: Pixels, part: Part, mask: Any, scale: float, centre: NDArray[np.float64]
) -> Any:
    places, block = pixels.block(part)
    good, spoilt = pixels.valid_in(block, mask), 0
    if pixels.only_whole and good.any():
        cube = block.reshape(part[0].stop - part[0].start, -1, pixels.C).astype(np.float32)
        bad = saturation.spoilt(cube, good.reshape(cube.shape[:2])).ravel()
        spoilt = int(bad.sum())
        good &= ~bad
    if not good.any():
        alive = to_host(space_of(block).isfinite(block).any(axis=0))
        return places, good, spoilt, 0.0, 0.0, 0.0, alive
    kept = block if good.all() else block[good]
    peak = max(float(kept.max()), -float(kept.min()))
    if peak > _LARGEST:
        return places, good, spoilt, peak, 0.0, 0.0, np.ones(pixels.C, bool)
    centred = (kept - beside(block, centre)) / scale
    return (
        places,
        good,
        spoilt,
        peak,
        to_host(centred.sum(axis=0)),
        centred.T @ centred,
        np.ones(pixels.C, bool),
    )


def _check_range(pixels: Pixels, largest: float) -> None:
    if largest > _LARGEST:
        raise ValueError(
            f"{pixels.function}: `pixels` must not exceed {_LARGEST:g}, got {largest:g}"
        )
