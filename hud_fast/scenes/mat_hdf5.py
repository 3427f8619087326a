"""MATLAB v7.3 files, which are HDF5: read by a process of their own, see `hdf5_process`.

MATLAB stores arrays column by column, HDF5 row by row, so a (H, W, C) array of MATLAB lies in a v7.3 file as
(C, W, H). Arrays that MATLAB (or we) wrote carry the attribute MATLAB_class and are turned round; arrays
that another program put into an HDF5 file named .mat are left as they are.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.hdf5_process import child
from hud_fast.scenes.trust import check_claim, whole

MATLAB_ATTRIBUTE = "MATLAB_class"
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Is the signature where HDF5 looks for it: at 0, or at 512 bytes (after MATLAB's header), 1024, ...?"""
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            place = max(512, 2 * place)
    return False


class MatHDF5:
    """The variables of a MATLAB v7.3 file."""

    format = "mat"
    version = "7.3"
    column_major = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with whole(path), child() as reader:
            found = reader.ask(path, None)
        self._turned = set(found["turned"])
        self._inside: dict[str, str] = found["inside"]  # where it lies, of what a structure holds
        self.nested = set(self._inside)
        self.others: dict[str, str] = found["others"]
        self.shapes = {
            name: tuple(shape[::-1] if name in self._turned else shape)
            for name, shape in found["shapes"].items()
        }

    def read(self, name: str) -> NDArray[Any]:
        """The values of a numeric variable."""
        with whole(self.path), child() as reader:
            asked = reader.ask(self.path, self._inside.get(name, name))
            dtype = np.dtype(asked["dtype"])
            check_claim(self.path, name, math.prod(asked["shape"]), dtype.itemsize)
            check_claim(self.path, f"a chunk of {name}", asked["chunk"], dtype.itemsize)
            array = np.empty(asked["shape"], dtype)
            reader.fill(array)
        return array.T if name in self._turned else array
