"""A scene made ready for looking up any number of blocks of one size, whoever does it: what does not depend on the
blocks is computed once; blocks are looked up a chunk at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import widen
from hud_fast.kernels._backend import ran
from hud_fast.kernels.windows.scales import left_out, window_scales

# Looks a chunk up: which blocks, themselves, their factors, where value and position go.
LookUp = Callable[[slice, Tensor, Tensor, Tensor, Tensor], None]


class PreparedScene(ABC):
    """Blocks of h x w pixels are looked up in it; see `prepare` for the parameters.

    Parameters
    ----------
    run : str
        Who does the steps.
    """

    chunk: int  # blocks looked up together
    factor_of: Callable[[Tensor, str, bool], Tensor]  # as `scales.pixel_factor`
    scene_factor_of: Callable[[Tensor, Tensor | None, str, bool], Tensor]  # `scales.scene_factor`

    def __init__(
        self,
        scene: Tensor,  # (H, W, C)
        block: tuple[int, int],
        blocks_dtype: torch.dtype,
        *,
        stride: int = 1,
        norm: str = "pixel",
        mask: Tensor | None = None,  # (H, W) bool
        normalize: bool = True,
        lengths: Tensor | None = None,  # (H, W) float64
        memory_limit: int | None = None,
        run: str,
    ) -> None:
        self.dtype = scene.dtype if scene.dtype == blocks_dtype else torch.float64
        self.scene = scene.to(self.dtype).contiguous()
        self.copied = self.scene is not scene
        self.block, self.stride, self.norm, self.normalize = block, stride, norm, normalize
        self.run, self.limit = run, memory_limit
        factor = self.scene_factor_of(self.scene, lengths, norm, normalize)
        if mask is not None:  # what a masked pixel holds must not matter: it may be anything
            factor = factor.masked_fill(~mask, torch.nan)
        self.factor = factor.contiguous()
        self.window_scale = window_scales(
            self.scene if lengths is None else lengths[..., None],
            self.factor,
            left_out(self.factor, None, *block, stride),
            *block,
            stride,
            norm,
        )
        self._make_ready()

    @abstractmethod
    def _make_ready(self) -> None:
        """Choose a plan and `chunk` within the limit, and compute what all searches share."""

    @property
    @abstractmethod
    def plan(self) -> dict[str, Any]:
        """See `last_plan`."""

    @abstractmethod
    def search(
        self,
        blocks: Tensor,  # (B, h, w, C)
        apart: Tensor | None = None,  # (B, 4) int64
    ) -> tuple[Tensor, Tensor]:  # (B,) float64, (B, 2) int64
        """The kernels' value and position for each block; NaN and -1 for a block with a non-finite value.

        `apart` names windows that do not count for a block: top, bottom, left, right, the lower and the right one
        excluded, among the (rows, columns) positions.
        """

    def _in_chunks(self, blocks: Tensor, look_up: LookUp) -> tuple[Tensor, Tensor]:
        value = torch.empty(len(blocks), dtype=torch.float64, device=self.scene.device)
        position = torch.empty(len(blocks), 2, dtype=torch.int64, device=self.scene.device)
        for first in range(0, len(blocks), self.chunk):
            last = min(first + self.chunk, len(blocks))
            part = widen(blocks[first:last]).to(self.dtype).contiguous()
            factor = self.factor_of(part, self.norm, self.normalize).contiguous()
            look_up(slice(first, last), part, factor, value[first:last], position[first:last])
            broken = torch.isnan(factor).flatten(1).any(1)
            value[first:last].masked_fill_(broken, torch.nan)
            position[first:last].masked_fill_(broken[:, None], -1)
        if self.norm == "block" or self.normalize:
            value.clamp_(-1, 1)  # rounding only
        ran(self.run)
        return value, position


def runs_apart(apart: Tensor, shape: torch.Size) -> Iterator[tuple[slice, Tensor]]:
    """Blocks side by side that the same windows do not count for, and a map (rows, columns) of these windows."""
    first = 0
    for one, count in zip(*_runs(apart), strict=True):
        out = torch.zeros(shape, dtype=torch.bool, device=apart.device)
        top, bottom, left, right = one
        out[top:bottom, left:right] = True
        yield slice(first, first + count), out
        first += count


def _runs(apart: Tensor) -> tuple[list[list[int]], list[int]]:
    rows, counts = apart.unique_consecutive(dim=0, return_counts=True)
    return rows.cpu().tolist(), counts.cpu().tolist()


def too_little(least: int, limit: int) -> ValueError:
    """What to say of a limit of memory that no search fits into."""
    return ValueError(
        f"window_search: `memory_limit` must be at least {least} bytes for this scene and block, got {limit}"
    )


def check_any(window_scale: Tensor) -> None:
    """Refuse a scene whose windows are all left out."""
    if bool(torch.isnan(window_scale).all()):
        raise ValueError(
            "window_search: `scene` must have a window of the blocks' size without masked or non-finite "
            "pixels, got none"
        )
