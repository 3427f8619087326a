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

from hud_fast._limits import available_memory
from hud_fast.scenes.raw import Rows
from hud_fast.scenes.trust import broken

KEPT = 1 << 28  # bytes of unpacked rows that may wait for the next request
SHARE = 4  # or this part of the free memory, if that is more: to unpack again and again costs hours


@dataclass(frozen=True)
class Array:
    """An array of numbers, unread."""

    name: str  # with its groups: "a/b/name"
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]  # numbers, texts, lists of them
    dims: tuple[str, ...]  # names of its axes, "" for one without; none where no axis has one

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
    attributes: dict[str, dict[str, Any]]  # of groups ("" is the file) and of what is no array
    arrays: dict[str, Array]
    texts: dict[str, list[str]]
    others: dict[str, str]  # the rest: what they are

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array."""
        ...

    def rows(self, name: str, order: str) -> Rows:
        """The cube that an array of three axes is, unread; `order` of its axes as in "CHW"."""
        ...


class _Cube(abc.ABC):
    """A cube (H, W, C) in a file whose axes have another order."""

    order: str  # of the axes in the file: "HWC", "CHW", ...
    file_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, bands = (self.file_shape[self.order.index(axis)] for axis in "HWC")
        return height, width, bands

    def turned(self, values: NDArray[Any]) -> NDArray[Any]:  # (H, W, C)
        """The file's axes in our order."""
        return values.transpose([self.order.index(axis) for axis in "HWC"])


@dataclass(eq=False)
class ChunkedRows(_Cube):
    """A cube that lies in chunks, each packed as a whole: rows are read by whole chunks, and none twice in a row.

    Can be pickled: it is a place to read from, not what was read.
    """

    path: Path
    name: str
    order: str
    file_shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    packed: tuple[int, ...]  # the shape of a chunk in the file; empty where nothing is packed
    _kept: tuple[int, NDArray[Any]] | None = field(default=None, init=False, repr=False)

    @abc.abstractmethod
    def part(self, box: Sequence[tuple[int, int]]) -> NDArray[Any]:
        """The values from, to along each axis of the file."""

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are packed together: parts of whole chunks are read fastest."""
        if not self.packed:
            return 1, self.shape[1]
        return self.packed[self.order.index("H")], self.packed[self.order.index("W")]

    @property
    def chunk_rows(self) -> int:
        """Rows that are packed together."""
        return self.chunks[0]

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle; only the chunks that it touches are unpacked."""
        height, width, _ = self.shape
        return self._box(rows.indices(height)[:2], columns.indices(width)[:2])

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
        found = block[start - first : max(stop - first, 0)]
        out[: len(found)] = found
        return len(found)

    def _read(self, out: NDArray[Any], start: int, stop: int) -> None:
        chunk, (height, width, bands) = self.chunk_rows, self.shape
        first, last = start // chunk * chunk, min(-(-stop // chunk) * chunk, height)
        more = (last - first - len(out)) * width * bands * self.dtype.itemsize
        if more > KEPT and more > (available_memory() or 0) // SHARE:
            first, last = start, stop
        block = self._box((first, last), (0, width))
        out[:] = block[start - first : stop - first]
        # The end of a chunk is wanted next; a copy, so that the rest may go.
        self._kept = (stop, block[stop - first :].copy()) if last > stop else None

    def _box(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[Any]:  # (n, m, C)
        box = [(0, size) for size in self.file_shape]
        box[self.order.index("H")], box[self.order.index("W")] = rows, columns
        return self.turned(self.part(box))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}


@dataclass(eq=False)
class MappedRows(_Cube):
    """A cube whose values lie in a file unpacked, at fixed steps. Can be pickled."""

    path: Path
    order: str
    file_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]
    _values: NDArray[Any] | None = field(default=None, init=False, repr=False)

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C), the caller's own
        return self.window(rows, slice(None))

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle."""
        if self._values is None:
            steps = zip(self.file_shape, self.strides, strict=True)
            need = self.offset + sum((n - 1) * step for n, step in steps) + self.dtype.itemsize
            if need > self.path.stat().st_size:
                raise broken(self.path, f"it has fewer than {need} bytes")
            numbers = np.memmap(self.path, np.uint8, mode="r")
            values: NDArray[Any] = np.ndarray(
                self.file_shape, self.dtype, numbers, self.offset, self.strides
            )
            self._values = self.turned(values)
        return np.array(self._values[rows, columns], order="C")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_values": None}


@dataclass(eq=False)
class Filled:
    """A cube with a number that stands for nothing: NaN comes in its place, from whole numbers as floats."""

    rows: Rows
    fill: float
    whole: bool = False  # only where all bands of a pixel have it

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read."""
        own = self.rows.dtype.newbyteorder("=")
        if own.kind == "f":
            return own
        return np.dtype(np.float32 if own.itemsize <= 2 else np.float64)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are packed together."""
        found: tuple[int, int] = getattr(self.rows, "chunks", (1, self.shape[1]))
        return found

    @property
    def chunk_rows(self) -> int:
        """Rows that are packed together."""
        return self.chunks[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        return self._filled(self.rows[rows])

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle."""
        return self._filled(rectangle(self.rows, rows, columns))

    def _filled(self, values: NDArray[Any]) -> NDArray[Any]:
        out = values.astype(self.dtype)
        if values.dtype.kind in "iu" and not self.fill.is_integer():
            return out  # no whole number is it
        with np.errstate(over="ignore"):
            fill = int(self.fill) if values.dtype.kind in "iu" else values.dtype.type(self.fill)
        gone = values == fill
        out[gone.all(axis=-1) if self.whole else gone] = np.nan
        return out


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
        """Of what is read."""
        return np.result_type(*(rows.dtype for rows, _ in self.parts))

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns that are packed together: in none of the parts one twice."""
        each = [getattr(rows, "chunks", (1, 1)) for rows, _ in self.parts]
        return math.lcm(*(one[0] for one in each)), math.lcm(*(one[1] for one in each))

    @property
    def chunk_rows(self) -> int:
        """Rows that are packed together."""
        return self.chunks[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        return np.concatenate([part[rows][..., bands] for part, bands in self.parts], axis=-1)

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle."""
        found = [rectangle(part, rows, columns)[..., bands] for part, bands in self.parts]
        return np.concatenate(found, axis=-1)


def rectangle(cube: Rows, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
    """A part of a cube, without the rest of its rows where it knows how."""
    window = getattr(cube, "window", None)
    found: NDArray[Any] = cube[rows][:, columns] if window is None else window(rows, columns)
    return found
