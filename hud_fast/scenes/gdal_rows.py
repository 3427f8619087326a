"""A dataset of GDAL's as a cube whose values are read by rows, missing ones as NaN."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import gdal, trust


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
    chunks: tuple[int, int] = (
        1,
        1,
    )  # rows and columns that the file keeps together: multiples cost least
    _open: threading.local = field(default_factory=threading.local, repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read: of the file, or a floating type where values may be missing."""
        if self.nodata is None and self.mask is None:
            return self.stored
        return np.result_type(self.stored, np.float32 if self.stored.itemsize <= 2 else np.float64)

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        return self.window(rows, slice(None))

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle of it."""
        (first, last, down), (left, right, across) = (
            part.indices(size) for part, size in zip((rows, columns), self.shape, strict=False)
        )
        if min(down, across) < 0:
            raise IndexError("rows and columns are read forwards")
        if last <= first or right <= left:
            return np.empty((max(0, last - first), max(0, right - left), self.shape[2]), self.dtype)
        if (down, across) != (1, 1):
            return self.window(slice(first, last), slice(left, right))[::down, ::across]
        window = ((first, last), (left, right))
        with trust.whole(self.path), gdal.environment("load_scene"):
            file = self._dataset()
            values: NDArray[Any] = np.moveaxis(
                file.read(list(self.bands), window=window, out_dtype=self.stored.name), 0, 2
            )
            hidden = None
            if self.mask is not None:
                seen = file.read(self.mask, window=window) if self.alpha else None
                hidden = (
                    file.read_masks(self.mask, window=window) if seen is None else seen
                ) == 0  # (n, W)
        missing = self._missing(values)
        if missing is None and hidden is None:
            return values
        out = values.astype(self.dtype)
        if missing is not None:
            out[missing] = np.nan
        if hidden is not None:
            out[hidden] = np.nan
        return out

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
