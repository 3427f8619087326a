"""What a window search multiplies pixels, blocks and windows with, and which windows are left out."""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast._checks import unit_scale
from hud_fast.kernels._native import C

_VALUES = 1 << 22  # numbers held in float64 at once


def pixel_factor(pixels: Tensor, norm: str, normalize: bool) -> Tensor:  # (..., C) -> (...)
    """What each pixel is multiplied with before the search: 1 / its norm, or one number; NaN where not finite."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    if norm == "pixel" and normalize:
        if flat.device.type == "cpu":
            factor = torch.empty(len(flat), dtype=torch.float64, device="cpu")
            C.row_inverse(flat.contiguous(), factor, torch.get_num_threads())
        else:
            wide = flat.double()
            length = torch.linalg.vector_norm(wide, dim=1)
            factor = torch.where(length > 0, 1 / length, 0.0)
            factor = torch.where(torch.isfinite(wide).all(1), factor, torch.nan)
        return factor.reshape(pixels.shape[:-1])
    step = _step(flat.shape[1])
    parts = [(part, torch.isfinite(part).all(1)) for part in flat.split(step)]
    largest = [part[good].abs().max() for part, good in parts if bool(good.any())]
    # One power of two for all brings the pixels to norms below 1: float32 products neither overflow nor vanish.
    scale = unit_scale(torch.stack(largest).double() * flat.shape[-1] ** 0.5) if largest else 1.0
    finite = torch.cat([good for _, good in parts])
    factor = torch.full_like(finite, scale, dtype=torch.float64).masked_fill(~finite, torch.nan)
    return factor.reshape(pixels.shape[:-1])


def scene_factor(
    scene: Tensor,  # (H, W, C)
    lengths: Tensor | None,  # (H, W), where the pixels' norms are not those of `scene`
    norm: str,
    normalize: bool,
) -> Tensor:  # (H, W)
    factor = pixel_factor(scene, norm, normalize)
    if lengths is None or norm == "block":
        return factor
    return torch.where(torch.isnan(factor), torch.nan, torch.where(lengths > 0, 1 / lengths, 0.0))


def window_sum(values: Tensor, h: int, w: int, stride: int) -> Tensor:  # (H, W) -> (rows, columns)
    """Sum over every h x w window in float64: no cancellation beside a very bright pixel."""
    tall = _running_sum(values.double(), h)[::stride]
    return _running_sum(tall.T, w)[::stride].T.contiguous()


def _running_sum(values: Tensor, side: int) -> Tensor:  # (n, ...) -> (n - side + 1, ...)
    """Sums of 1, 2, 4 ... rows, put together as `side` in binary says."""
    rows = len(values) - side + 1
    total, power, offset = torch.zeros_like(values[:rows]), values, 0
    size = 1
    while size <= side:
        if side & size:
            total += power[offset : offset + rows]
            offset += size
        power = power[:-size] + power[size:]
        size *= 2
    return total


def left_out(
    scene_factor: Tensor,  # (H, W)
    mask: Tensor | None,  # (H, W) bool
    h: int,
    w: int,
    stride: int,
) -> Tensor:  # (rows, columns) bool
    """Windows that touch a masked or non-finite pixel."""
    out = torch.isnan(scene_factor) if mask is None else torch.isnan(scene_factor) | ~mask
    if not bool(out.any()):
        H, W = out.shape
        return out.new_zeros(((H - h) // stride + 1, (W - w) // stride + 1))
    return window_sum(out, h, w, stride) > 0.5


def window_scales(
    scene: Tensor,  # (H, W, C)
    scene_factor: Tensor,  # (H, W)
    out: Tensor,  # (rows, columns) bool
    h: int,
    w: int,
    stride: int,
    norm: str,
) -> Tensor:  # (rows, columns) float64
    """What a window's sum is multiplied with; NaN where it is left out."""
    if norm == "pixel":
        scale = torch.full_like(out, 1 / (h * w), dtype=torch.float64)
    else:
        length = window_sum(energy(scene, scene_factor), h, w, stride).clamp_min(0).sqrt()
        smallest = 1e-30 * float(length.max())  # float32 scores end there
        scale = torch.where(length > smallest, 1 / length, 0.0)
    return scale.masked_fill(out, torch.nan)


def block_scales(
    blocks: Tensor,  # (B, h, w, C)
    block_factor: Tensor,  # (B, h, w)
    scene_factor: Tensor,  # (H, W)
    norm: str,
    normalize: bool,
) -> Tensor:  # (B,) float64
    """What a block's sums are multiplied with."""
    if norm == "pixel":
        undo = 1.0 if normalize else 1 / (one_factor(block_factor) * one_factor(scene_factor))
        return torch.full((len(blocks),), undo, dtype=torch.float64, device=blocks.device)
    length = energy(blocks, block_factor).sum((1, 2)).sqrt()
    return torch.where(length > 0, 1 / length, 0.0)


def energy(pixels: Tensor, factor: Tensor) -> Tensor:  # (..., C), (...) -> (...)
    """Squared norms in float64, 0 where not finite."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    known, step = torch.nan_to_num(factor, nan=0.0).reshape(-1, 1), _step(flat.shape[1])
    wide = (part.double() * f for part, f in zip(flat.split(step), known.split(step), strict=True))
    sums = [part.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).square().sum(-1) for part in wide]
    return torch.cat(sums).reshape(pixels.shape[:-1])


def _step(bands: int) -> int:
    """Pixels taken together: float64 copies of a whole scene would be several times its size."""
    return max(1, _VALUES // bands)


def one_factor(factor: Tensor) -> float:
    """The number all finite pixels are multiplied with."""
    known = factor[~torch.isnan(factor)]
    return float(known[0]) if len(known) else 1.0
