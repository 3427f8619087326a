"""SceneBlocks: a scene's cube read part by part, as often as it is asked for, and kept where it fits."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.opened import SceneFile

Part = tuple[slice, slice]  # rows, columns


class SceneBlocks:
    """The good bands of an open scene over its scale; NaN where a pixel is not valid.

    Parameters
    ----------
    file : SceneFile
    keep : bool
        Keep what was read: the cube is in memory after the first pass.
    again : (function, dict), optional
        What opens the file where another process does the work: a function and its keyword arguments. Without it
        the blocks stay in this process.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, file: SceneFile, *, keep: bool = False, again: Any = None) -> None:
        self.file, self._again = file, again
        good = file.facts.good_bands
        self._good = None if good is None or good.all() else np.flatnonzero(good)
        H, W, C = file.shape
        self.shape = (H, W, C if self._good is None else self._good.size)
        self._kept = np.empty(self.shape, np.float32) if keep else None
        self._there = np.zeros((H, W), bool) if keep else None
        self._lock = threading.Lock()

    def parts(self, values: int) -> list[Part]:
        """Rectangles of about so many values that fit the way in which the file is cut into pieces."""
        H, W, _ = self.shape
        C = self.file.shape[2]
        tall, wide = getattr(self.file.raw.cube, "chunks", (1, W))
        rows = max(1, values // (W * C) // tall) * tall
        columns = W
        if tall * W * C > 2 * values:
            columns = min(W, max(1, values // (tall * C) // wide) * wide)
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
        values = self.file.window(*part)
        if self._good is not None:
            values = values[..., self._good]
        scale = self.file.facts.scale
        if scale != 1.0:
            values /= np.float32(scale)
        return values

    def take(self, index: NDArray[np.integer[Any]]) -> NDArray[np.float32]:  # (n,) -> (n, C)
        """The pixels at these places, counted row by row."""
        rows, columns = np.unravel_index(np.asarray(index), self.shape[:2])
        out = np.empty((len(rows), self.shape[2]), np.float32)
        for row in np.unique(rows):
            here = rows == row
            line = self[slice(int(row), int(row) + 1), slice(0, self.shape[1])]
            out[here] = line[0, columns[here]]
        return out

    def __reduce__(self) -> Any:
        if self._again is None:
            raise TypeError("SceneBlocks: these blocks cannot go to another process")
        opener, arguments = self._again
        return _opened, (opener, tuple(sorted(arguments.items())))


@lru_cache(maxsize=2)
def _opened(opener: Any, arguments: tuple[tuple[str, Any], ...]) -> SceneBlocks:
    """Opened once in a process."""
    return SceneBlocks(opener(**dict(arguments)), again=(opener, dict(arguments)))
