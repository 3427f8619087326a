"""MATLAB v7.3 files, which are HDF5, through h5py. Only what lies in the file itself is read.

MATLAB stores arrays column by column, HDF5 row by row, so a (H, W, C) array of MATLAB lies in a v7.3 file as
(C, W, H). Arrays that MATLAB (or we) wrote carry the attribute MATLAB_class and are turned round; arrays
that another program put into an HDF5 file named .mat are left as they are.

HDF5 can reach out: links and virtual datasets lead to other files, and "external storage" takes any file's bytes
for values. MATLAB writes none of them. In a stranger's file they would put what this machine holds into a scene, and
libhdf5 follows a virtual dataset of itself until the stack ends. They are told by name and never opened.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hud_fast.scenes.trust import (
    LARGEST_RATIO,
    available_memory,
    broken,
    check_claim,
    check_count,
    whole,
)

if TYPE_CHECKING:
    import h5py

INTEGER_CLASSES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMERIC_CLASSES = frozenset(("double", "single", "logical", *INTEGER_CLASSES))
MATLAB_ATTRIBUTE = "MATLAB_class"
EMPTY_ATTRIBUTE = "MATLAB_empty"
HARMLESS_FILTERS = (2, 3)  # shuffle and checksum: they do not compress
BLOCK = 1 << 20


class MatHDF5:
    """The variables of a MATLAB v7.3 file."""

    format = "mat"
    version = "7.3"
    column_major = True

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.others: dict[str, str] = {}
        self._turned: dict[str, bool] = {}
        with whole(path), h5py.File(path, "r") as file:
            check_count(len(file))
            for name in file:
                if not str(name).startswith("#"):  # "#refs#" holds the contents of cells
                    self._note(file, name)

    def _note(self, file: h5py.File, name: str) -> None:
        try:
            item = _own_dataset(file, name)
            kind = _matlab_class(item)
            if item.dtype.kind not in "fiub" or item.shape is None or EMPTY_ATTRIBUTE in item.attrs:
                raise _NotNumeric(kind or "no numbers")
            if kind not in (None, *NUMERIC_CLASSES):
                raise _NotNumeric(kind)
        except _NotNumeric as error:
            self.others[str(name)] = str(error)
        except (
            Exception
        ):  # whatever h5py raises: a broken entry does not keep us from the ones beside it
            self.others[str(name)] = "broken"
        else:
            self._turned[name] = kind is not None
            shape = tuple(int(size) for size in item.shape)
            self.shapes[name] = shape if kind is None else shape[::-1]

    def read(self, name: str) -> NDArray[Any]:
        """The values of a numeric variable."""
        import h5py

        with whole(self.path), h5py.File(self.path, "r") as file:
            item = _own_dataset(file, name)
            _check_storage(self.path, name, item)
            array: NDArray[Any] = item[()]
        return array.T if self._turned[name] else array


class _NotNumeric(Exception):
    """What a variable is instead of an array of numbers that lies in the file."""


def _own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """The dataset of this name, whose values lie in this file."""
    import h5py
    from h5py import h5d, h5l

    key = name if isinstance(name, bytes) else name.encode()  # `name in file` would follow a link
    if file.id.links.get_info(key).type != h5l.TYPE_HARD:
        raise _NotNumeric("a link, which is not followed")
    item = file[name]
    if not isinstance(item, h5py.Dataset):
        kind = None if isinstance(item, h5py.Datatype) else _matlab_class(item)
        raise _NotNumeric(kind or type(item).__name__.lower())
    plan = item.id.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise _NotNumeric("a virtual dataset, which is not followed")
    if plan.get_external_count():
        raise _NotNumeric("values in another file, which are not read")
    return item


def _matlab_class(item: Any) -> str | None:
    """What MATLAB calls it; None where another program wrote it."""
    if MATLAB_ATTRIBUTE not in item.attrs:
        return None
    word = item.attrs[MATLAB_ATTRIBUTE]
    return word.decode("latin1") if isinstance(word, bytes) else str(word)


def _check_storage(path: Path, name: str, item: h5py.Dataset) -> None:
    """Refuse a dataset that asks for more than its stored bytes can be: libhdf5 would make room for it first."""
    plan = item.id.get_create_plist()
    count, bytes_each = math.prod(item.shape), item.dtype.itemsize
    check_claim(path, name, count, bytes_each)
    if count and not item.id.get_storage_size():
        raise broken(path, f"{name} has no values")
    if item.chunks is None:
        return
    chunk = math.prod(item.chunks)
    check_claim(path, f"a chunk of {name}", chunk, bytes_each)
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    if len([code for code in filters if code not in HARMLESS_FILTERS]) > 1:
        raise broken(path, f"{name} is compressed more than once")
    free = available_memory()
    if free is not None and LARGEST_RATIO * path.stat().st_size > free:
        _check_chunks(path, name, item, chunk * bytes_each)


def _check_chunks(path: Path, name: str, item: h5py.Dataset, size: int) -> None:
    """Inflate, piece by piece, the chunks that could fill the memory: libhdf5 inflates however much comes."""
    free = available_memory() or 0
    large: list[tuple[int, ...]] = []

    def note(chunk: Any) -> None:
        if LARGEST_RATIO * chunk.size > free:
            large.append(chunk.chunk_offset)

    item.id.chunk_iter(note)
    for offset in large:
        data = item.id.read_direct_chunk(offset)[1]
        stream, made = zlib.decompressobj(), 0
        while data and not stream.eof and made <= size + BLOCK:
            made += len(stream.decompress(data, BLOCK))
            data = stream.unconsumed_tail
        if made > size + BLOCK:
            raise broken(path, f"a chunk of {name} holds more than its {size} bytes")
