"""A few answers of a GPU's search against all windows in float64 (see `kernels._spot_check`)."""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels.windows.scales import energy

# A look at a block correlates it with the whole scene by float64 transforms, 2 C of 2.5 H W log2(H W) operations each:
# 15 thousand operations a pixel for Indian Pines, what looking up some ten to twenty blocks takes. Sums of products
# would take 2 h w C, 27 times as many for blocks of 32 x 32.
EVERY_BLOCKS = 1 << 10
WINDOW = 1e-9  # what `window_search` promises
_VALUES = 1 << 23  # of the scene that are transformed at once
_EPS = torch.finfo(torch.float64).eps


def check_windows(
    block: Tensor,  # (h, w, C)
    block_factor: Tensor,  # (h, w)
    block_scale: Tensor,  # ()
    scene: Tensor,  # (H, W, C)
    scene_factor: Tensor,  # (H, W)
    window_scale: Tensor,  # (rows, columns) float64, NaN where left out
    stride: int,
    value: Tensor,  # () float64
    position: Tensor,  # (2,) int64
    *,
    cosine: bool,
) -> None:
    """RuntimeError where a window has a larger score than a block's answer, or its place another one.

    Scores are cosines, or with ``cosine=False`` products of any size: then the bound is relative to the lengths.
    """
    h, w, _ = block.shape
    rows, columns = window_scale.shape
    scores, room = _scores(block, block_factor, scene, scene_factor, stride, (rows, columns))
    weight = window_scale * block_scale
    lengths = 1.0
    if not cosine:
        largest = energy(scene, scene_factor).amax().sqrt() * (h * w) ** 0.5
        lengths = largest * energy(block, block_factor).sum().sqrt() * weight.nan_to_num(0).amax()
    least = ((scores - room) * weight).nan_to_num(-torch.inf, posinf=-torch.inf).amax()
    y, x = position.clamp_min(0).unbind()
    down = (y + torch.arange(h, device=scene.device)).clamp_max(scene.shape[0] - 1)[:, None]
    across = (x + torch.arange(w, device=scene.device)).clamp_max(scene.shape[1] - 1)
    own = _scaled(scene[down, across], scene_factor[down, across]) * _scaled(block, block_factor)
    place = (y // stride).clamp_max(rows - 1), (x // stride).clamp_max(columns - 1)
    attained = own.sum() * weight[place]
    right = ((value - attained).abs() <= WINDOW * lengths) & (least <= value + WINDOW * lengths)
    nothing = window_scale.isnan().all()
    broken = block_factor.isnan().any()
    right |= nothing | (broken & value.isnan() & (position == -1).all())
    if not bool(right):
        raise RuntimeError(
            f"window_search: the GPU's search is wrong: {float(value)!r} at {position.tolist()}, where float64 has "
            f"{float(attained)!r}, and another window at least {float(least)!r}; HUD_FAST_GPU_KERNELS=0 does without it"
        )


def _scores(
    block: Tensor,
    block_factor: Tensor,
    scene: Tensor,
    scene_factor: Tensor,
    stride: int,
    shape: tuple[int, int],
) -> tuple[Tensor, Tensor]:  # (rows, columns), ()
    """Every window's sum of products with the block, by float64 transforms, and a bound on their rounding."""
    H, W, C = scene.shape
    size = _smooth(H), _smooth(W)
    total = None
    for first in range(0, C, max(1, _VALUES // (size[0] * size[1]))):
        part = slice(first, first + max(1, _VALUES // (size[0] * size[1])))
        maps = torch.fft.rfft2(_scaled(scene[..., part], scene_factor).permute(2, 0, 1), s=size)
        own = torch.fft.rfft2(_scaled(block[..., part], block_factor).permute(2, 0, 1), s=size)
        product = (maps * own.conj()).sum(0)
        total = product if total is None else total + product
    scores = torch.fft.irfft2(total, s=size)
    rows, columns = shape
    window = scores[: (rows - 1) * stride + 1 : stride, : (columns - 1) * stride + 1 : stride]
    sizes = energy(scene, scene_factor).sum().sqrt() * energy(block, block_factor).sum().sqrt()
    return window, 8 * _EPS * (size[0] * size[1]).bit_length() * sizes


def _scaled(pixels: Tensor, factor: Tensor) -> Tensor:
    known = factor.nan_to_num(0.0)[..., None]
    return torch.where(known != 0, pixels.double() * known, 0.0)


def _smooth(n: int) -> int:
    """The next number made of 2, 3 and 5 only: transforms of other lengths are slower and less exact."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1
