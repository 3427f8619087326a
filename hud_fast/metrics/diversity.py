"""Block diversity D_b (eq. 17 of arXiv 2506.02601): are generated blocks more than copies of the scene's?

    D_b = mean over generated blocks g of  max over windows s of the scene, of  similarity(g, s)
    similarity, norm "pixel":  mean over the block's pixels of  <g_i, s_i> / (|g_i| |s_i|)
    similarity, norm "block":  <g, s> / (|g| |s|), the block taken as one vector

"pixel" is the literal reading (D_b <= F_p then holds for every block, as in the paper's Table I)
and the default. The paper fixes neither block size, stride nor norm; `stride` is the step between
real windows. Lower is more diverse, at equal F_p. Exact: `kernels.window_search` over every
position, the winners evaluated again in float64.

Shapes: generated (B, h, w, C) or (h, w, C) or `Mixtures`, real (H, W, C) -> float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_choice, check_count, check_flag, check_limit
from hud_fast.metrics._sampled_blocks import read_samples, search_samples
from hud_fast.metrics._search import Norm
from hud_fast.metrics.authors_scale import Scale, check_scale, mapped_spectra
from hud_fast.metrics.json_values import distribution
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.samples import Counts, check_block, check_scene, check_windows, read_scene


@dataclass(frozen=True, eq=False)
class BlockDiversity:
    """D_b with everything it was made of."""

    value: float
    similarity: NDArray[np.float64]  # (n,) of each block with its best window
    position: NDArray[np.int64]  # (n, 2) row and column of that window
    turn: NDArray[np.int64]  # (n,) k: np.rot90(block, k) is what lies there
    index: NDArray[np.int64]  # (n,) which block: samples first, then tiles row by row
    block: tuple[int, int]
    stride: int
    norm: Norm
    scale: Scale | None
    full_scale: float | None
    turns: int
    blocks_left_out: int  # with a masked or non-finite pixel
    unused_pixels: int  # remainders beyond the last whole tile
    generated: Counts
    real: Counts

    def to_dict(self) -> dict[str, Any]:
        """Value, distribution over blocks, options and counts, JSON-able."""
        return {
            "value": self.value,
            "blocks": distribution(self.similarity),
            "block": list(self.block),
            "stride": self.stride,
            "norm": self.norm,
            "scale": self.scale,
            "full_scale": self.full_scale,
            "turns": self.turns,
            "counts": {
                "blocks": len(self.similarity),
                "blocks_left_out": self.blocks_left_out,
                "unused_pixels": self.unused_pixels,
                "generated": self.generated.to_dict(),
                "real": self.real.to_dict(),
            },
        }


@overload
def block_diversity(
    generated: Any,
    real: Any,
    *,
    block: int | tuple[int, int] | None = ...,
    stride: int = ...,
    norm: Norm = ...,
    scale: Scale | None = ...,
    full_scale: float | None = ...,
    turns: int = ...,
    generated_mask: Any = ...,
    mask: Any = ...,
    return_details: Literal[False] = ...,
    progress: Progress | None = ...,
    memory_limit: int | None = ...,
) -> float: ...
@overload
def block_diversity(
    generated: Any,
    real: Any,
    *,
    block: int | tuple[int, int] | None = ...,
    stride: int = ...,
    norm: Norm = ...,
    scale: Scale | None = ...,
    full_scale: float | None = ...,
    turns: int = ...,
    generated_mask: Any = ...,
    mask: Any = ...,
    return_details: Literal[True],
    progress: Progress | None = ...,
    memory_limit: int | None = ...,
) -> BlockDiversity: ...
def block_diversity(
    generated: Any,  # (B, h, w, C) or (h, w, C), or Mixtures
    real: Any,  # (H, W, C), or WindowIndex
    *,
    block: int | tuple[int, int] | None = None,
    stride: int = 1,
    norm: Norm = "pixel",
    scale: Scale | None = None,
    full_scale: float | None = None,
    turns: int = 1,
    generated_mask: Any = None,  # (B, h, w) or (h, w) bool
    mask: Any = None,  # (H, W) bool
    return_details: bool = False,
    progress: Progress | None = None,
    memory_limit: int | None = None,
) -> float | BlockDiversity:
    """Mean over generated blocks of the largest similarity with any window of the real scene.

    Parameters
    ----------
    generated : array or tensor, (B, h, w, C) or (h, w, C), or Mixtures
        Generated samples; any unit, as cosines ignore it. They are read a few at a time, so a memory map may hold
        more than fits into memory. From `Mixtures`, abundances (B, h, w, D) or (h, w, D) and endmembers (D, C), no
        spectrum is ever formed.
    real : array or tensor, (H, W, C), or WindowIndex
        The scene, or an index made ready once for many calls: of the same block, stride and norm; its own mask counts.
    block : int or (int, int), optional
        Size of the blocks in pixels; each sample is tiled from its upper left corner and the
        remainder dropped (and counted). Default: each sample is one block.
    stride : int
        Step between windows of the scene, in pixels, both ways. 1 tries every position.
    norm : {"pixel", "block"}
        Each pixel normalised by its own norm, or each block by its Frobenius norm.
    scale : {None, "paper"}
        "paper": both sides are first clipped to [0, full_scale] and mapped to [-1, 1], as the authors' code does. The
        values are then not those of reflectance; not for `Mixtures`, as the map is not linear.
    full_scale : float, optional
        With scale="paper", in the unit of both sides: 8192 for Indian Pines, 512 for KSC, 4096 for Pavia, PaviaU and
        Salinas.
    turns : {1, 4}
        4: each block is tried in its four quarter turns, without flips, and the best counts, as in the authors' code.
        Blocks must then be square.
    generated_mask, mask : array or tensor of bool, optional
        True = valid pixel. Blocks and windows that touch a masked or non-finite pixel are left out;
        zero pixels stay in with cosine 0. All are counted.
    return_details : bool
        Return `BlockDiversity`: per-block similarity and window position, options and counts.
    progress : callable, optional
        Called as progress(done, total) in blocks.
    memory_limit : int, optional
        Bytes of scratch for the search beyond the scene; a smaller one takes longer and finds the same. With or
        without it, memory does not grow with the number of samples.

    Returns
    -------
    float or BlockDiversity
        D_b in [-1, 1].

    Raises
    ------
    TypeError
        Input that is not numeric, a mask that is not boolean, `block` or `stride` not an int.
    ValueError
        Bands that differ, shapes that do not fit, a block larger than a sample, a scene smaller
        than a block, no block or no window without masked pixels, an unknown norm or scale, a `full_scale` that is
        missing or not asked for.

    References
    ----------
    arXiv 2506.02601, eq. 17 (its "y_b in X" means a block of the real scene).

    Examples
    --------
    A crop of the scene is found again, wherever it was taken and whatever its brightness:

    >>> import numpy as np
    >>> real = np.random.default_rng(0).random((12, 10, 4))
    >>> details = block_diversity(2 * real[3:7, 5:9], real, return_details=True)
    >>> round(details.value, 6), details.position.tolist()
    (1.0, [[3, 5]])
    """
    name = "block_diversity"
    stride = check_count(name, "stride", stride)
    check_choice(name, "norm", norm, ("pixel", "block"))
    return_details = check_flag(name, "return_details", return_details)
    limit = check_limit(name, memory_limit)
    full = check_scale(name, scale, full_scale, generated=generated, real=real)
    if turns not in (1, 4):
        raise ValueError(f"{name}: `turns` must be 1 or 4, got {turns!r}")
    right = mapped_spectra(read_scene(name, real, mask, stride, norm), full)
    samples = read_samples(name, generated, generated_mask, block, right, full)
    if turns == 4 and samples.block[0] != samples.block[1]:
        h, w = samples.block
        raise ValueError(f"{name}: `turns` = 4 needs square blocks, got {h} x {w} pixels")
    check_block(name, real, samples.block)
    check_scene(name, right)
    samples.check()
    check_windows(name, right, *samples.block, stride)
    found = search_samples(
        samples,
        right,
        stride=stride,
        norm=norm,
        turns=turns,
        progress=progress,
        memory_limit=limit,
    )
    value = float(found.value.mean())
    if not return_details:
        return value
    return BlockDiversity(
        value,
        similarity=found.value.cpu().numpy(),
        position=found.position.cpu().numpy(),
        turn=found.turn.cpu().numpy(),
        index=found.index.cpu().numpy(),
        block=samples.block,
        stride=stride,
        norm=norm,
        scale=scale,
        full_scale=full,
        turns=turns,
        blocks_left_out=found.left_out,
        unused_pixels=samples.unused_pixels,
        generated=found.counts,
        real=right.counts,
    )
