"""Files of arrays with attributes and named axes (HDF5, netCDF, Zarr): what they hold, and their cubes by rows."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.raw import Rows
from hud_fast.scenes.trust import broken

KEPT = 1 << 28  # bytes of unpacked rows that wait for the next request


@dataclass(frozen=True)
class Array:
    """An array of numbers, unread."""

    name: str  # with its groups: "a/b/name"
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]  # numbers, texts, lists of them
    dims: tuple[str, ...]  # names of its axes; "" where there is none

    @property
    def group(self) -> str:
        """Where it lies; "" is the file itself."""
        return self.name.rpartition("/")[0]

    @property
    def own_name(self) -> str:
        """Its name without the groups."""
        return self.name.rpartition("/")[2]

    def vector_size(self) -> int:
        """How many numbers it has, if all axes but one are 1; else 0."""
        count = math.prod(self.shape)
        return count if self.shape and count == max(self.shape) else 0


class ArrayFile(Protocol):
    """A file of arrays in groups."""

    format: str
    path: Path
    attributes: Mapping[
        str, Mapping[str, Any]
    ]  # of groups ("" is the file) and of what is no array
    arrays: Mapping[str, Array]
    texts: Mapping[str, Sequence[str]]
    others: Mapping[str, str]  # the rest: what they are

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array."""
        ...

    def rows(self, name: str, order: str) -> Rows:
        """The cube that an array of three axes is, unread; `order` of its axes as in "CHW"."""
        ...


@dataclass(eq=False)
class ChunkedRows(abc.ABC):
    """A cube that lies in chunks, each packed as a whole: rows are read by whole chunks, and none twice in a row.

    Can be pickled: it is a place to read from, not what was read.
    """

    path: Path
    name: str
    order: str  # of the axes in the file: "HWC", "CHW", ...
    file_shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    chunk_rows: (
        int  # rows that lie in a chunk together; blocks of a multiple of it are read fastest
    )
    _kept: tuple[int, NDArray[Any]] | None = field(default=None, init=False, repr=False)

    @abc.abstractmethod
    def part(self, box: Sequence[tuple[int, int]]) -> NDArray[Any]:
        """The values from, to along each axis of the file."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, bands = (self.file_shape[self.order.index(axis)] for axis in "HWC")
        return height, width, bands

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C), C-contiguous, the caller's own
        start, stop, step = rows.indices(self.shape[0])
        if step < 0:
            raise ValueError(f"{type(self).__name__}: `rows` must go forwards, got {rows}")
        out = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        done = self._from_kept(out, start, stop)
        if start + done < stop:
            self._read(out[done:], start + done, stop)
        return out if step == 1 else np.ascontiguousarray(out[::step])

    def _from_kept(self, out: NDArray[Any], start: int, stop: int) -> int:
        """Fill in the first rows from what was read before; how many."""
        if self._kept is None:
            return 0
        first, block = self._kept
        if not first <= start < first + len(block):
            return 0
        found = block[start - first : stop - first]
        out[: len(found)] = found
        return len(found)

    def _read(self, out: NDArray[Any], start: int, stop: int) -> None:
        chunk, height = self.chunk_rows, self.shape[0]
        first, last = start // chunk * chunk, min(-(-stop // chunk) * chunk, height)
        a_row = math.prod(self.shape[1:]) * self.dtype.itemsize
        if (last - first - len(out)) * a_row > KEPT:
            first, last = start, stop
        box = [(0, size) for size in self.file_shape]
        box[self.order.index("H")] = (first, last)
        block = self.part(box).transpose([self.order.index(axis) for axis in "HWC"])
        out[:] = block[start - first : stop - first]
        # The end of a chunk is wanted next; a copy, so that the rest may go.
        rest = block[stop - first :]
        self._kept = (stop, rest.copy() if stop - first else rest) if len(rest) else None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}


@dataclass(eq=False)
class MappedRows:
    """A cube whose values lie in a file unpacked, at fixed steps. Can be pickled."""

    path: Path
    order: str  # of the axes in the file
    file_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]
    _values: NDArray[Any] | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, bands = (self.file_shape[self.order.index(axis)] for axis in "HWC")
        return height, width, bands

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        if self._values is None:
            last = sum(
                (n - 1) * step for n, step in zip(self.file_shape, self.strides, strict=True)
            )
            need = self.offset + last + self.dtype.itemsize
            if need > self.path.stat().st_size:
                raise broken(self.path, f"it has fewer than {need} bytes")
            numbers = np.memmap(self.path, np.uint8, mode="r")
            values = np.ndarray(self.file_shape, self.dtype, numbers, self.offset, self.strides)
            self._values = values.transpose([self.order.index(axis) for axis in "HWC"])
        return self._values[rows]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_values": None}


@dataclass(eq=False)
class Joined:
    """Cubes of one height and width as one: some bands of each, in the order that is given."""

    parts: Sequence[tuple[Rows, NDArray[np.intp]]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, _ = self.parts[0][0].shape
        return height, width, sum(len(bands) for _, bands in self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(*(rows.dtype for rows, _ in self.parts))

    @property
    def chunk_rows(self) -> int:
        """Rows that lie in a chunk together."""
        return math.lcm(*(getattr(rows, "chunk_rows", 1) for rows, _ in self.parts))

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        return np.concatenate([part[rows][..., bands] for part, bands in self.parts], axis=-1)
