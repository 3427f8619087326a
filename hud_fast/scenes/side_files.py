"""Side information given by the user: an array, or the file that holds it (.npy, .mat, text, an ENVI header)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes import band_tables, mat, numpy_files, wavelengths
from hud_fast.scenes.catalogue import File
from hud_fast.scenes.checks import array_of
from hud_fast.scenes.envi_header import read_header
from hud_fast.scenes.fetch import kept
from hud_fast.scenes.hdf5 import HDF5File
from hud_fast.scenes.sensors import emit
from hud_fast.scenes.trust import whole

Side = ArrayLike | str | os.PathLike[str] | None
Numbers = NDArray[np.float64]
T = TypeVar("T")
LARGEST_TEXT = {True: 1 << 22, False: 1 << 26}  # bytes: of a list, of an image


def centres(values: Side) -> tuple[Numbers | None, Numbers | None]:  # (C,) nm, (C,) nm
    """Wavelengths and, where the file has them, band widths (fwhm)."""
    if values is None:
        return None, None
    if not isinstance(values, (str, os.PathLike)):
        return wavelengths.given(_numbers("wavelengths", values)), None
    file = Path(values)
    if file.is_file() and file.suffix.lower() == ".hdr":
        with whole(file):
            header = read_header(file)
            if "wavelength" not in header.fields:
                raise ValueError(f"load_scene: `wavelengths` must be a list, got none in {file}")
            return header.centres_and_widths(len(header.words("wavelength")))
    if file.is_file() and file.suffix.lower() not in (".mat", ".npy"):
        with whole(file):
            table = _of_text("wavelengths", file, band_tables.read_table, one_axis=True)
    else:
        array = np.asarray(_from_file("wavelengths", file, one_axis=True), np.float64)
        if array.ndim == 2 and min(array.shape) > 1:
            columns = list(array if len(array) < len(array.T) else array.T)
        else:
            columns = [array.ravel()]
        table = band_tables.Table(columns, [f"column {i + 1}" for i in range(len(columns))])
    found, widths = band_tables.centres_and_widths(table, file)
    in_nm = wavelengths.given(found)
    return in_nm, None if widths is None else wavelengths.widths(widths, None, found, in_nm)


def vector(name: str, values: Side) -> NDArray[Any] | None:
    """A list of numbers, or the file that holds it."""
    if values is None:
        return None
    if isinstance(values, (str, os.PathLike)):
        return _from_file(name, Path(values), one_axis=True).ravel()
    return _numbers(name, values).reshape(-1)


def matrix(name: str, values: Side) -> NDArray[Any] | None:
    """An array of the image's shape, or the file that holds it."""
    if values is None:
        return None
    if isinstance(values, (str, os.PathLike)):
        return _from_file(name, Path(values), one_axis=False)
    return _numbers(name, values)


def _numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    array = array_of("load_scene", name, values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"load_scene: `{name}` must hold numbers, got {array.dtype}")
    return array


def _from_file(name: str, path: Path, one_axis: bool) -> NDArray[Any]:
    """The one array in a .npy, .mat or text file."""
    if not path.is_file():  # a regular one, that is
        raise FileNotFoundError(
            f"load_scene: `{name}` must be numbers or a file, got {printable(path)}"
        )
    suffix = path.suffix.lower()
    if suffix == ".mat":
        file = mat.open_mat(path)
        fitting = [
            n
            for n, shape in file.shapes.items()
            if len(shape) == 2 and (min(shape) == 1) == one_axis and max(shape) > 1
        ]
        if len(fitting) != 1:
            raise ValueError(
                f"load_scene: `{name}` must be a file with one fitting variable, "
                f"got {listed(fitting) or 'none'} in {path}"
            )
        return file.read(fitting[0])
    if suffix in (".nc", ".nc4", ".h5", ".he5", ".hdf5"):
        return _from_hdf5(name, path, one_axis)
    if suffix == ".npy":
        return np.asarray(numpy_files.read_array(path))
    with whole(path):
        return _from_text(name, path, one_axis)


def _from_hdf5(name: str, path: Path, one_axis: bool) -> NDArray[Any]:
    """The one fitting array of an HDF5 file; of an EMIT mask, what its flags say."""
    if name == "mask" and (valid := emit.read_mask(path)) is not None:
        return valid
    file = HDF5File(path)
    fitting = [
        n
        for n, array in file.arrays.items()
        if (array.vector_size() > 1 if one_axis else len(array.shape) == 2 and min(array.shape) > 1)
    ]
    if len(fitting) != 1:
        raise ValueError(
            f"load_scene: `{name}` must be a file with one fitting variable, "
            f"got {listed(fitting) or 'none'} in {path}"
        )
    return file.read(fitting[0])


def _from_text(name: str, path: Path, one_axis: bool) -> NDArray[Any]:
    if not one_axis:
        return _of_text(name, path, band_tables.read_matrix, one_axis)
    table = _of_text(name, path, band_tables.read_table, one_axis)
    if len(table.columns) > 1 and len(table.columns[0]) > 1:
        raise ValueError(
            f"load_scene: `{name}` must be a file of one column, got {len(table.columns)} in {path}"
        )
    return np.concatenate(table.columns)


def _of_text(name: str, path: Path, read: Callable[[str], T], one_axis: bool) -> T:
    """What `read` makes of a text file."""
    size, most = path.stat().st_size, LARGEST_TEXT[one_axis]
    if size > most:
        raise ValueError(
            f"load_scene: `{name}` must be a text of up to {most} bytes, got {size} in {path}"
        )
    try:
        return read(band_tables.decoded(path.read_bytes()))
    except ValueError as error:
        raise ValueError(
            f"load_scene: `{name}` must be a file of numbers, got {path}: {printable(error, 200)}"
        ) from error


def beside(path: Path, part: File, shape: tuple[int, int], what: str) -> NDArray[Any] | None:
    """A scene's labels or altered pixels, in the same folder or at hand elsewhere; None where there are none."""
    for candidate in (path.with_name(part.name), *kept(part.name)):
        if not candidate.is_file():
            continue
        try:
            file = mat.open_mat(candidate)
            if file.shapes.get(part.variable) == shape:
                return file.read(part.variable)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            warnings.warn(f"load_scene: {what} left out: {error}", UserWarning, stacklevel=4)
    return None
