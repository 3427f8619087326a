"""Each block's most similar window of a scene, over all positions: the search behind block diversity.

    value_b = max over positions p of (1 / hw) sum_d cos(block_b[d], scene[p + d])          norm="pixel"
    value_b = max over positions p of <block_b, window_p> / (|block_b| |window_p|)          norm="block"

(HUD, arXiv 2506.02601, eq. 17: the first reading is its letter.) Windows that touch a masked or non-finite pixel are
left out. Zero-norm pixels have cosine 0. Shapes: blocks (B, h, w, C), scene (H, W, C).

A correlation in float32, whose near-best windows float64 rescores from the inputs: by overlap-save Fourier transforms
of scene tiles, about 4 L^2 (C + log L) operations a tile of L x L pixels and block, or directly in 2 h w C a window
where that is less (tiny blocks, wide strides). Every score comes with a proven bound on its rounding, so the best
window is never lost; blocks for which too many windows tie are looked up again in float64.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_mask,
    as_tensor,
    check_choice,
    check_count,
    check_device,
    check_flag,
    check_limit,
    like_input,
    shape_text,
    widen,
)
from hud_fast.kernels._backend import readable, resolve
from hud_fast.kernels.windows.door import OP, Searcher, prepare, within
from hud_fast.kernels.windows.index import WindowIndex
from hud_fast.kernels.windows.pixels import coordinates, similarities
from hud_fast.kernels.windows.reference import TorchScene
from hud_fast.kernels.windows.short_cut import SceneSearches, SearchScene, mixed_basis, outside

__all__ = [
    "SceneSearches",
    "SearchScene",
    "Searcher",
    "WindowIndex",
    "coordinates",
    "mixed_basis",
    "outside",
    "prepare",
    "similarities",
    "window_search",
]


def _check(blocks: Tensor, scene: Tensor, stride: int, norm: str) -> int:
    """The stride as an int, no larger than the scene; an error where something does not fit."""
    op = "window_search"
    if blocks.ndim != 4 or 0 in blocks.shape[1:]:
        raise ValueError(
            f"{op}: `blocks` must have shape (B, h, w, C), none of h, w, C zero, got {shape_text(blocks)}"
        )
    if scene.ndim != 3 or scene.shape[2] != blocks.shape[3]:
        raise ValueError(
            f"{op}: `scene` must have shape (H, W, C) with `blocks`' C = {blocks.shape[3]}, got {shape_text(scene)}"
        )
    if scene.shape[0] < blocks.shape[1] or scene.shape[1] < blocks.shape[2]:
        raise ValueError(
            f"{op}: `blocks` must fit into the scene's {scene.shape[0]} x {scene.shape[1]} pixels, "
            f"got blocks of {blocks.shape[1]} x {blocks.shape[2]}"
        )
    stride = check_count(op, "stride", stride)
    check_choice(op, "norm", norm, ("pixel", "block"))
    check_device(op, "scene", scene, blocks.device, "blocks")
    if blocks.is_meta:
        raise RuntimeError(f"{op}: `blocks` must hold values, got a tensor on the meta device")
    return within(stride, scene)


def window_search(
    blocks: ArrayT,  # (B, h, w, C)
    scene: ArrayLike,  # (H, W, C)
    *,
    stride: int = 1,
    norm: str = "pixel",
    mask: ArrayLike | None = None,  # (H, W) bool
    normalize: bool = True,
    backend: str | None = None,
    memory_limit: int | None = None,
) -> tuple[ArrayT, ArrayT]:  # (B,) float64, (B, 2) int64
    """For each block, the largest mean cosine with any window of the scene, and where that window is.

    Parameters
    ----------
    blocks : ndarray or Tensor, shape (B, h, w, C)
        Blocks to look up; any real dtype. A block with a non-finite value gives NaN and position (-1, -1).
    scene : ndarray or Tensor, shape (H, W, C)
        The scene; H >= h, W >= w.
    stride : int
        Step between window positions, both ways.
    norm : {"pixel", "block"}
        Mean of per-pixel cosines (the paper's letter), or the cosine of whole blocks, where a window 1e30 times
        darker than the brightest counts as zero.
    mask : bool array, shape (H, W), optional
        True = valid. Windows that touch an invalid or non-finite pixel are left out.
    normalize : bool
        False takes pixels as they are, unit spectra in a reduced basis say (only with ``norm="pixel"``).
    backend : {None, "cpu", "cuda", "torch"}
        Force an implementation; None takes the fastest, on a GPU "cuda" where `check_gpu` has proved it. "cuda"
        compares one block of a call with all windows in float64, where no `memory_limit` is set.
    memory_limit : int, optional
        Bytes of scratch beyond inputs and results that a compiled kernel may use; time is traded for it, values are
        the same. Without it the scratch grows with scene and block, but not with the number of blocks.

    Returns
    -------
    value : (B,) float64
        Within 1e-9 of the float64 maximum, the same bits for any order or split of the blocks and any thread count.
        Not differentiable.
    position : (B, 2) int64
        Row and column of the window's first pixel. Where more than 64 windows tie within 1e-11, one of them.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers, or a mask that is not bool.
    ValueError
        Where shapes or options do not fit, or every window is left out.
    RuntimeError
        For tensors on different devices, a backend that cannot run, or where float64 contradicts a GPU's search.

    References
    ----------
    HUD, arXiv 2506.02601, eq. 17.

    Examples
    --------
    >>> import numpy as np, hud_fast as hud
    >>> scene = np.random.default_rng(0).random((12, 10, 5))
    >>> value, position = hud.window_search(scene[None, 3:7, 2:6], scene)
    >>> float(value[0].round(12)), position[0].tolist()
    (1.0, [3, 2])
    """
    b = as_tensor("window_search", "blocks", blocks).detach()
    s = widen(as_tensor("window_search", "scene", scene)).detach()
    stride = _check(b, s, stride, norm)
    normalize = check_flag("window_search", "normalize", normalize)
    if norm == "block" and not normalize:
        raise ValueError("window_search: `normalize` must be True with norm='block', got False")
    limit = check_limit("window_search", memory_limit)
    valid = as_mask("window_search", "mask", mask, s.shape[:2])
    valid = None if valid is None else valid.to(s.device)
    chosen = resolve("window_search", backend, widen(b[:0]))
    if chosen == "torch" or readable(b, s):
        value, position = prepare(
            s,
            (b.shape[1], b.shape[2]),
            widen(b[:0]).dtype,
            stride=stride,
            norm=norm,
            mask=valid,
            normalize=normalize,
            memory_limit=limit,
            backend=chosen,
        ).search(b)
    else:
        op = partial(OP, backend="cpu" if chosen == "cpu" else "torch")
        value, position = TorchScene(s, stride, norm, valid, normalize, None, op).search(b)
    return like_input(value, blocks), like_input(position, blocks)
