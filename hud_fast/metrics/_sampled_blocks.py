"""Generated samples, read a few at a time, and the nearest window of each of their blocks.

Two kinds: cubes of C bands, for which a small basis is looked for, block by block kept or refused; and
mixtures, whose coordinates in the endmembers' span follow from the abundances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hud_fast._checks import as_mask, as_numpy, as_wide, check_values
from hud_fast.kernels.cosine import span_basis
from hud_fast.kernels.windows import (
    SearchScene,
    coordinates,
    mixed_basis,
    outside,
    similarities,
)
from hud_fast.metrics._nearest_windows import Windows, evenly, nearest_keys, nearest_windows
from hud_fast.metrics._search import Norm, progress_step
from hud_fast.metrics._turned_blocks import turned
from hud_fast.metrics.authors_scale import mapped, mapped_spectra
from hud_fast.metrics.mixtures import Mixtures
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.samples import (
    Blocks,
    Counts,
    Spectra,
    cut_blocks,
    fitting_block,
    read_spectra,
)
from hud_fast.unmixing.pixels import BLOCK_VALUES

_BLOCKS = 16  # a step takes a multiple of so many blocks
_SAMPLED = 8192  # pixels that a basis is looked for in
_BASES = 3  # bases tried, the later ones with pixels that the earlier did not hold


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples (B, H, W, n) that have not been read yet, and their blocks' size."""

    function: str
    values: Any  # (B, H, W, C) or (B, H, W, D), array or tensor
    mask: Tensor | None  # (B, H, W) bool
    block: tuple[int, int]
    endmembers: Tensor | None  # (D, C) float64 for mixtures
    dtype: torch.dtype  # what cubes are compared in
    device: torch.device
    full_scale: float | None  # of the authors' scale, for cubes that are compared in it

    @property
    def tiles(self) -> int:
        """Blocks of one sample."""
        _, H, W, _ = self.values.shape
        return int((H // self.block[0]) * (W // self.block[1]))

    @property
    def unused_pixels(self) -> int:
        B, H, W, _ = self.values.shape
        return int(B * (H * W - self.tiles * self.block[0] * self.block[1]))

    def read(self, first: int, last: int) -> tuple[Spectra, Blocks]:
        """Samples [first, last) and their whole blocks."""
        mask = None if self.mask is None else self.mask[first:last]
        spectra = read_spectra(
            self.function, "generated", self.values[first:last], "generated_mask", mask, part=True
        )
        spectra = Spectra(spectra.values.to(self.device), spectra.valid, spectra.counts)
        spectra = mapped_spectra(spectra, self.full_scale)
        return spectra, cut_blocks(self.function, spectra, self.block, part=True)

    def check(self) -> None:
        """Refuse samples without a whole block, with the errors of a single read."""
        for first in range(len(self.values)):
            if len(self.read(first, first + 1)[1].values):
                return
        # Nothing was found: read all of it for the error that says why.
        cut_blocks(
            self.function,
            read_spectra(self.function, "generated", self.values, "generated_mask", self.mask),
            self.block,
        )


def read_samples(
    function: str,
    generated: Any,
    mask: Any,
    block: Any,
    real: Spectra,
    full_scale: float | None = None,
) -> Samples:
    """Check shapes and dtypes; nothing large is read or copied."""
    endmembers = None
    values = generated
    if isinstance(generated, Mixtures):
        values, endmembers = generated.abundances, mixed_endmembers(function, generated, real.C)
    if isinstance(values, Tensor):
        check_values(function, "generated", values)
    else:
        values = as_numpy(function, "generated", values)
    whole = as_mask(function, "generated_mask", mask, tuple(values.shape[:-1]))
    if values.ndim == 3:
        values, whole = values[None], None if whole is None else whole[None]
    if values.ndim != 4:
        raise ValueError(
            f"{function}: `generated` must have shape (B, H, W, C) or (H, W, C), got {tuple(values.shape)}"
        )
    if 0 in values.shape:
        raise ValueError(
            f"{function}: `generated` must not be empty, got shape {tuple(values.shape)}"
        )
    if endmembers is None and values.shape[-1] != real.C:
        raise ValueError(
            f"{function}: `generated` must have the C = {real.C} bands of `real`, got {values.shape[-1]}"
        )
    shape = fitting_block(function, tuple(values.shape), block)
    one = as_wide(function, "generated", values[:1, :1, :1], small_integers=torch.float32)
    dtype = torch.promote_types(one.dtype, real.values.dtype)
    return Samples(function, values, whole, shape, endmembers, dtype, one.device, full_scale)


def mixed_endmembers(function: str, mixtures: Mixtures, C: int) -> Tensor:  # (D, C) float64
    spectra = as_wide(function, "generated", mixtures.endmembers).detach().double()
    if spectra.shape[1] != C:
        raise ValueError(
            f"{function}: `generated` must have the C = {C} bands of `real`, got {spectra.shape[1]}"
        )
    return spectra


@dataclass(frozen=True, eq=False)
class SampleWindows:
    """The best window of each block, and what became of the samples."""

    value: Tensor  # (n,) float64
    position: Tensor  # (n, 2) int64
    turn: Tensor  # (n,) int64, quarter turns of the block
    index: Tensor  # (n,) which block: samples first, then tiles row by row
    left_out: int
    counts: Counts


def search_samples(
    samples: Samples,
    real: Spectra,
    *,
    stride: int,
    norm: Norm,
    turns: int = 1,
    progress: Progress | None,
    memory_limit: int | None,
) -> SampleWindows:
    """Every whole block against every window, in `turns` quarter turns, a few samples at a time."""
    real = real.to(samples.device)
    search: _Cubes | _Mixed
    if samples.endmembers is None:
        search = _Cubes(samples, real, stride, norm, memory_limit)
    else:
        search = _Mixed(samples, samples.endmembers, real, stride, norm, memory_limit)
    B, total = len(samples.values), len(samples.values) * samples.tiles
    found: list[Windows] = []
    turn: list[Tensor] = []
    index: list[Tensor] = []
    counts: list[Counts] = []
    left_out = 0
    for first, last in _steps(samples, progress, memory_limit):
        spectra, blocks = samples.read(first, last)
        counts.append(spectra.counts)
        left_out += blocks.left_out
        if len(blocks.values):
            windows, best = _in_turns(search, blocks.values, turns)
            found.append(windows)
            turn.append(best)
            index.append(blocks.index + first * samples.tiles)
        if progress is not None:
            progress(min(last, B) * samples.tiles, total)
    return SampleWindows(
        torch.cat([windows.value for windows in found]),
        torch.cat([windows.position for windows in found]),
        torch.cat(turn),
        torch.cat(index),
        left_out,
        Counts(
            *(
                sum(getattr(one, name) for one in counts)
                for name in ("pixels", "masked", "nonfinite", "zero")
            )
        ),
    )


def _in_turns(search: _Cubes | _Mixed, blocks: Tensor, turns: int) -> tuple[Windows, Tensor]:
    """Best window of each block over its first `turns` quarter turns, and which (n,); the first of equals."""
    found = [search.windows(turned(blocks, k) if k else blocks) for k in range(turns)]
    turn = torch.stack([windows.value for windows in found]).argmax(dim=0)
    value, position = found[0].value, found[0].position
    for k, windows in enumerate(found):
        value = torch.where(turn == k, windows.value, value)
        position = torch.where((turn == k)[:, None], windows.position, position)
    return Windows(value, position), turn


def _steps(
    samples: Samples, progress: Progress | None, memory_limit: int | None
) -> Iterator[tuple[int, int]]:
    """Ranges of samples: a float64 copy of one stays small, and holds a multiple of the kernel's lanes of blocks."""
    B, H, W, n = samples.values.shape
    room = BLOCK_VALUES if memory_limit is None else min(BLOCK_VALUES, memory_limit // 64)
    step = max(1, room // (H * W * n))
    if progress is not None:
        blocks = progress_step(B * samples.tiles, _BLOCKS)
        step = min(step, max(1, blocks // samples.tiles))
    unit = max(1, _BLOCKS // samples.tiles)
    step = max(1, step // unit * unit)
    for first in range(0, B, step):
        yield first, min(first + step, B)


class _Mixed:
    """Blocks as abundances: coordinates in the endmembers' span, exact."""

    def __init__(
        self,
        samples: Samples,
        endmembers: Tensor,  # (D, C)
        real: Spectra,
        stride: int,
        norm: Norm,
        memory_limit: int | None,
    ) -> None:
        self.stride, self.norm = stride, norm
        basis, self.turn = mixed_basis(endmembers.to(samples.device))
        self.scene = real.searches.by(basis, memory_limit=memory_limit)

    def windows(self, abundances: Tensor) -> Windows:  # (n, h, w, D)
        keys, _ = coordinates(abundances, self.turn)
        return nearest_keys(keys, self.scene, stride=self.stride, norm=self.norm)


class _Cubes:
    """Blocks of C bands: through a basis of a sample of their pixels where it holds them, else in all bands."""

    def __init__(
        self,
        samples: Samples,
        real: Spectra,
        stride: int,
        norm: Norm,
        memory_limit: int | None,
    ) -> None:
        self.real, self.stride, self.norm, self.limit = real, stride, norm, memory_limit
        self.dtype = samples.dtype
        self.known = _sampled_pixels(samples)
        self.bases = 0
        self.short: SearchScene | None = None
        self.long: SearchScene | None = None
        self._look_for_basis()

    def _look_for_basis(self) -> None:
        self.bases += 1
        self.short = None
        if not len(self.known):
            return
        searches = self.real.searches
        if self.limit is None:
            self.short = searches.holding(self.known)
        if self.short is None:
            basis = span_basis(self.known)
            if basis is not None:
                self.short = searches.by(basis, memory_limit=self.limit)

    def windows(self, blocks: Tensor) -> Windows:  # (n, h, w, C)
        value = torch.empty(len(blocks), dtype=torch.float64, device=blocks.device)
        position = torch.empty(len(blocks), 2, dtype=torch.int64, device=blocks.device)
        rest = torch.ones(len(blocks), dtype=torch.bool, device=blocks.device)
        while self.short is not None and self.short.basis is not None:
            part = blocks if bool(rest.all()) else blocks[rest]
            keys, square = coordinates(part, self.short.basis)
            foreign = outside(keys, square)
            held = ~foreign.flatten(1).any(1)
            if bool(held.any()):
                kept = slice(None) if bool(held.all()) else held
                windows = nearest_keys(keys[kept], self.short, stride=self.stride, norm=self.norm)
                place = rest.nonzero()[:, 0][held]
                value[place] = similarities(
                    part[kept], windows.position, self.real.values, self.norm
                )
                position[place] = windows.position
                rest[place] = False
            if not bool(rest.any()) or self.bases >= _BASES:
                break
            pixels = part[foreign]
            few = evenly(pixels, _SAMPLED)
            self.known = torch.cat([self.known, few.to(self.known.dtype)])
            self._look_for_basis()
        if bool(rest.any()):
            if self.long is None:
                self.long = self.real.searches.by(None, dtype=self.dtype, memory_limit=self.limit)
            part = (blocks if bool(rest.all()) else blocks[rest]).to(self.dtype)
            windows = nearest_windows(part, self.long, stride=self.stride, norm=self.norm)
            value[rest], position[rest] = windows.value, windows.position
        return Windows(value, position)


def _sampled_pixels(samples: Samples) -> Tensor:  # (n, C)
    """Finite, unmasked pixels from all over the samples."""
    shape = samples.values.shape[:3]
    count = int(np.prod(shape))
    flat = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED)).astype(np.int64))
    b, y, x = np.unravel_index(flat, shape)
    if isinstance(samples.values, Tensor):
        place = [torch.from_numpy(i).to(samples.values.device) for i in (b, y, x)]
        picked = samples.values.detach()[place[0], place[1], place[2]]
    else:
        picked = samples.values[b, y, x]
    pixels = as_wide(samples.function, "generated", picked, small_integers=torch.float32)
    keep = torch.isfinite(pixels).all(1)
    if samples.full_scale is not None:
        pixels = mapped(pixels, samples.full_scale)
    if samples.mask is not None:
        where = tuple(torch.from_numpy(i).to(samples.mask.device) for i in (b, y, x))
        keep &= samples.mask[where].to(keep.device)
    return pixels[keep]
