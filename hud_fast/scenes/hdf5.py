"""HDF5 files (netCDF-4 is HDF5, too): what they hold and their cubes by rows, read by a process of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.array_files import Array, ChunkedRows, MappedRows
from hud_fast.scenes.hdf5_process import child
from hud_fast.scenes.raw import Rows
from hud_fast.scenes.trust import (
    broken,
    check_claim,
    check_memory,
    check_ratio,
    check_regular,
    whole,
)


class HDF5File:
    """The arrays of an HDF5 file, with attributes and names of axes. Links and values elsewhere are not followed."""

    format = "hdf5"

    def __init__(self, path: Path) -> None:
        self.path = path
        check_regular(path)
        with whole(path), child() as reader:
            found = reader.tree(path)
        self.attributes: dict[str, dict[str, Any]] = found["attributes"]
        self.texts: dict[str, list[str]] = found["texts"]
        self.others: dict[str, str] = found["others"]
        self.arrays: dict[str, Array] = {}
        self._chunks: dict[str, Sequence[int] | None] = {}
        self._offsets: dict[str, int | None] = {}
        for name, facts in found["arrays"].items():
            dims = facts["dims"]
            written = facts["attributes"].get("_ARRAY_DIMENSIONS")
            if not any(dims) and isinstance(written, list) and len(written) == len(dims):
                dims = [str(word) for word in written]
            shape, dtype = tuple(facts["shape"]), np.dtype(facts["dtype"])
            self.arrays[name] = Array(name, shape, dtype, facts["attributes"], tuple(dims))
            self._chunks[name], self._offsets[name] = facts["chunks"], facts["at"]

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array."""
        array = self.arrays[name]
        check_claim(self.path, name, math.prod(array.shape), array.dtype.itemsize)
        return _part(self.path, array, None, self._chunks[name])

    def rows(self, name: str, order: str) -> Rows:
        """The cube that an array of three axes is, unread."""
        array, chunks, offset = self.arrays[name], self._chunks[name], self._offsets[name]
        check_ratio(self.path, name, math.prod(array.shape), array.dtype.itemsize)
        a, b, c = array.shape
        if offset is not None:
            size = array.dtype.itemsize
            steps = (b * c * size, c * size, size)
            return MappedRows(self.path, order, (a, b, c), array.dtype, offset, steps)
        return HDF5Rows(self.path, name, order, (a, b, c), array.dtype, tuple(chunks or ()))


@dataclass(eq=False)
class HDF5Rows(ChunkedRows):
    """A cube in an HDF5 file."""

    def part(self, box: Sequence[tuple[int, int]]) -> NDArray[Any]:
        """The values from, to along each axis of the file."""
        array = Array(self.name, self.file_shape, self.dtype, {}, ())
        return _part(self.path, array, box, self.packed)


def _part(
    path: Path,
    array: Array,
    box: Sequence[tuple[int, int]] | None,  # all of it
    chunks: Sequence[int] | None,
) -> NDArray[Any]:
    shape = array.shape if box is None else tuple(b - a for a, b in box)
    with whole(path):
        check_memory(path, math.prod(shape) * array.dtype.itemsize)
        chunk = math.prod(chunks or (1,))
        check_claim(path, f"a chunk of {array.name}", chunk, array.dtype.itemsize)
        with child() as reader:
            asked = reader.ask(path, array.name, box)
            if tuple(asked["shape"]) != array.shape or asked["dtype"] != array.dtype.str:
                raise broken(path, f"{array.name} was changed while it was read")
            values = np.empty(shape, array.dtype)
            reader.fill(values)
    return values
