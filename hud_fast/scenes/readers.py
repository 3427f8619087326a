"""Which reader a file gets: the first in the list that knows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hud_fast._text import printable
from hud_fast.scenes import (
    envi,
    geotiff,
    hdf5_scenes,
    mat,
    netcdf3,
    numpy_files,
    tables,
    zarr_files,
)
from hud_fast.scenes.mat_hdf5 import SIGNATURE
from hud_fast.scenes.raw import RawScene, Reader, Request
from hud_fast.scenes.sensors import dlr, wyvern

START = 512  # bytes of a file that its reader may be known by
ARRAYS = frozenset({"variable", "layout", "shape"})
HDF5_SUFFIXES = (".h5", ".he5", ".hdf5", ".hdf", ".nc", ".nc4")
HDF4 = b"\x0e\x03\x13\x01"


def _read_mat(path: Path, request: Request) -> RawScene:
    return tables.read_table(mat.open_mat(path), path, request)


def _read_npz(path: Path, request: Request) -> RawScene:
    file = numpy_files.Npz(path)
    if file.is_ours and request.variable is None:
        for name in ("layout", "shape"):
            if (value := getattr(request, name)) is not None:
                raise ValueError(
                    f"load_scene: `{name}` must not be given for a file of the kind npz that hud_fast wrote, got "
                    f"{printable(repr(value), 60)} for {path}"
                )
        return numpy_files.read_own_npz(file)
    return tables.read_table(file, path, request)


def _is_hdf5(path: Path, start: bytes) -> bool:
    return path.suffix.lower() in HDF5_SUFFIXES or start.startswith((SIGNATURE, *netcdf3.STARTS))


def _read_hdf5(path: Path, request: Request) -> RawScene:
    with path.open("rb") as file:
        start = file.read(len(HDF4))
    if start == HDF4:
        raise ValueError(
            f"load_scene: `path_or_name` must be HDF5, got {path}, which is HDF4: "
            f"h4toh5 {path.name} new.h5 converts it"
        )
    if start in netcdf3.STARTS:
        return netcdf3.read_netcdf3(path, request)
    return hdf5_scenes.read_hdf5(path, request)


def _has_suffix(*suffixes: str) -> Callable[[Path, bytes], bool]:
    return lambda path, _: path.suffix.lower() in suffixes


def _is_envi(path: Path, _: bytes) -> bool:
    if path.suffix.lower() in (".hdr", *envi.DATA_SUFFIXES):
        return True
    return envi.find_header(path) is not None


READERS = (
    Reader("mat", _has_suffix(".mat"), _read_mat, ARRAYS, (".mat",)),
    Reader("npz", _has_suffix(".npz"), _read_npz, ARRAYS, (".npz",)),
    Reader(
        "npy",
        _has_suffix(".npy"),
        numpy_files.read_npy,
        ARRAYS - {"variable"},
        (".npy",),
    ),
    Reader("enmap", dlr.ENMAP.matches, dlr.ENMAP.read),
    Reader("desis", dlr.DESIS.matches, dlr.DESIS.read),
    Reader("wyvern", wyvern.matches, wyvern.read),
    Reader("geotiff", geotiff.is_tiff, geotiff.read, frozenset(), geotiff.SUFFIXES),
    Reader("erdas", geotiff.is_erdas, geotiff.read_erdas, frozenset(), (".lan",)),
    Reader("hdf5", _is_hdf5, _read_hdf5, ARRAYS, HDF5_SUFFIXES),
    Reader("zarr", lambda path, _: path.is_dir(), zarr_files.read_zarr, ARRAYS, (".zarr",)),
    Reader("envi", _is_envi, envi.read_envi, frozenset(), (".hdr", *envi.DATA_SUFFIXES)),
)
SUFFIXES = tuple(dict.fromkeys(suffix for reader in READERS for suffix in reader.suffixes))


def read(path: Path, request: Request) -> RawScene:
    """The scene of a file.

    Raises
    ------
    ValueError
        If no reader knows the file, or the one that does cannot use what `request` says.
    """
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(START)
    reader = next((one for one in READERS if one.matches(path, start)), None)
    if reader is None:
        raise ValueError(
            f"load_scene: `path_or_name` must end in one of {', '.join(SUFFIXES)} (or have an ENVI header "
            f"beside it), got {path}"
        )
    for name in ("variable", "layout", "shape"):
        value = getattr(request, name)
        if value is not None and name not in reader.takes:
            raise ValueError(
                f"load_scene: `{name}` must not be given for a file of the kind {reader.name}, got "
                f"{printable(repr(value), 60)} for {path}"
            )
    raw = reader.read(path, request)
    if reader.name == "geotiff":  # ENVI writes TIFFs with a header beside them
        envi.add_header(raw, path)
    return raw
