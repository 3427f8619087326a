"""What a search in fewer dimensions needs before and after: coordinates in a basis, similarities of the raw bands."""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.kernels._native import C

_WIDE = 1 << 22  # numbers held in float64 at once on a device, before ...
_VALUES = 1 << 24  # ... and after


def coordinates(
    pixels: Tensor,  # (..., C)
    basis: Tensor,  # (C, r) float64
) -> tuple[Tensor, Tensor]:  # (..., r), (...) float64
    """Coordinates in the basis, and the pixels' squared norms.

    Examples
    --------
    >>> import torch
    >>> from hud_fast.kernels.windows import coordinates
    >>> keys, square = coordinates(torch.tensor([[3.0, 4.0, 0.0]]), torch.eye(3, 2).double())
    >>> keys.tolist(), square.tolist()
    ([[3.0, 4.0]], [25.0])
    """
    shape, K = pixels.shape[:-1], pixels.shape[-1]
    flat = pixels.detach().reshape(-1, K)
    keys = torch.empty(len(flat), basis.shape[1], dtype=torch.float64, device=pixels.device)
    square = torch.empty(len(flat), dtype=torch.float64, device=pixels.device)
    if pixels.device.type == "cpu":
        C.project_rows(flat.contiguous(), basis.contiguous(), keys, square, torch.get_num_threads())
    else:
        step = max(1, _WIDE // K)
        for first in range(0, len(flat), step):
            wide = flat[first : first + step].double()
            keys[first : first + step] = wide @ basis
            square[first : first + step] = wide.square().sum(1)
    return keys.reshape(*shape, -1), square.reshape(shape)


def similarities(
    blocks: Tensor,  # (n, h, w, C)
    position: Tensor,  # (n, 2)
    scene: Tensor,  # (H, W, C)
    norm: str,
) -> Tensor:  # (n,) float64
    """Each block's similarity with the window at its position, from the raw bands in float64.

    Examples
    --------
    >>> import torch
    >>> from hud_fast.kernels.windows import similarities
    >>> scene = torch.rand(6, 7, 3)
    >>> similarities(2 * scene[None, 1:3, 4:6], torch.tensor([[1, 4]]), scene, "pixel").round(decimals=6).tolist()
    [1.0]
    """
    if blocks.device.type != "cpu":
        return similarities_on_device(blocks.detach(), position, scene, norm)
    dtype = torch.promote_types(blocks.dtype, scene.dtype)
    value = torch.empty(len(blocks), dtype=torch.float64, device="cpu")
    if scene.dtype != dtype and len(blocks):
        # Only the windows are wanted in it: one below the other, they are a scene.
        n, h, w, _ = blocks.shape
        places = position.tolist()
        scene = torch.cat([scene[y : y + h, x : x + w].to(dtype) for y, x in places])
        position = torch.zeros_like(position)
        position[:, 0] = h * torch.arange(n, device="cpu")
    C.window_similarity(
        blocks.detach().to(dtype).contiguous(),
        scene.contiguous(),
        position.contiguous(),
        norm == "pixel",
        value,
        torch.get_num_threads(),
    )
    return value


def similarities_on_device(
    blocks: Tensor,  # (n, h, w, C)
    position: Tensor,  # (n, 2)
    scene: Tensor,  # (H, W, C)
    norm: str,
) -> Tensor:  # (n,) float64
    """As `similarities`, in torch."""
    n, h, w, C = blocks.shape
    value = torch.empty(n, dtype=torch.float64, device=blocks.device)
    down = torch.arange(h, device=blocks.device)[:, None]
    across = torch.arange(w, device=blocks.device)
    step = max(1, _VALUES // (h * w * C))
    for first in range(0, n, step):
        part = slice(first, first + step)
        y, x = position[part, 0, None, None] + down, position[part, 1, None, None] + across
        value[part] = _similarity(blocks[part].double(), scene[y, x].double(), norm)
    return value


def _similarity(a: Tensor, b: Tensor, norm: str) -> Tensor:  # 2 (n, h, w, C) -> (n,)
    summed = (3,) if norm == "pixel" else (1, 2, 3)
    a, b = _below_one(a, summed), _below_one(b, summed)
    lengths = a.square().sum(summed).sqrt() * b.square().sum(summed).sqrt()
    cosine = torch.where(lengths > 0, (a * b).sum(summed) / lengths, 0.0).clamp(-1, 1)
    return cosine.mean((1, 2)) if norm == "pixel" else cosine


def _below_one(values: Tensor, summed: tuple[int, ...]) -> Tensor:
    """Divided by the largest of those that are summed: no square is out of float64's range."""
    largest = values.abs().amax(summed, keepdim=True)
    return values / torch.where(largest > 0, largest, 1.0)
