"""SceneBlocks: a scene's cube read part by part, as often as it is asked for, and kept where it fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.opened import SceneFile
from hud_fast.scenes.raw import float_rows

Part = tuple[slice, slice]  # rows, columns


class SceneBlocks:
    """The good bands of an open scene over its scale, (H, W, C); what is valid in them, its `valid` says.

    Parameters
    ----------
    file : SceneFile
    scale : float
        What its values are divided by.
    keep : bool
        Keep what was read: the cube is in memory after the first pass.
    reopen : callable, optional
        What opens the file again where another process does the work: hashable, and it can be pickled. Without it
        the blocks stay in this process.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        file: SceneFile,
        *,
        scale: float = 1.0,
        keep: bool = False,
        reopen: Callable[[], SceneFile] | None = None,
    ) -> None:
        good = file.good_bands
        self._open(file.raw, None if good is None or good.all() else np.flatnonzero(good), scale)
        self.valid = file.valid  # (H, W) bool; None: all
        self.facts = file.facts.replace(good_bands=good, scale=scale)
        self._kept = np.empty(self.shape, np.float32) if keep else None
        self._there = np.zeros(self.shape[:2], bool) if keep else None
        self._reopen = reopen

    def _open(self, raw: Any, good: NDArray[np.intp] | None, scale: float) -> None:
        H, W, C = raw.cube.shape
        self._raw, self._good, self._scale = raw, good, scale
        self.shape = (H, W, C if good is None else good.size)

    @property
    def by_rows(self) -> bool:
        """Can one row be read as cheaply as it is short?"""
        return getattr(self._raw.cube, "chunks", (1,))[0] == 1

    def parts(self, values: int) -> list[Part]:
        """Rectangles of about so many values that fit the way in which the file is cut into pieces."""
        H, W, C = self._raw.cube.shape
        tall, wide = getattr(self._raw.cube, "chunks", (1, W))
        rows = max(1, values // (W * C) // tall) * tall
        columns = W
        if rows * W * C > 2 * values:
            columns = min(W, max(1, values // (rows * C) // wide) * wide)
        return [
            (slice(r, min(r + rows, H)), slice(c, min(c + columns, W)))
            for r in range(0, H, rows)
            for c in range(0, W, columns)
        ]

    def __getitem__(self, part: Part) -> NDArray[np.float32]:  # (n, m, C)
        if self._kept is None or self._there is None:
            return self._read(part)
        if not self._there[part].all():
            self._kept[part] = self._read(part)
            self._there[part] = True
        return self._kept[part]

    def _read(self, part: Part) -> NDArray[np.float32]:
        values = float_rows(self._raw, *part)
        if self._good is not None:
            values = values[..., self._good]
        if self._scale != 1.0:
            values /= np.float32(self._scale)
        return values

    def take(self, index: NDArray[np.integer[Any]]) -> NDArray[np.float32]:  # (n,) -> (n, C)
        """The pixels at these places, counted row by row."""
        rows, columns = np.unravel_index(np.asarray(index), self.shape[:2])
        pixels = [
            self[slice(row, row + 1), slice(column, column + 1)][0, 0]
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        return np.stack(pixels)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker elsewhere reads by; which pixels are valid, it is told."""
        if self._reopen is None:
            raise TypeError("SceneBlocks: these blocks cannot go to another process")
        return {"reopen": self._reopen, "good": self._good, "scale": self._scale}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(_raw_of(state["reopen"]), state["good"], state["scale"])
        self._kept = self._there = None
        self._reopen = state["reopen"]


@lru_cache(maxsize=2)
def _raw_of(reopen: Callable[[], SceneFile]) -> Any:
    """Opened once in a process."""
    return reopen().raw
