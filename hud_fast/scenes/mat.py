"""MATLAB files: v5 by `mat_v5`, v7.3 (HDF5) by `mat_hdf5`, v4 through scipy.io. Only what is asked for is read.

A truncated file is found before anything is read: a v5 file is a chain of elements whose lengths must end at
the end of the file, and HDF5 checks its own end.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.mat_hdf5 import MatHDF5, is_hdf5
from hud_fast.scenes.mat_v5 import HEADER, MatV5
from hud_fast.scenes.trust import broken, check_claim, check_count, check_regular, whole


class VariableFile(Protocol):
    """A file of named arrays."""

    format: str
    version: str
    column_major: bool
    shapes: dict[str, tuple[int, ...]]  # the numeric variables
    others: dict[str, str]  # the rest: what they are
    nested: set[
        str
    ]  # those of `shapes` that lie in a structure or a cell array, as MATLAB names them

    def read(self, name: str) -> NDArray[Any]: ...


def open_mat(path: Path) -> VariableFile:
    """The variables of a .mat file of any version.

    Raises
    ------
    OSError
        If the file is truncated, damaged or no regular file.
    ValueError
        If it is not a MATLAB file.
    """
    check_regular(path)
    with path.open("rb") as file:
        start = file.read(HEADER)
    if start.startswith(b"MATLAB 7.3") or is_hdf5(path):
        return MatHDF5(path)
    if start.startswith(b"MATLAB 5") or start[124:] in _V5_ENDINGS:
        return MatV5(path)
    if len(start) < HEADER and b"MATLAB 5".startswith(start[:8]):
        raise broken(path, f"it ends inside its header, after {len(start)} bytes")
    if start[:4] in _V4_STARTS:
        return MatV4(path)
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


class MatV4:
    """A MATLAB v4 file: matrices of numbers, one after the other. It is saved again as v5."""

    format = "mat"
    version = "5"
    column_major = True

    def __init__(self, path: Path) -> None:
        from scipy.io import whosmat

        self.path = path
        with whole(path):
            _check_v4(path)
            found = whosmat(str(path), appendmat=False)
            check_count(len(found))
            size = path.stat().st_size
            for name, shape, _ in found:
                if min(shape) < 0 or math.prod(shape) > size:
                    raise ValueError(f"{name} has the sizes {shape}")
        self.shapes = {
            name: tuple(shape) for name, shape, kind in found if kind in ("double", "single")
        }
        self.others = {name: kind for name, _, kind in found if name not in self.shapes}
        self.nested: set[str] = set()

    def read(self, name: str) -> NDArray[Any]:
        from scipy.io import loadmat

        check_claim(self.path, name, math.prod(self.shapes[name]), 8)
        with whole(self.path):
            return np.asarray(loadmat(str(self.path), variable_names=[name], appendmat=False)[name])


_V4_SIZES = (8, 4, 4, 2, 2, 1)  # bytes of a number, by the tens of a matrix's type


def _check_v4(path: Path) -> None:
    """Walk the chain of matrices: five numbers, the name, the values; scipy makes room for what they say."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(20)
            if len(header) < 20:
                raise ValueError(f"it ends inside a header, after {size} bytes")
            order = "<" if 0 <= struct.unpack_from("<i", header)[0] < 1000 else ">"
            kind, rows, columns, parts, name = struct.unpack(order + "5i", header)
            if min(rows, columns, name) < 0 or not 0 <= kind // 10 % 10 < len(_V4_SIZES):
                raise ValueError(f"a header at byte {position} makes no sense")
            values = rows * columns * _V4_SIZES[kind // 10 % 10] * (2 if parts == 1 else 1)
            position += 20 + name + values
    if position > size:
        raise ValueError(f"it has {size} bytes, its matrices need {position}")
