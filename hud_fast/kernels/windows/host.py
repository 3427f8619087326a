"""A scene made ready for looking up any number of blocks of one size on the CPU: what does not depend on the blocks
(spectra of its tiles, their norms, which windows are left out) is computed once."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import widen
from hud_fast.kernels._backend import ran
from hud_fast.kernels._native import C
from hud_fast.kernels.windows.scales import (
    block_scales,
    left_out,
    pixel_factor,
    scene_factor,
    window_scales,
)

_CHUNK = 1 << 24  # bytes that Python makes of a chunk of blocks
_GROUP = 16  # blocks that share the widest vector
_state = threading.local()

# Tests force a path ("direct" or "fft") and a tile (rows, columns); None chooses by cost.
FORCED_PATH: str | None = None
FORCED_TILE: tuple[int, int] | None = None


def last_plan() -> dict[str, Any] | None:
    """How the last window search of this thread was done, or None before the first.

    Returns
    -------
    dict
        ``path`` ("fft" or "direct"); ``tile`` and ``tiles``, (rows, columns) of pixels and of tiles; ``tied``, the
        blocks for which more windows than are kept tied: after the float32 pass, after the float64 pass, and those
        that were rescored at every window.
    """
    return getattr(_state, "plan", None)


class WindowScene:
    """Blocks of h x w pixels are looked up in it; see `window_search` for the options.

    Parameters
    ----------
    scene : Tensor, (H, W, C)
        On the CPU.
    block : (int, int)
        h and w.
    blocks_dtype : torch.dtype
        Of the blocks to come: both sides are computed with in one dtype.
    lengths : Tensor, (H, W) float64, optional
        The pixels' norms where they are not those of `scene`: coordinates in a basis whose span does not hold them.
    memory_limit : int, optional
        Bytes of scratch beyond scene, blocks and results.
    """

    def __init__(
        self,
        scene: Tensor,
        block: tuple[int, int],
        blocks_dtype: torch.dtype,
        *,
        stride: int = 1,
        norm: str = "pixel",
        mask: Tensor | None = None,
        normalize: bool = True,
        lengths: Tensor | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self.dtype = scene.dtype if scene.dtype == blocks_dtype else torch.float64
        ready = scene.to(self.dtype).contiguous()
        self.block, self.stride, self.norm, self.normalize = block, stride, norm, normalize
        factor = scene_factor(ready, lengths, norm, normalize)
        if mask is not None:  # what a masked pixel holds must not matter: it may be anything
            factor = factor.masked_fill(~mask, torch.nan)
        self.factor = factor.contiguous()
        h, w = block
        self.window_scale = window_scales(
            ready if lengths is None else lengths[..., None],
            self.factor,
            left_out(self.factor, None, h, w, stride),
            h,
            w,
            stride,
            norm,
        )
        self._chunk, self._native = self._prepare(ready, ready is not scene, memory_limit)

    def _prepare(self, scene: Tensor, copied: bool, limit: int | None) -> tuple[int, Any]:
        """Blocks of one chunk, and the compiled scene, within what the limit leaves to each."""
        h, w = self.block
        a_block = h * w * (scene.shape[2] * (self.dtype.itemsize + 8 * (self.norm == "block")) + 24)
        chunk = max(_GROUP, _CHUNK // a_block // _GROUP * _GROUP)
        held = 5 * self.window_scale.numel() * 8 + self.factor.numel() * 24
        held += scene.numel() * scene.element_size() * copied
        if limit is not None:
            chunk = max(1, min(chunk, (limit - held) // 4 // a_block))
        tile = FORCED_TILE or (0, 0)
        path = FORCED_PATH or ""
        threads = torch.get_num_threads()
        while True:
            room = 0 if limit is None else max(1, limit - held - chunk * a_block)
            try:
                return chunk, C.WindowScene(
                    scene, self.factor, h, w, self.stride, path, *tile, room, threads
                )
            except ValueError as error:
                if not str(error).isdecimal() or limit is None:
                    raise
                if chunk > 1:
                    chunk //= 2
                    continue
                raise ValueError(
                    f"window_search: `memory_limit` must be at least {held + a_block + int(str(error))} bytes for "
                    f"this scene and block, got {limit}"
                ) from None

    @property
    def plan(self) -> dict[str, Any]:
        """See `last_plan`."""
        return dict(self._native.plan)

    def search(
        self,
        blocks: Tensor,  # (B, h, w, C)
        also_left_out: Tensor | None = None,  # (rows, columns) bool
    ) -> tuple[Tensor, Tensor]:  # (B,) float64, (B, 2) int64
        """The kernel's value and position for each block; NaN and -1 for a block with a non-finite value."""
        scale = self.window_scale
        if also_left_out is not None:
            scale = scale.masked_fill(also_left_out, torch.nan)
        value = torch.empty(len(blocks), dtype=torch.float64)
        position = torch.empty(len(blocks), 2, dtype=torch.int64)
        tied = (0, 0, 0)
        for first in range(0, len(blocks), self._chunk):
            last = min(first + self._chunk, len(blocks))
            part = widen(blocks[first:last]).to(self.dtype).contiguous()
            factor = pixel_factor(part, self.norm, self.normalize).contiguous()
            self._native.search(
                part,
                factor,
                block_scales(part, factor, self.factor, self.norm, self.normalize).contiguous(),
                scale,
                value[first:last],
                position[first:last],
                torch.get_num_threads(),
            )
            broken = torch.isnan(factor).flatten(1).any(1)
            value[first:last].masked_fill_(broken, torch.nan)
            position[first:last].masked_fill_(broken[:, None], -1)
            tied = tuple(a + b for a, b in zip(tied, self._native.plan["tied"], strict=True))
        if self.norm == "block" or self.normalize:
            value.clamp_(-1, 1)  # rounding only
        _state.plan = {**self.plan, "tied": tied}
        ran("cpu")
        return value, position
