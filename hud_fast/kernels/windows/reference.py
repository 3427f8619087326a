"""The search in plain torch on the tensors' device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hud_fast._checks import widen
from hud_fast.kernels.windows.scales import (
    block_scales,
    left_out,
    pixel_factor,
    scene_factor,
    window_scales,
)
from hud_fast.kernels.windows.scene import check_any, runs_apart


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


@dataclass(frozen=True, eq=False)
class TorchScene:
    """A scene as `prepare` was given it: everything but the search `run` is torch, made anew for each call."""

    scene: Tensor  # (H, W, C)
    stride: int
    norm: str
    mask: Tensor | None  # (H, W) bool
    normalize: bool
    lengths: Tensor | None  # (H, W)
    run: Callable[..., tuple[Tensor, Tensor]]  # as `window_search_reference`

    def search(
        self,
        blocks: Tensor,  # (B, h, w, C)
        apart: Tensor | None = None,  # (B, 4) int64
    ) -> tuple[Tensor, Tensor]:  # (B,) float64, (B, 2) int64
        """See `PreparedScene.search`."""
        if apart is None:
            return self._search(blocks, None)
        (H, W), (_, h, w, _) = self.scene.shape[:2], blocks.shape
        shape = torch.Size(((H - h) // self.stride + 1, (W - w) // self.stride + 1))
        found = [self._search(blocks[which], out) for which, out in runs_apart(apart, shape)]
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    def _search(
        self,
        blocks: Tensor,  # (B, h, w, C)
        also_left_out: Tensor | None,  # (rows, columns) bool
    ) -> tuple[Tensor, Tensor]:  # (B,) float64, (B, 2) int64
        scene, stride, norm, normalize = self.scene, self.stride, self.norm, self.normalize
        blocks = widen(blocks)
        _, h, w, _ = blocks.shape
        block_factor = pixel_factor(blocks, norm, normalize)
        factor = scene_factor(scene, self.lengths, norm, normalize)
        out = left_out(factor, self.mask, h, w, stride)
        if also_left_out is not None:
            out = out | also_left_out
        known = scene if self.lengths is None else self.lengths[..., None]
        window_scale = window_scales(known, factor, out, h, w, stride, norm)
        check_any(window_scale)
        block_scale = block_scales(blocks, block_factor, factor, norm, normalize)
        value, position = self.run(
            blocks, scene, block_factor, factor, block_scale, window_scale, stride
        )
        broken = torch.isnan(block_factor).flatten(1).any(1)
        value = value.masked_fill(broken, torch.nan)
        if norm == "block" or normalize:
            value = value.clamp(-1, 1)  # rounding only
        return value, position.masked_fill(broken[:, None], -1)
