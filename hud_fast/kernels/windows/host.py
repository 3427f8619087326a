"""The scene on the CPU: what the compiled search keeps of it, and its chunks of blocks."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels._native import C
from hud_fast.kernels.windows.scales import block_scales, pixel_factor, scene_factor
from hud_fast.kernels.windows.scene import PreparedScene, too_little

_CHUNK = 1 << 24  # bytes that Python makes of a chunk of blocks
_GROUP = 16  # blocks that share the widest vector
_NOWHERE = torch.empty(0, 4, dtype=torch.int64, device="cpu")
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


class WindowScene(PreparedScene):
    """See `PreparedScene`; `run` is "cpu"."""

    factor_of = staticmethod(pixel_factor)
    scene_factor_of = staticmethod(scene_factor)

    def _make_ready(self) -> None:
        """Blocks of one chunk, and the compiled scene, within what the limit leaves to each."""
        h, w = self.block
        K = self.scene.shape[2]
        a_block = h * w * (K * (self.dtype.itemsize + 8 * (self.norm == "block")) + 24)
        self.chunk = max(_GROUP, _CHUNK // a_block // _GROUP * _GROUP)
        forced = FORCED_PATH or "", *(FORCED_TILE or (0, 0))
        room = 0
        if self.limit is not None:
            held = 5 * self.window_scale.numel() * 8 + self.factor.numel() * 24
            held += self.scene.numel() * self.scene.element_size() * self.copied
            least = C.WindowScene.least(self.scene, h, w, self.stride, *forced)
            self.chunk = max(1, min(self.chunk, (self.limit - held) // 4 // a_block))
            while self.chunk > 1 and self.limit - held - self.chunk * a_block < least:
                self.chunk //= 2
            room = self.limit - held - self.chunk * a_block
            if room < least:
                raise too_little(held + a_block + least, self.limit)
        threads = torch.get_num_threads()
        self._native = C.WindowScene(
            self.scene, self.factor, h, w, self.stride, *forced, room, threads
        )
        self._tied = (0, 0, 0)

    @property
    def plan(self) -> dict[str, Any]:
        return {**self._native.plan, "tied": self._tied}

    def search(self, blocks: Tensor, apart: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._tied = (0, 0, 0)
        if apart is None:
            apart = _NOWHERE
        found = self._in_chunks(blocks, partial(self._look_up, apart))
        _state.plan = self.plan
        return found

    def _look_up(
        self,
        apart: Tensor,  # (B, 4), or (0, 4)
        which: slice,
        blocks: Tensor,
        factor: Tensor,
        value: Tensor,
        position: Tensor,
    ) -> None:
        scale = block_scales(blocks, factor, self.factor, self.norm, self.normalize).contiguous()
        threads = torch.get_num_threads()
        places = apart[which].contiguous()
        scales = self.window_scale
        self._native.search(blocks, factor, scale, scales, value, position, places, threads)
        before, more = self._tied, self._native.plan["tied"]
        self._tied = before[0] + more[0], before[1] + more[1], before[2] + more[2]
