"""What a block search on the device is scaled and centred with, in torch on the tensors' device.

What depends on the blocks never waits for the device, so a search can be captured in a CUDA graph.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels.windows.scales import energy, scene_factor, window_sum

_VALUES = 1 << 24  # numbers held in float64 at once while a scene is made ready


def device_factor(pixels: Tensor, norm: str, normalize: bool) -> Tensor:  # (..., C) -> (...)
    """As `pixel_factor`: what each pixel is multiplied with; NaN where it is not finite."""
    finite = torch.isfinite(pixels).all(-1)
    if norm == "pixel" and normalize:
        wide = pixels.double()
        largest = wide.abs().amax(-1)
        safe = torch.where((largest > 0) & finite, largest, 1.0)
        length = torch.linalg.vector_norm(wide / safe[..., None], dim=-1)
        factor = torch.where(largest > 0, 1 / length / safe, 0.0)
        return factor.masked_fill(~finite, torch.nan)
    size = torch.where(finite[..., None], pixels.abs(), 0).double() * pixels.shape[-1] ** 0.5
    scale = _unit_scale(size)
    return torch.where(finite, scale, torch.nan)


def device_scene_factor(
    scene: Tensor,  # (H, W, C)
    lengths: Tensor | None,  # (H, W), where the pixels' norms are not those of `scene`
    norm: str,
    normalize: bool,
) -> Tensor:  # (H, W)
    """As `scene_factor`, a part of the scene at a time."""
    if norm == "block" or not normalize:
        return scene_factor(scene, lengths, norm, normalize)
    flat = scene.reshape(-1, scene.shape[-1])
    step = max(1, _VALUES // flat.shape[1])
    factor = torch.cat([device_factor(part, norm, normalize) for part in flat.split(step)])
    factor = factor.reshape(scene.shape[:-1])
    if lengths is None:
        return factor
    return torch.where(torch.isnan(factor), torch.nan, torch.where(lengths > 0, 1 / lengths, 0.0))


def _unit_scale(size: Tensor) -> Tensor:  # -> () float64
    """As `unit_scale`, without looking at the number."""
    largest = size.amax() if size.numel() else size.new_zeros(())
    # A number beyond float64 by the last factor counts as its largest power.
    exponent = torch.frexp(largest.clamp(max=torch.finfo(torch.float64).max))[1]
    return power_of_two((-exponent).clamp(-1000, 1000))


def power_of_two(exponent: Tensor) -> Tensor:  # (...) integers from -1022 to 1023 -> (...) float64
    """2 ** exponent, exactly, from its bits: CUDA's pow, which torch.ldexp calls too, may be two units off."""
    return ((exponent.long() + 1023) << 52).view(torch.float64)


def device_block_scales(
    blocks: Tensor,  # (B, h, w, C)
    factor: Tensor,  # (B, h, w)
    scene_scale: float | None,  # the one number a scene's pixels are multiplied with, or None
    norm: str,
) -> Tensor:  # (B,) float64
    """As `block_scales`: what a block's sums are multiplied with."""
    if norm == "block":
        length = energy(blocks, factor).sum((1, 2)).sqrt()
        return torch.where(length > 0, 1 / length, 0.0)
    one = torch.ones(len(blocks), dtype=torch.float64, device=blocks.device)
    if scene_scale is None or len(blocks) == 0:
        return one
    own = torch.nan_to_num(factor, nan=0.0).amax()
    return one / (torch.where(own > 0, own, 1.0) * scene_scale)


def centre_of(scene: Tensor, factor: Tensor) -> Tensor:  # (H, W, K), (H, W) -> (2 K + 1,)
    """The mean pixel m, its direction n, its length.

    The mean direction of the pixels times their typical length: a geometric mean, which no single bright pixel can
    move far. Any choice is exact; this one keeps float32's errors to the spread about the mean.
    """
    K = scene.shape[-1]
    flat, known = scene.reshape(-1, K), factor.reshape(-1)
    total = torch.zeros(K, dtype=torch.float64, device=scene.device)
    logs, count = total.new_zeros(()), total.new_zeros(())
    for first in range(0, len(flat), max(1, _VALUES // K)):
        last = first + max(1, _VALUES // K)
        value = scaled(flat[first:last], known[first:last])
        largest = value.abs().amax(1)
        used = largest > 1e-290
        value = torch.where(used[:, None], value / torch.where(used, largest, 1.0)[:, None], 0.0)
        length = torch.linalg.vector_norm(value, dim=1)
        safe = torch.where(used, length, 1.0)
        total += (value / safe[:, None]).sum(0)
        logs += torch.where(used, torch.log(safe) + torch.log(largest.clamp(min=1e-300)), 0.0).sum()
        count += used.sum()
    mean = total / count.clamp(min=1)
    share = mean.norm()  # 1 where all pixels point one way
    one_way = share > 1e-6
    direction = torch.where(one_way, mean / torch.where(one_way, share, 1.0), 0.0)
    length = torch.where(one_way, share * torch.exp(logs / count.clamp(min=1)), 0.0)
    return torch.cat([direction * length, direction, length[None]])


def along_of(
    scene: Tensor,  # (H, W, K)
    factor: Tensor,  # (H, W)
    centre: Tensor,  # (2 K + 1,)
    block: tuple[int, int],
    stride: int,
) -> Tensor:  # (rows, columns) float32
    """sum <u - m, n> over every window."""
    K = scene.shape[-1]
    flat, known = scene.reshape(-1, K), factor.reshape(-1)
    image = torch.empty_like(known)
    for first in range(0, len(flat), max(1, _VALUES // K)):
        part = slice(first, first + max(1, _VALUES // K))
        image[part] = (scaled(flat[part], known[part]) - centre[:K]) @ centre[K : 2 * K]
    image = torch.where(torch.isnan(known), 0.0, image).reshape(factor.shape)
    return window_sum(image, *block, stride).float()


def scaled(pixels: Tensor, factor: Tensor) -> Tensor:  # (n, K), (n,) -> (n, K) float64
    """Pixels times their factors, 0 where that is 0 or not a number."""
    known = torch.nan_to_num(factor, nan=0.0)[:, None]
    return torch.where(known != 0, pixels.double() * known, 0.0)
