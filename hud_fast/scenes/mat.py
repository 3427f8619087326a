"""MATLAB files: v5 (and v4) through scipy.io, v7.3 (HDF5) through h5py. Only what is asked for is read.

MATLAB stores arrays column by column, HDF5 row by row, so a (H, W, C) array of MATLAB lies in a v7.3 file as
(C, W, H). Arrays that MATLAB (or we) wrote carry the attribute MATLAB_class and are turned round; arrays
that another program put into an HDF5 file named .mat are left as they are.

A truncated file is found before anything is read: a v5 file is a chain of elements whose lengths must end at
the end of the file, and HDF5 checks its own end.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

INTEGER_CLASSES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMERIC_CLASSES = frozenset(("double", "single", "logical", *INTEGER_CLASSES))
V5_HEADER = 128
MATLAB_ATTRIBUTE = "MATLAB_class"


class VariableFile(Protocol):
    """A file of named arrays."""

    format: str
    version: str
    column_major: bool
    shapes: dict[str, tuple[int, ...]]  # the numeric variables
    others: dict[str, str]  # the rest: what they are

    def read(self, name: str) -> NDArray[Any]: ...


def open_mat(path: Path) -> VariableFile:
    """The variables of a .mat file of any version.

    Raises
    ------
    OSError
        If the file is truncated or damaged.
    ValueError
        If it is not a MATLAB file.
    """
    with path.open("rb") as file:
        start = file.read(V5_HEADER)
    if start.startswith(b"MATLAB 7.3") or _is_hdf5(path):
        return MatHDF5(path)
    if start.startswith(b"MATLAB 5") or start[124:] in _V5_ENDINGS:
        _check_v5_length(path, start)
        return MatV5(path)
    if len(start) < V5_HEADER and b"MATLAB 5".startswith(start[:8]):
        raise damaged(path, f"it ends inside its header, after {len(start)} bytes")
    if start[:4] in _V4_STARTS:
        return MatV5(path)
    raise ValueError(
        f"load_scene: `path` must be a MATLAB file, got {path}, which starts with {start[:16]!r}"
    )


_V5_ENDINGS = (b"\x00\x01IM", b"\x01\x00MI")
# A v4 file has no header: the type (0, 10, ... 52 little-endian, 1000... big-endian) of its first variable.
_V4_STARTS = frozenset(
    struct.pack(order, base + 10 * kind)
    for order, base in (("<i", 0), (">i", 1000))
    for kind in range(6)
)


def damaged(path: Path, why: str) -> OSError:
    """The error for a file that is cut off or broken."""
    return OSError(
        f"load_scene: `path` must be a whole .mat file, got a truncated one, {path}: {why}"
    )


def _is_hdf5(path: Path) -> bool:
    import h5py

    return bool(h5py.is_hdf5(path))


def _check_v5_length(path: Path, header: bytes) -> None:
    """Walk the chain of elements: 4 bytes of type, 4 of length, then the data."""
    size = path.stat().st_size
    if len(header) < V5_HEADER:
        raise damaged(path, f"it ends inside its header, after {size} bytes")
    order = ">" if header[126:128] == b"MI" else "<"
    position = V5_HEADER
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            tag = file.read(8)
            if len(tag) < 8:
                raise damaged(path, f"it ends inside an element at byte {size}")
            _, length = struct.unpack(order + "II", tag)
            position += 8 + length
    if position > size:
        raise damaged(path, f"it has {size} bytes, its elements need {position}")


class MatV5:
    """A MATLAB v4 or v5 file."""

    format = "mat"
    version = "5"
    column_major = True

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat

        self.path = path
        try:
            found = whosmat(str(path), appendmat=False)
        except (
            Exception
        ) as error:  # scipy raises a dozen kinds here, zlib's and TypeError among them
            raise damaged(path, str(error)) from error
        self.shapes = {n: tuple(shape) for n, shape, kind in found if kind in NUMERIC_CLASSES}
        self.others = {n: kind for n, _, kind in found if kind not in NUMERIC_CLASSES}

    def read(self, name: str) -> NDArray[Any]:
        from scipy.io import loadmat

        try:
            array = loadmat(str(self.path), variable_names=[name], appendmat=False)[name]
        except Exception as error:
            raise damaged(self.path, str(error)) from error
        return np.asarray(array)


class MatHDF5:
    """A MATLAB v7.3 file."""

    format = "mat"
    version = "7.3"
    column_major = True

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.others: dict[str, str] = {}
        self._turned: dict[str, bool] = {}
        try:
            with h5py.File(path, "r") as file:
                for name, item in file.items():
                    if not name.startswith("#"):  # "#refs#" holds the contents of cells
                        self._note(name, item)
        except (OSError, RuntimeError, KeyError) as error:
            raise damaged(path, str(error)) from error

    def _note(self, name: str, item: Any) -> None:
        kind = item.attrs.get(MATLAB_ATTRIBUTE)
        word = kind.decode() if isinstance(kind, bytes) else kind
        numeric = hasattr(item, "dtype") and item.dtype.kind in "fiub"
        if not numeric or "MATLAB_empty" in item.attrs or word not in (None, *NUMERIC_CLASSES):
            self.others[name] = str(word or "group")
            return
        self._turned[name] = word is not None
        shape = tuple(int(size) for size in item.shape)
        self.shapes[name] = shape[::-1] if word is not None else shape

    def read(self, name: str) -> NDArray[Any]:
        import h5py

        try:
            with h5py.File(self.path, "r") as file:
                array: NDArray[Any] = file[name][()]
        except (OSError, RuntimeError, KeyError) as error:
            raise damaged(self.path, str(error)) from error
        return array.T if self._turned[name] else array
