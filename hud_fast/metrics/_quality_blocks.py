"""What `quality` measures of each block: the numbers of which its values are means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import as_wide, check_endmembers
from hud_fast.kernels import fcls
from hud_fast.metrics._nearest_pixels import nearest_pixels
from hud_fast.metrics.distances import Distributions, distributions
from hud_fast.metrics.power_spectrum import SMALLEST, power_spectra
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.real_blocks import FEWEST, cut_out, draw, pixel_rows
from hud_fast.metrics.samples import Spectra, read_spectra, whole_windows
from hud_fast.metrics.spectral import spectral_angle
from hud_fast.unmixing.pixels import BLOCK_VALUES

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Everything on one device and in one dtype."""

    cubes: Tensor  # (B, h, w, C)
    abundances: Tensor  # (B, h, w, D)
    training: Spectra  # (H, W, C)
    held_out: Spectra  # (H', W', C)
    endmembers: Tensor  # (D, C)

    @property
    def block(self) -> tuple[int, int]:
        return int(self.cubes.shape[1]), int(self.cubes.shape[2])


@dataclass(frozen=True, eq=False)
class BlockSet:
    """Blocks, and where those of a half lie in it."""

    cubes: Tensor  # (n, h, w, C)
    abundances: Tensor  # (n, h, w, D)
    half: Spectra | None = None
    rows: Tensor | None = None  # (n, h, w) of the flattened half


def read_inputs(
    function: str,
    cubes: Any,
    abundances: Any,
    training: Any,
    held_out: Any,
    endmembers: Any,
    training_mask: Any,
    held_out_mask: Any,
) -> Inputs:
    """Check shapes, dtypes and room."""
    left = read_spectra(function, "cubes", cubes)
    if left.values.ndim != 4 or len(left.values) < 2 or min(left.values.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"{function}: `cubes` must have shape (B, h, w, C) with B >= 2 and h, w >= {SMALLEST}, "
            f"got {tuple(left.values.shape)}"
        )
    if left.counts.nonfinite:
        raise ValueError(
            f"{function}: `cubes` must be finite, got {left.counts.nonfinite} pixels with NaN or infinity"
        )
    _, h, w, C = left.values.shape
    spectra = as_wide(function, "endmembers", endmembers).detach()
    check_endmembers(function, spectra, C, of="cubes")
    maps = as_wide(function, "abundances", abundances).detach()
    shape = (*left.values.shape[:3], len(spectra))
    if tuple(maps.shape) != shape:
        raise ValueError(
            f"{function}: `abundances` must have shape {shape}, as `cubes` and `endmembers` have it, got "
            f"{tuple(maps.shape)}"
        )
    halves = {}
    for name, values, mask in (
        ("training", training, training_mask),
        ("held_out", held_out, held_out_mask),
    ):
        half = read_spectra(function, name, values, f"{name}_mask", mask)
        if half.values.ndim != 3 or half.C != C:
            raise ValueError(
                f"{function}: `{name}` must have shape (H, W, C) with C = {C} as in `cubes`, got "
                f"{tuple(half.values.shape)}"
            )
        H, W = half.valid.shape
        fits = h <= H and w <= W
        if not fits or int(whole_windows(half.valid, h, w).sum()) < FEWEST:
            raise ValueError(
                f"{function}: `{name}` must hold at least {FEWEST} windows of {h} x {w} valid pixels, "
                f"as large as `cubes`, got {H} x {W} that does not: take smaller cubes or a larger scene"
            )
        halves[name] = half
    dtype = left.values.dtype
    for half in halves.values():
        dtype = torch.promote_types(dtype, half.values.dtype)
    device = left.values.device
    moved = {
        name: Spectra(half.values.to(device, dtype), half.valid.to(device), half.counts)
        for name, half in halves.items()
    }
    return Inputs(
        left.values.to(dtype), maps.to(device), **moved, endmembers=spectra.to(device, dtype)
    )


def real_blocks(inputs: Inputs, half: Spectra, count: int, seed: list[int]) -> BlockSet:
    """Blocks drawn from a half, with their exact abundances."""
    origin = draw(whole_windows(half.valid, *inputs.block), count, np.random.default_rng(seed))
    cubes = cut_out(half, origin, inputs.block)
    rows = pixel_rows(origin, inputs.block, half.valid.shape[1])
    distinct, place = rows.unique(return_inverse=True)  # blocks overlap: each pixel is solved once
    pixels = half.values.reshape(-1, half.C)[distinct.to(half.values.device)]
    solved = fcls(pixels, inputs.endmembers)
    return BlockSet(cubes, solved[place.to(solved.device)], half, rows)


@dataclass(frozen=True, eq=False)
class MapStatistics:
    """Of each block's abundance maps."""

    spread: Distributions
    power: Array  # (n, D, J)

    def part(self, index: NDArray[np.int64]) -> MapStatistics:
        """Those of some of the blocks."""
        return MapStatistics(self.spread.part(index), self.power[index])


def map_statistics(blocks: BlockSet) -> MapStatistics:
    """Distributions and power spectra of the abundances, block by block."""
    return MapStatistics(distributions(blocks.abundances), power_spectra(blocks.abundances))


def nearest_spectra(
    blocks: BlockSet, reference: Spectra, progress: Progress | None
) -> tuple[Array, Array]:  # (n,), (n,)
    """Of each block the mean cosine with the nearest real pixels, and the mean angle in degrees."""
    if blocks.rows is None or blocks.half is None:
        pixels, place = blocks.cubes.reshape(-1, blocks.cubes.shape[-1]), None
    else:
        distinct, place = blocks.rows.unique(return_inverse=True)
        pixels = blocks.half.values.reshape(-1, blocks.half.C)[
            distinct.to(blocks.half.values.device)
        ]
    known = reference.rows()
    cosine, index = nearest_pixels(pixels, known, progress=progress)
    step = max(1, BLOCK_VALUES // pixels.shape[1])
    angle = torch.cat(
        [
            spectral_angle(pixels[i : i + step], known[index[i : i + step]], reduction="none")
            for i in range(0, len(pixels), step)
        ]
    )
    found = []
    for values in (cosine, angle):
        each = values if place is None else values[place.to(values.device)]
        found.append(each.reshape(len(blocks.cubes), -1).mean(dim=1).cpu().numpy())
    return found[0], found[1]
