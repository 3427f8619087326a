"""First and second moments of a scene's pixels, in one pass: what HySime and VCA begin with.

The products of all pairs of bands are most of the work: C (C + 1) / 2 multiplications a pixel, ten times as long as
reading it. They are made of chunks that are still in the cache when they have been widened and centred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.scenes import saturation
from hud_fast.scenes.blocks import Part
from hud_fast.unmixing.pixels import Pixels, beside, chunks, dead_bands, space_of, to_host

BEGINNING = 16  # rows whose mean the moments are taken about

_SAME = 1e-12  # of a squared cosine; float32 storage of a multiple leaves 1e-14, the best sensors' noise 1e-7
_LARGEST = 1e290  # sums of larger values leave float64's range
_SQUARED = 1e100  # squares of values up to here, and down to its inverse, stay in float64's range as they are


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
    places, values = pixels.places(part), pixels.values(part)
    good, spoilt = pixels.valid_in(values, mask), 0
    if pixels.only_whole and good.any():
        cube = values.reshape(part[0].stop - part[0].start, -1, pixels.C).astype(np.float32)
        bad = saturation.spoilt(cube, good.reshape(cube.shape[:2])).ravel()
        spoilt = int(bad.sum())
        good &= ~bad
    if not good.any():
        alive = to_host(space_of(values).isfinite(values).any(axis=0))
        return places, good, spoilt, 0.0, 0.0, 0.0, alive
    alive, peak = np.ones(pixels.C, bool), 0.0
    first, second = 0.0, 0.0
    unit = 1.0 if 1 / _SQUARED < scale < _SQUARED else scale
    for rows in chunks(values):
        own = good[rows]
        kept = values[rows] if own.all() else values[rows][own]
        if not len(kept):
            continue
        peak = max(peak, float(kept.max()), -float(kept.min()))
        if peak > _LARGEST:
            return places, good, spoilt, peak, 0.0, 0.0, alive
        a, b = _centred_sums(kept, beside(values, centre), unit)
        first, second = first + a, second + b
    scale /= unit
    return places, good, spoilt, peak, to_host(first) / scale, second / scale**2, alive


def _centred_sums(kept: Any, centre: Any, unit: float) -> tuple[Any, Any]:  # (C,), (C, C)
    """Sums of the values less the centre, in the unit, and of their products."""
    if isinstance(kept, Tensor):
        centred = kept.double() - centre
        ones: Any = torch.ones(len(kept), dtype=centred.dtype, device=kept.device)
    else:
        centred, ones = np.subtract(kept, centre, dtype=np.float64), np.ones(len(kept))
    if unit != 1:
        centred /= unit
    return ones @ centred, centred.T @ centred


def _check_range(pixels: Pixels, largest: float) -> None:
    if largest > _LARGEST:
        raise ValueError(
            f"{pixels.function}: `pixels` must not exceed {_LARGEST:g}, got {largest:g}"
        )
