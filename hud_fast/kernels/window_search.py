"""Each block's most similar window of a scene, over all positions: the search behind block diversity.

    value_b = max over positions p of (1 / hw) sum_d cos(block_b[d], scene[p + d])          norm="pixel"
    value_b = max over positions p of <block_b, window_p> / (|block_b| |window_p|)          norm="block"

(HUD, arXiv 2506.02601, eq. 17: the first reading is its letter.) Windows that touch a masked or non-finite pixel are
left out. Shapes: blocks (B, h, w, C), scene (H, W, C). A direct correlation in float32, 2 h w C operations a window and
block, whose near-best windows float64 rescores from the inputs. Zero-norm pixels have cosine 0.
"""

from __future__ import annotations

import operator

import numpy as np
import torch
from torch import Tensor

from hud_fast.kernels._arrays import (
    ArrayLike,
    ArrayT,
    as_tensor,
    check_flag,
    from_numpy,
    like_input,
    shape_text,
    unit_scale,
    widen,
)
from hud_fast.kernels._backend import ran, resolve
from hud_fast.kernels._native import C

# Scores (of unit pixels) this close to the best are rescored in float64, for up to 200 bands. Twice the float32 pass'
# error is less: measured worst for a single pixel 7e-7 at 200 bands, growing with their root; larger blocks average it.
MARGIN = 2e-6


def pixel_factor(rows: Tensor, norm: str, normalize: bool) -> Tensor:
    """What each pixel is multiplied with before the search: 1 / its norm, or one number; NaN where not finite."""
    flat = rows.reshape(-1, rows.shape[-1])
    if norm == "pixel" and normalize:
        if rows.device.type == "cpu":
            factor = torch.empty(len(flat), dtype=torch.float64)
            C.row_inverse(flat.contiguous(), factor, torch.get_num_threads())
        else:
            wide = flat.double()
            length = torch.linalg.vector_norm(wide, dim=1)
            factor = torch.where(length > 0, 1 / length, 0.0)
            factor = torch.where(torch.isfinite(wide).all(1), factor, torch.nan)
        return factor.reshape(rows.shape[:-1])
    finite = torch.isfinite(flat).all(1)
    # One power of two for all brings the pixels to norms below 1: float32 products neither overflow nor vanish.
    scale = unit_scale(flat[finite].double() * rows.shape[-1] ** 0.5) if bool(finite.any()) else 1.0
    factor = torch.full_like(finite, scale, dtype=torch.float64).masked_fill(~finite, torch.nan)
    return factor.reshape(rows.shape[:-1])


def window_sum(values: Tensor, h: int, w: int, stride: int) -> Tensor:  # (H, W) -> (rows, columns)
    """Sum over every h x w window in float64, down and then across: no cancellation beside a very bright pixel."""
    pool = torch.nn.functional.avg_pool2d
    tall = pool(values.double()[None, None], (h, 1), (stride, 1), divisor_override=1)
    return pool(tall, (1, w), (1, stride), divisor_override=1)[0, 0]


def _scales(
    blocks: Tensor,
    scene: Tensor,
    block_factor: Tensor,
    scene_factor: Tensor,
    mask: Tensor | None,
    stride: int,
    norm: str,
    normalize: bool,
) -> tuple[Tensor, Tensor]:  # (B,), (rows, columns)
    """What a block's and a window's sums are multiplied with; NaN windows are left out."""
    _, h, w, _ = blocks.shape
    out = torch.isnan(scene_factor) if mask is None else torch.isnan(scene_factor) | ~mask
    left_out = window_sum(out, h, w, stride) > 0.5
    if norm == "pixel":
        undo = 1.0 if normalize else 1 / (_one_factor(block_factor) * _one_factor(scene_factor))
        block_scale = torch.full((len(blocks),), undo, dtype=torch.float64, device=scene.device)
        window_scale = torch.full_like(left_out, 1 / (h * w), dtype=torch.float64)
    else:
        energy = _energy(scene, scene_factor)
        length = window_sum(energy, h, w, stride).clamp_min(0).sqrt()
        smallest = 1e-30 * float(length.max())  # float32 scores end there
        window_scale = torch.where(length > smallest, 1 / length, 0.0)
        block_length = _energy(blocks, block_factor).sum((1, 2)).sqrt()
        block_scale = torch.where(block_length > 0, 1 / block_length, 0.0)
    return block_scale, window_scale.masked_fill(left_out, torch.nan)


def _one_factor(factor: Tensor) -> float:
    """The number all finite pixels are multiplied with."""
    known = factor[~torch.isnan(factor)]
    return float(known[0]) if len(known) else 1.0


def _energy(pixels: Tensor, factor: Tensor) -> Tensor:
    scaled = pixels.double() * torch.nan_to_num(factor, nan=0.0)[..., None]
    return torch.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0).square().sum(-1)


def window_search_reference(
    blocks: Tensor,  # (B, h, w, C)
    scene: Tensor,  # (H, W, C)
    block_factor: Tensor,  # (B, h, w)
    scene_factor: Tensor,  # (H, W)
    block_scale: Tensor,  # (B,)
    window_scale: Tensor,  # (rows, columns)
    stride: int,
) -> tuple[Tensor, Tensor]:  # (B,), (B, 2)
    """A float64 convolution with each block as the filter, in plain torch."""
    known = torch.nan_to_num(scene_factor, nan=0.0)[..., None]
    maps = torch.where(known != 0, scene.double() * known, 0.0).permute(2, 0, 1)[None]
    value = torch.empty(len(blocks), dtype=torch.float64, device=scene.device)
    position = torch.empty(len(blocks), 2, dtype=torch.int64, device=scene.device)
    columns = window_scale.shape[1]
    for b in range(len(blocks)):
        known = torch.nan_to_num(block_factor[b], nan=0.0)[..., None]
        filters = torch.where(known != 0, blocks[b].double() * known, 0.0).permute(2, 0, 1)[None]
        scores = torch.nn.functional.conv2d(maps, filters, stride=stride)[0, 0] * window_scale
        best = int(torch.nan_to_num(scores, nan=-torch.inf).argmax())
        value[b] = scores.flatten()[best] * block_scale[b]
        position[b, 0], position[b, 1] = best // columns * stride, best % columns * stride
    return value, position


def _native(
    blocks: Tensor,
    scene: Tensor,
    block_factor: Tensor,
    scene_factor: Tensor,
    block_scale: Tensor,
    window_scale: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor]:
    dtype = blocks.dtype if blocks.dtype == scene.dtype else torch.float64
    value = torch.empty(len(blocks), dtype=torch.float64)
    position = torch.empty(len(blocks), 2, dtype=torch.int64)
    C.window_search(
        blocks.detach().to(dtype).contiguous(),
        scene.detach().to(dtype).contiguous(),
        block_factor.contiguous(),
        scene_factor.contiguous(),
        block_scale.contiguous(),
        window_scale.contiguous(),
        stride,
        MARGIN * max(1.0, blocks.shape[3] / 200) ** 0.5,
        value,
        position,
        torch.get_num_threads(),
    )
    ran("cpu")
    return value, position


def _torch(
    blocks: Tensor,
    scene: Tensor,
    block_factor: Tensor,
    scene_factor: Tensor,
    block_scale: Tensor,
    window_scale: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor]:
    ran("torch")
    return window_search_reference(
        blocks, scene, block_factor, scene_factor, block_scale, window_scale, stride
    )


_LIBRARY = torch.library.Library("hud_fast", "FRAGMENT")
_LIBRARY.define(
    "window_search(Tensor blocks, Tensor scene, Tensor block_factor, Tensor scene_factor, Tensor block_scale,"
    " Tensor window_scale, int stride) -> (Tensor value, Tensor position)"
)
_LIBRARY.impl("window_search", _native, "CPU")
_LIBRARY.impl("window_search", _torch, "CUDA")


def _fake(
    blocks: Tensor,
    scene: Tensor,
    block_factor: Tensor,
    scene_factor: Tensor,
    block_scale: Tensor,
    window_scale: Tensor,
    stride: int,
) -> tuple[Tensor, Tensor]:
    torch._check(blocks.ndim == 4 and scene.ndim == 3, lambda: "window_search: shapes do not fit")
    B = blocks.shape[0]
    return blocks.new_empty(B, dtype=torch.float64), blocks.new_empty(B, 2, dtype=torch.int64)


torch.library.register_fake("hud_fast::window_search", _fake, lib=_LIBRARY)


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
    if not hasattr(stride, "__index__") or operator.index(stride) < 1:
        raise ValueError(f"{op}: `stride` must be an integer >= 1, got {stride!r}")
    if not isinstance(norm, str) or norm not in ("pixel", "block"):
        raise ValueError(f"{op}: `norm` must be 'pixel' or 'block', got {norm!r}")
    if scene.device != blocks.device:
        raise RuntimeError(
            f"{op}: `scene` must be on {blocks.device} as `blocks` is, got {scene.device}"
        )
    if blocks.is_meta:
        raise RuntimeError(f"{op}: `blocks` must hold values, got a tensor on the meta device")
    return min(operator.index(stride), max(scene.shape[:2]))


def window_search(
    blocks: ArrayT,  # (B, h, w, C)
    scene: ArrayLike,  # (H, W, C)
    *,
    stride: int = 1,
    norm: str = "pixel",
    mask: ArrayLike | None = None,  # (H, W) bool
    normalize: bool = True,
    backend: str | None = None,
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
    backend : {None, "cpu", "torch"}
        Force an implementation; None takes the fastest.

    Returns
    -------
    value : (B,) float64
        Within 1e-9 of the float64 maximum, and 2e-6 where more than 64 windows tie that closely. Not differentiable.
    position : (B, 2) int64
        Row and column of the window's first pixel.

    Raises
    ------
    TypeError
        For anything but arrays or tensors of real numbers, or a mask that is not bool.
    ValueError
        Where shapes or options do not fit, or every window is left out.

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
    b = widen(as_tensor(blocks, "window_search", "blocks"))
    s = widen(as_tensor(scene, "window_search", "scene"))
    stride = _check(b, s, stride, norm)
    normalize = check_flag("window_search", "normalize", normalize)
    if norm == "block" and not normalize:
        raise ValueError("window_search: `normalize` must be True with norm='block', got False")
    valid = None if mask is None else _as_mask(mask, s)
    b, s = b.detach(), s.detach()
    block_factor, scene_factor = (
        pixel_factor(b, norm, normalize),
        pixel_factor(s, norm, normalize),
    )
    block_scale, window_scale = _scales(
        b, s, block_factor, scene_factor, valid, stride, norm, normalize
    )
    if bool(torch.isnan(window_scale).all()):
        raise ValueError(
            "window_search: `scene` must have a window of the blocks' size without masked or non-finite "
            "pixels, got none"
        )
    arguments = (b, s, block_factor, scene_factor, block_scale, window_scale, stride)
    run = (
        torch.ops.hud_fast.window_search
        if resolve("window_search", backend, b) == "cpu"
        else _torch
    )
    value, position = run(*arguments)
    broken = torch.isnan(block_factor).flatten(1).any(1)
    value = value.masked_fill(broken, torch.nan)
    if (norm == "pixel" and normalize) or norm == "block":
        value = value.clamp(-1, 1)  # rounding only
    position = position.masked_fill(broken[:, None], -1)
    return like_input(value, blocks), like_input(position, blocks)


def _as_mask(mask: ArrayLike, scene: Tensor) -> Tensor:
    if not isinstance(mask, (np.ndarray, Tensor)):
        raise TypeError(
            f"window_search: `mask` must be a numpy.ndarray or a torch.Tensor, got {type(mask).__name__}"
        )
    if mask.dtype not in (np.bool_, torch.bool) or np.ma.is_masked(mask):
        kind = "a masked array" if np.ma.is_masked(mask) else mask.dtype
        raise TypeError(f"window_search: `mask` must be of dtype bool, got {kind}")
    tensor = from_numpy(mask) if isinstance(mask, np.ndarray) else mask
    if tensor.layout != torch.strided or tensor.is_meta:
        raise TypeError("window_search: `mask` must be a dense tensor that holds values")
    if tensor.shape != scene.shape[:2]:
        raise ValueError(
            f"window_search: `mask` must have shape (H, W) = {tuple(scene.shape[:2])}, got {tuple(tensor.shape)}"
        )
    return tensor.to(scene.device)
