"""netCDF classic (version 3) files: the header is read by scipy, the values are mapped."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.array_files import Array, MappedRows
from hud_fast.scenes.array_scenes import read_arrays
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.trust import check_claim, check_count, check_ratio, whole

STARTS = (b"CDF\x01", b"CDF\x02", b"CDF\x05")


class NetCDF3File:
    """The arrays of a netCDF classic file."""

    format = "netcdf"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attributes: dict[str, dict[str, Any]] = {}
        self.arrays: dict[str, Array] = {}
        self.texts: dict[str, list[str]] = {}
        self.others: dict[str, str] = {}
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        with path.open("rb") as file:
            if file.read(4) == STARTS[2]:
                raise ValueError(
                    f"load_scene: `path_or_name` must be netCDF of another kind than 64-bit data (CDF-5), got {path}: "
                    f"nccopy -k nc4 {path.name} new.nc converts it"
                )
        with whole(path):
            self._open()

    def _open(self) -> None:
        from scipy.io import netcdf_file

        file = netcdf_file(str(self.path), "r", mmap=True, maskandscale=False)
        try:
            self._note(file)
        finally:
            with (
                warnings.catch_warnings()
            ):  # that something still refers to the map, after an error
                warnings.simplefilter("ignore", RuntimeWarning)
                file.close()

    def _note(self, file: Any) -> None:
        """Where each array lies. Nothing that refers to the file's map is kept: it will be closed."""
        check_count(len(file.variables))
        start = file._mm_buf.__array_interface__["data"][0]
        self.attributes[""] = _plain(file._attributes)
        for name, variable in file.variables.items():
            values, facts = variable.data, _plain(variable._attributes)
            if values.dtype.kind not in "fiu":  # letters
                self.attributes[name] = facts
                self.others[name] = "no numbers"
                continue
            self._places[name] = values.__array_interface__["data"][0] - start, values.strides
            dims = tuple(variable.dimensions)
            self.arrays[name] = Array(name, values.shape, values.dtype, facts, dims)

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array."""
        array, (offset, strides) = self.arrays[name], self._places[name]
        check_claim(self.path, name, math.prod(array.shape), array.dtype.itemsize)
        with whole(self.path):
            numbers = np.memmap(self.path, np.uint8, mode="r")
            return np.ndarray(array.shape, array.dtype, numbers, offset, strides).copy()

    def rows(self, name: str, order: str) -> MappedRows:
        """The cube that an array of three axes is, unread."""
        array, (offset, strides) = self.arrays[name], self._places[name]
        check_ratio(self.path, name, math.prod(array.shape), array.dtype.itemsize)
        return MappedRows(self.path, order, array.shape, array.dtype, offset, strides)


def _plain(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes as an HDF5 file has them."""
    facts: dict[str, Any] = {}
    for name, value in attributes.items():
        if isinstance(value, bytes):
            facts[name] = value.decode("utf-8", "replace").rstrip("\0")
        elif isinstance(value, (np.ndarray, np.generic)):
            facts[name] = value.tolist()
        else:
            facts[name] = value
    return facts


def read_netcdf3(path: Path, request: Request) -> RawScene:
    """The cube of a netCDF classic file."""
    return read_arrays(NetCDF3File(path), request)
