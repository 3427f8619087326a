"""The search for the nearest window behind the metrics: the kernel, a short cut, float64 rescoring.

What brute force over all bands in float64 would return: the kernel (in r numbers a pixel where the blocks lie in the
span of few spectra) finds the place, and the value is computed again at that place from the raw bands.

The short cut is exact. With P (C, r) an orthonormal basis of the generated pixels' span, q = P P^T q for each of them,
so that for any real pixel u (<q, u> is all that a cosine needs beside the norms)

    <q, u> = <(P^T q, 0), (P^T u, rho_u)>,  |q| = |(P^T q, 0)|,  |u| = |(P^T u, rho_u)|,  rho_u = |u - P P^T u|

exactly: C bands become r + 1 numbers, and every cosine, Frobenius cosine and norm is what it was.
The last number carries what the span cannot, so the real pixels keep their own norms. A generated
pixel may be off the span by a relative 1e-6 (float32 storage alone puts it off by 3e-8); its
cosines move by at most 1e-6 times rho_u / |u|, and the winners are evaluated again in all bands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hud_fast.kernels.cosine import GATE, span_basis
from hud_fast.kernels.windows import Searcher, coordinates, prepare, similarities
from hud_fast.metrics._search import Norm, progress_step
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.samples import Spectra
from hud_fast.unmixing.pixels import BLOCK_VALUES

_BLOCKS = 16  # a call takes a multiple of so many blocks: the kernel's lanes are full
_SAMPLED = 8192  # pixels that a basis is first looked for in


@dataclass(frozen=True, eq=False)
class SearchScene:
    """A scene made ready for any number of searches."""

    real: Spectra  # (H, W, C)
    keys: Tensor  # (H, W, C) the pixels, or (H, W, r) their coordinates in the basis
    basis: Tensor | None  # (C, r), None to search in all bands
    lengths: Tensor | None  # (H, W) the pixels' norms, where the keys have others
    memory_limit: int | None = None
    _ready: dict[tuple[object, ...], Searcher] = field(default_factory=dict, repr=False)

    def ready(
        self, block: tuple[int, int], dtype: torch.dtype, stride: int, norm: Norm
    ) -> Searcher:
        """The kernel's own preparation for blocks of h x w pixels, made once."""
        key = (block, dtype, stride, norm)
        if key not in self._ready:
            self._ready.clear()  # one at a time: spectra are large
            self._ready[key] = prepare(
                self.keys,
                block,
                dtype,
                stride=stride,
                norm=norm,
                mask=None if bool(self.real.valid.all()) else self.real.valid,
                lengths=self.lengths,
                memory_limit=self.memory_limit,
            )
        return self._ready[key]


def search_scene(
    real: Spectra, basis: Tensor | None, memory_limit: int | None = None
) -> SearchScene:
    """`basis` is one that holds every block that will be looked up."""
    if basis is None:
        return SearchScene(real, real.values, None, None, memory_limit)
    keys, square = coordinates(real.values, basis)
    lengths = square.sqrt()
    if memory_limit is not None:
        memory_limit -= keys.numel() * 8 + lengths.numel() * 8
    return SearchScene(real, keys, basis, lengths, memory_limit)


@dataclass(frozen=True, eq=False)
class Windows:
    """The best window of each block."""

    value: Tensor  # (n,) float64
    position: Tensor  # (n, 2) int64, row and column of the window's first pixel


def nearest_windows(
    blocks: Tensor,  # (n, h, w, C) finite
    scene: SearchScene,
    *,
    stride: int = 1,
    norm: Norm = "pixel",
    left_out: Tensor | None = None,  # (rows, columns) bool
    rescore: bool = True,
    progress: Progress | None = None,
) -> Windows:
    """Best window of the scene for each block (see `kernels.window_search`), without those in `left_out`.

    Without `rescore` the values are the kernel's own: enough to compare, not to report.
    """
    n, _, _, C = blocks.shape
    step = n if progress is None else progress_step(n, _BLOCKS)
    if scene.basis is not None:  # the keys of a chunk are a copy in float64
        room = max(1, BLOCK_VALUES // (blocks[0].numel() // C * scene.basis.shape[1]))
        step = min(step, max(_BLOCKS, room // _BLOCKS * _BLOCKS))
    found = []
    for first in range(0, n, step):
        part = blocks[first : first + step]
        keys = part if scene.basis is None else coordinates(part, scene.basis)[0]
        windows = nearest_keys(keys, scene, stride=stride, norm=norm, left_out=left_out)
        if rescore and scene.basis is not None:
            value = similarities(part, windows.position, scene.real.values, norm)
            windows = Windows(value, windows.position)
        found.append(windows)
        if progress is not None:
            progress(first + len(part), n)
    return Windows(
        torch.cat([windows.value for windows in found]),
        torch.cat([windows.position for windows in found]),
    )


def nearest_keys(
    keys: Tensor,  # (n, h, w, C or r)
    scene: SearchScene,
    *,
    stride: int = 1,
    norm: Norm = "pixel",
    left_out: Tensor | None = None,  # (rows, columns) bool
) -> Windows:
    """Best window for blocks given by their own keys, in one call; the values are the kernel's."""
    _, h, w, _ = keys.shape
    return Windows(*scene.ready((h, w), keys.dtype, stride, norm).search(keys, left_out))


def outside(keys: Tensor, square: Tensor) -> Tensor:  # (..., r), (...) -> (...) bool
    """Pixels of squared norm `square` farther from the basis' span than the short cut allows.

    The distance follows from two norms: their difference is good to 1e-15 of the pixel's square, far below GATE^2.
    """
    far: Tensor = square - keys.square().sum(-1) > GATE**2 * square
    return far


def shared_basis(pixels: Tensor) -> Tensor | None:  # (n, C) -> (C, r) float64
    """As `span_basis`, from a sample of the pixels where that holds all of them."""
    sample = evenly(pixels, _SAMPLED)
    basis = span_basis(sample)
    if basis is None or len(sample) == len(pixels):
        return basis
    step = max(1, BLOCK_VALUES // pixels.shape[1])
    for first in range(0, len(pixels), step):
        part = pixels[first : first + step]
        if bool(outside(*coordinates(part, basis)).any()):
            return span_basis(pixels)
    return basis


def evenly(pixels: Tensor, most: int) -> Tensor:  # (n, C) -> (m, C)
    """Up to `most` of the pixels, from all over."""
    place = torch.linspace(
        0, len(pixels) - 1, min(len(pixels), most), dtype=torch.float32, device="cpu"
    ).long()
    return pixels[place.to(pixels.device)]
