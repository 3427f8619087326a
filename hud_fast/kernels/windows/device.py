"""The scene on the device.

The compiled steps are launches on the current stream that neither allocate nor wait; scratch is torch's. `run` says
who does them: "cuda" the kernels, "emulated" the same source on the host, which the tests of machines without a GPU
take.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from hud_fast._checks import widen
from hud_fast.kernels._backend import capturing, on_stream
from hud_fast.kernels._native import C
from hud_fast.kernels._spot_check import spread
from hud_fast.kernels.windows.device_scales import (
    along_of,
    centre_of,
    device_block_scales,
    device_factor,
    device_scene_factor,
)
from hud_fast.kernels.windows.scales import one_factor
from hud_fast.kernels.windows.scene import PreparedScene, runs_apart, too_little
from hud_fast.kernels.windows.spot_check import EVERY_BLOCKS, check_windows

CAPACITY = 256  # windows a block keeps for rescoring
_PIECES = 256  # groups that share a scan of all windows, at most
_LANES = 256  # threads of a group
_CHUNK = 16 << 20  # bytes of the spectra of blocks looked up together: a part of the second cache
_GROUPS = 1024  # groups that a chunk should keep busy where its spectra are few
_WIDEST = 1 << 30  # bytes of their spectra, then
_LEAST, _MOST = 16, 1024  # blocks of a chunk, if there are so many
_RESIDENT = 1 << 32  # bytes of spectra kept of a scene without a limit
_EMULATED_SHARED = 227 << 10  # what a Hopper-class chip lets a group share
_AGAIN, _SCAN, _SCAN_ALL = C.window_settle

# Tests force a path ("direct" or "fft"), a tile (rows, columns) and a list's length; None chooses.
FORCED_PATH: str | None = None
FORCED_TILE: tuple[int, int] | None = None
FORCED_CAPACITY: int | None = None


class DeviceWindowScene(PreparedScene):
    """See `PreparedScene`; `run` is "cuda" or "emulated", which needs tensors on the CPU."""

    factor_of = staticmethod(device_factor)
    scene_factor_of = staticmethod(device_scene_factor)

    def _make_ready(self) -> None:
        self.capacity = FORCED_CAPACITY or CAPACITY
        one = self.norm == "pixel" and not self.normalize
        self.scene_scale = one_factor(self.factor) if one else None
        shared = _EMULATED_SHARED
        if self.run == "cuda":
            shared = C.cuda_window_shared_limit(self.scene.device.index)
        self._plan: dict[str, Any] = C.window_tile_plan(
            *self.scene.shape,
            *self.block,
            self.stride,
            shared,
            FORCED_PATH or "",
            *(FORCED_TILE or (0, 0)),
        )
        self.pairs: int = (self._plan["tiles_down"] * self._plan["tiles_across"] + 1) // 2
        self._counts: list[Tensor] = []
        # answers compared with all windows, and given since
        self._looks, self._since = 0, EVERY_BLOCKS
        self._share_out()
        if self.transforms:
            self._prepare()
        else:
            self.centre = self.factor.new_zeros(2 * self.scene.shape[-1] + 1)
            self.common = self._common()

    @property
    def transforms(self) -> bool:
        return bool(self._plan["path"] == "fft")

    @property
    def plan(self) -> dict[str, Any]:
        """As `last_plan`; `tied` waits for the last search: blocks looked up twice, and those scanned."""
        plan = self._plan
        found = torch.stack(self._counts).sum(0).tolist() if self._counts else (0, 0)
        return {
            "path": plan["path"],
            "tile": (plan["down"], plan["across"]),
            "tiles": (plan["tiles_down"], plan["tiles_across"]),
            "blocks": self.chunk,
            "pairs": self.held,
            "tied": tuple(found),
        }

    def _share_out(self) -> None:
        """Blocks of one chunk and pairs of tiles whose spectra are held, within the limit."""
        H, W, K = self.scene.shape
        h, w = self.block
        positions = self.window_scale.numel()
        self.pieces = max(1, min(_PIECES, -(-positions // _LANES)))
        # A block's pixels in the search's dtype, their factors, and what torch makes of them on the way.
        a_block = h * w * (K * (self.dtype.itemsize + 17) + 32)
        a_block += self.capacity * 12 + self.pieces * 16 + 128
        spectrum = K * self._plan["down"] * self._plan["across"] * 8 if self.transforms else 0
        self.chunk = _MOST
        if self.transforms:
            enough = max(_CHUNK // spectrum, min(_GROUPS // self.pairs, _WIDEST // spectrum))
            self.chunk = min(max(_LEAST, enough), _MOST)
        self.held = min(self.pairs, max(1, _RESIDENT // max(1, spectrum)))
        if self.limit is None:
            return
        # Factors and maps, and what torch makes of the pixels on the way (in parts).
        base = H * W * 40 + positions * 56 + min(H * W * K, 1 << 24) * 24
        room = self.limit - base
        if room < a_block + 2 * spectrum:
            raise too_little(base + a_block + 2 * spectrum, self.limit)
        self.chunk = max(1, min(self.chunk, room // 2 // (a_block + spectrum)))
        room -= self.chunk * (a_block + spectrum)
        self.held = max(1, min(self.held, room // max(1, spectrum)))

    def _prepare(self) -> None:
        """Centre, the term along it, and the spectra of the tiles where they all fit."""
        plan, device = self._plan, self.scene.device
        K = self.scene.shape[-1]
        self.centre = centre_of(self.scene, self.factor)
        self.along = along_of(self.scene, self.factor, self.centre, self.block, self.stride)
        self.twiddle = [
            torch.tensor(plan[name], dtype=torch.float32, device=device)
            for name in ("twiddle_down", "twiddle_across")
        ]
        self.fold = torch.tensor(plan["fold"], dtype=torch.int32, device=device)
        points = plan["down"] * plan["across"]
        self.spectra = torch.empty(self.held, K, points, 2, dtype=torch.float32, device=device)
        self.square = torch.empty(self.pairs, K, dtype=torch.float64, device=device)
        self.size = torch.empty(self.pairs, dtype=torch.float32, device=device)
        self.common = self._common()
        if self.held == self.pairs:
            self._transform_tiles(0)

    def _common(self) -> dict[str, Any]:
        """The entries of a job that every search shares."""
        plan = self._plan
        H, W, K = self.scene.shape
        rows, columns = self.window_scale.shape
        numbers = {
            "is_float32": int(self.dtype == torch.float32),
            "one_scale": int(self.norm == "pixel"),
            "height": H,
            "width": W,
            "channels": K,
            "block_height": self.block[0],
            "block_width": self.block[1],
            "stride": self.stride,
            "rows": rows,
            "columns": columns,
            "capacity": self.capacity,
            "pieces": self.pieces,
            "first_pair": 0,
            "pairs": 0,
            "count": 0,
            "folds": len(plan["fold"]),
        }
        numbers |= {name: plan[name] for name in _PLANNED}
        held = {"scene": self.scene, "factor": self.factor, "centre": self.centre}
        if self.transforms:
            held |= {
                "along": self.along,
                "twiddle_down": self.twiddle[0],
                "twiddle_across": self.twiddle[1],
                "fold": self.fold,
                "tile_spectra": self.spectra,
                "square": self.square,
                "size": self.size,
            }
        return {**numbers, **held}

    def _transform_tiles(self, first: int) -> int:
        """Spectra of pairs [first, first + n) into the memory held; returns n."""
        count: int = min(self.held, self.pairs - first)
        self._step("tiles", {**self.common, "first_pair": first, "pairs": count})
        part = slice(first, first + count)
        # Rounded up: a bound is made of it.
        self.size[part] = (self.square[part].sum(1).sqrt() * (1 + 1e-6)).float()
        return count

    def _step(self, name: str, job: dict[str, Any], *options: int) -> None:
        device, stream = on_stream(self.scene) if self.run == "cuda" else (0, 0)
        getattr(C, f"{self.run}_window_{name}")(job, *options, device, stream)

    def search(self, blocks: Tensor, apart: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As every `PreparedScene`; RuntimeError where float64 contradicts an answer.

        With a limit of memory nothing is compared: there may be no room for the scene's transforms.
        """
        if apart is None:
            return self._search(blocks, self.window_scale)
        found = [
            self._search(blocks[which], self.window_scale.masked_fill(out, torch.nan))
            for which, out in runs_apart(apart, self.window_scale.shape)
        ]
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])

    def _search(self, blocks: Tensor, exact: Tensor) -> tuple[Tensor, Tensor]:
        exact = exact.contiguous()
        # One number for all windows is left to the end: the search compares sums.
        scale = exact * 0 + 1 if self.norm == "pixel" else exact
        self._counts = []
        scratch = self._scratch(min(self.chunk, len(blocks)))
        scratch |= {"exact": exact, "scale": scale.float().contiguous()}
        value, position = self._in_chunks(blocks, partial(self._look_up, scratch))
        if self._since >= EVERY_BLOCKS and len(blocks) and self.limit is None:
            self._look(blocks, exact, value, position)
        self._since += len(blocks)
        return value, position

    def _look_up(
        self,
        scratch: dict[str, Tensor],
        _: slice,
        blocks: Tensor,
        factor: Tensor,
        value: Tensor,
        position: Tensor,
    ) -> None:
        own = {
            "blocks": blocks,
            "block_factor": factor,
            "block_scale": device_block_scales(blocks, factor, self.scene_scale, self.norm),
            "value": value,
            "best_position": position,
        }
        self._steps({**self.common, **scratch, **own, "count": len(blocks)})
        self._counts.append(torch.stack([scratch["again"][0], scratch["scan"][0]]).long())

    def _look(self, blocks: Tensor, exact: Tensor, value: Tensor, position: Tensor) -> None:
        """One block's answer against all windows, where something may be read back."""
        if capturing(blocks):
            return
        (b,) = spread(len(blocks), 1, self._looks)
        one = widen(blocks[b : b + 1]).to(self.dtype)
        factor = device_factor(one, self.norm, self.normalize)
        scale = device_block_scales(one, factor, self.scene_scale, self.norm)
        check_windows(
            one[0],
            factor[0],
            scale[0],
            self.scene,
            self.factor,
            exact,
            self.stride,
            value[b],
            position[b],
            cosine=self.norm == "block" or self.normalize,
        )
        self._looks, self._since = self._looks + 1, 0

    def _steps(self, job: dict[str, Any]) -> None:
        self._step("blocks", job, self.transforms)
        if not self.transforms:
            self._step("settle", job, _SCAN_ALL)
            self._step("answer", job)
            return
        # Twice: the second time for those whose list was too short, with the best bound known from the start.
        for again in (False, True):
            first = 0
            while first < self.pairs:
                count = self.pairs
                if self.held < self.pairs:
                    count = self._transform_tiles(first)
                self._step("correlate", {**job, "first_pair": first, "pairs": count}, again)
                first += count
            self._step("settle", job, _SCAN if again else _AGAIN)
        self._step("answer", job)

    def _scratch(self, count: int) -> dict[str, Tensor]:
        K = self.scene.shape[-1]
        points = self._plan["down"] * self._plan["across"] if self.transforms else 0
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "numbers": ((count, 4), torch.float64),
            "block_spectra": ((count, K, points, 2), torch.float32),
            "least": ((count,), torch.int32),
            "offered": ((count,), torch.int32),
            "most": ((count, self.capacity), torch.float32),
            "position": ((count, self.capacity), torch.int64),
            "again": ((1 + count,), torch.int32),
            "scan": ((1 + count,), torch.int32),
            "how": ((count,), torch.int32),
            "piece": ((count, self.pieces, 2), torch.float64),
        }
        return {
            name: torch.empty(shape, dtype=dtype, device=self.scene.device)
            for name, (shape, dtype) in shapes.items()
        }


_PLANNED = (
    "down", "across", "steps_down", "steps_across", "tiles_down", "tiles_across",
)  # fmt: skip
