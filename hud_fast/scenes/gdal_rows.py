"""A dataset of GDAL's as a cube whose values are read by rows, missing ones as NaN."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import gdal, trust

Side = tuple[int, int]  # first and past the last
KEPT = 1 << 27  # bytes of a chunk that is kept between two readings of it


@dataclass(eq=False)
class GdalRows:
    """(H, W, C) values of a file; it may be sent to other processes, and each thread opens the file for itself.

    A value is missing where its band's no-data value stands, and where the file's mask or alpha band is 0. Zero as
    no-data value is also what a dark band may hold: there all bands of the pixel must have it.
    """

    path: Path
    driver: str
    shape: tuple[int, int, int]
    bands: tuple[int, ...]  # C of them, counted from 1
    stored: np.dtype[Any]
    nodata: NDArray[np.float64] | None  # (C,), NaN for bands without one
    mask: int | None = (
        None  # the band whose mask counts: an alpha band, or one with a mask of the file's
    )
    alpha: bool = False
    chunks: tuple[int, int] = (1, 1)  # rows, columns that the file keeps together
    _open: threading.local = field(default_factory=threading.local, repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read: of the file, or a floating type where values may be missing."""
        if self.stored.kind == "f" or (self.nodata is None and self.mask is None):
            return self.stored
        return np.result_type(self.stored, np.float32 if self.stored.itemsize <= 2 else np.float64)

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        return self.window(rows, slice(None))

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle of it."""
        down, across = (
            range(*part.indices(size))
            for part, size in zip((rows, columns), self.shape[:2], strict=True)
        )
        if not (down and across):
            return np.empty((len(down), len(across), self.shape[2]), self.dtype)
        sides = (min(down), max(down) + 1), (min(across), max(across) + 1)
        with trust.whole(self.path), gdal.environment("load_scene"):
            values = self._stored(*sides)
            hidden = None if self.mask is None else self._hidden(*sides)
        out = values
        missing = self._missing(values)
        if missing is not None or hidden is not None:
            out = values.astype(self.dtype)
        if missing is not None:
            out[missing] = np.nan
        if hidden is not None:
            out[hidden] = np.nan
        if (down.step, across.step) == (1, 1):
            return out
        some = np.ix_(np.array(down) - sides[0][0], np.array(across) - sides[1][0])
        return np.asarray(out[some])

    def _stored(self, rows: Side, columns: Side) -> NDArray[Any]:  # (n, m, C)
        """The file's values. A chunk of which only some rows are asked for is kept: the next ones are, soon."""
        (start, stop), chunk = rows, self.chunks[0]
        above, below = start - start % chunk, min(-(-stop // chunk) * chunk, self.shape[0])
        size = (below - above) * self.shape[1] * self.shape[2] * self.stored.itemsize
        if rows == (above, below) or columns != (0, self.shape[1]) or size > KEPT:
            return self._read(rows, columns)
        kept = getattr(self._open, "kept", None)
        if kept is None or not kept[0] <= start < stop <= kept[1]:
            kept = above, below, self._read((above, below), columns)
        self._open.kept = None if stop == kept[1] else kept
        return kept[2][start - kept[0] : stop - kept[0]].copy()

    def _read(self, rows: Side, columns: Side) -> NDArray[Any]:  # (n, m, C)
        window = rows, columns
        bands = self._dataset().read(list(self.bands), window=window, out_dtype=self.stored.name)
        return np.moveaxis(bands, 0, 2)

    def _hidden(self, rows: Side, columns: Side) -> NDArray[np.bool_]:  # (n, m)
        """Where the mask, or the alpha band, is 0."""
        file = self._dataset()
        read = file.read if self.alpha else file.read_masks
        hidden: NDArray[np.bool_] = read(self.mask, window=(rows, columns)) == 0
        return hidden

    def _missing(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:  # (n, W, C)
        if self.nodata is None:
            return None
        own = self.nodata.astype(self.stored) if self.stored.kind == "f" else self.nodata
        missing: NDArray[np.bool_] = np.equal(values, own)
        zero = self.nodata == 0
        if zero.any() and missing.any():
            missing[..., zero] &= missing.all(axis=-1, keepdims=True)
        return missing

    def _dataset(self) -> Any:
        file = getattr(self._open, "file", None)
        if file is None:
            file = gdal.opened("load_scene", self.path, driver=self.driver)
            self._open.file = file
        return file

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _open=threading.local())
