"""Files of named arrays (.mat, .npz): find the cube and what belongs to it.

The cube is, in this order: the variable that the user names; the only one that can be a cube; a matrix of
bands x pixels (or pixels x bands) beside ``nRow`` and ``nCol``, as in the unmixing benchmarks. A cube is a
numeric variable of three axes, except colour pictures (the last axis has up to 4 bands).

Beside it, by their usual names and only if their sizes fit: wavelengths, bad-band list, mask, labels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes import layout as axes
from hud_fast.scenes.mat import VariableFile
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.wavelengths import nanometres, widths

PICTURE_BANDS = 4
# Compared in lower case, without underscores.
ROW_NAMES = ("nrow", "nrows", "rows", "lines", "height", "h")
COLUMN_NAMES = ("ncol", "ncols", "columns", "cols", "samples", "width", "w")
WAVELENGTH_NAMES = ("wavelengths", "wavelength", "wl", "wvl", "lambda", "wave", "bandcenters")
FWHM_NAMES = ("fwhm", "bandwidths")
GOOD_BAND_NAMES = ("bbl", "goodbands", "gbl")
MASK_NAMES = ("mask", "valid", "validmask")
LABEL_NAMES = ("labels", "label", "gt", "groundtruth", "map")


def read_table(
    file: VariableFile,
    path: Path,
    request: Request,
) -> RawScene:
    """The cube of a file of variables, with its side information."""
    variable, layout, shape, bands = (
        request.variable,
        request.layout,
        request.shape,
        request.bands,
    )
    wavelengths = _vector(file, WAVELENGTH_NAMES, variable)
    if bands is None and wavelengths is not None:
        bands = int(wavelengths.size)
    if variable is None:
        variable = _only_cube(file, path, layout)
    elif variable not in file.shapes:
        other = f" ({printable(file.others[variable], 60)})" if variable in file.others else ""
        raise ValueError(
            f"load_scene: `variable` must be one of {_names(file)} in {path}, "
            f"got {printable(repr(variable), 60)}{other}"
        )
    axis_count = len(file.shapes[variable])
    if shape is None and axis_count == 2:
        shape = _image_shape(file)
    if layout is None and axis_count == 2 and shape is not None:
        layout = _pixel_axis(file.shapes[variable], shape)
    array = file.read(variable)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"load_scene: `variable` {printable(variable, 60)} must hold real numbers, "
            f"got {array.dtype} in {path}"
        )
    if layout is None:
        if axis_count != 3:
            raise ValueError(
                f"load_scene: `variable` {printable(variable, 60)} must have three axes, or two with "
                f"layout= and shape=, got shape {array.shape} in {path}"
            )
        layout = axes.guess_layout("load_scene", array, bands)
    cube = axes.band_last("load_scene", array, layout, shape, file.column_major)
    height, width, depth = cube.shape
    details = {"layout": layout}
    if file.format == "mat":
        details["version"] = file.version
    good = _vector(file, GOOD_BAND_NAMES, variable)
    fwhm = _fitting(_vector(file, FWHM_NAMES, variable), depth)
    centres = _fitting(wavelengths, depth, lengths=True)
    labels = _matrix(file, LABEL_NAMES, (height, width), variable)
    return RawScene(
        cube=cube,
        format=file.format,
        dtype=array.dtype.newbyteorder("="),
        variable=variable,
        wavelengths=centres,
        fwhm=None if fwhm is None else widths(fwhm, None, wavelengths, centres),
        good_bands=None if (bbl := _fitting(good, depth)) is None else bbl != 0,
        mask=_matrix(file, MASK_NAMES, (height, width), variable),
        labels=labels,
        details=details,
    )


def _names(file: VariableFile, names: Iterable[str] | None = None) -> str:
    shapes = {n: file.shapes[n] for n in file.shapes if names is None or n in names}
    return (
        listed(f"{printable(n, 40)} {'x'.join(map(str, s))}" for n, s in shapes.items()) or "(none)"
    )


def _only_cube(file: VariableFile, path: Path, layout: str | None) -> str:
    """The variable that must be the cube."""
    cubes = [n for n, s in file.shapes.items() if len(s) == 3 and min(s) > 0]
    if len(cubes) > 1:
        cubes = [n for n in cubes if file.shapes[n][-1] > PICTURE_BANDS] or cubes
    if layout in axes.TWO_AXES or not cubes:
        matrices = [n for n, s in file.shapes.items() if len(s) == 2 and min(s) > 1]
        shape = _image_shape(file)
        if shape is not None:
            matrices = [n for n in matrices if shape[0] * shape[1] in file.shapes[n]]
        if layout in axes.TWO_AXES or shape is not None:
            cubes = matrices
    if len(cubes) == 1:
        return cubes[0]
    if cubes:
        raise ValueError(
            f"load_scene: `variable` must name the cube, {path} holds several: {_names(file, cubes)}; "
            "got None"
        )
    others = listed(f"{printable(name, 40)} ({kind})" for name, kind in file.others.items())
    raise ValueError(
        f"load_scene: `path` must hold a cube (a numeric array of three axes, or a matrix with layout= "
        f"and shape=), got {path} with {_names(file)}{', ' if others else ''}{others}"
    )


def _find(file: VariableFile, names: tuple[str, ...], but: str | None = None) -> str | None:
    """The variable with one of these names (the earliest in `names`), if any."""
    plain = {n.lower().replace("_", ""): n for n in file.shapes if n != but}
    return next((plain[name] for name in names if name in plain), None)


def _vector(
    file: VariableFile, names: tuple[str, ...], but: str | None
) -> NDArray[np.float64] | None:
    """A variable whose axes all are 1 but one."""
    name = _find(file, names, but)
    if name is None or max(file.shapes[name], default=0) != math.prod(file.shapes[name]):
        return None
    return file.read(name).astype(np.float64).ravel()


def _fitting(
    values: NDArray[np.float64] | None, bands: int, lengths: bool = False
) -> NDArray[np.float64] | None:  # (C,)
    if values is None:
        return None
    if values.size != bands:
        warnings.warn(
            f"load_scene: a list of {values.size} values in the file is left out, the cube has {bands} "
            "bands",
            UserWarning,
            stacklevel=4,
        )
        return None
    return nanometres(values) if lengths else values


def _matrix(
    file: VariableFile, names: tuple[str, ...], shape: tuple[int, int], but: str | None
) -> NDArray[Any] | None:
    """A mask or label map of the image's shape; label maps also go by names that end in "_gt"."""
    name = _find(file, names, but)
    if name is None and names is LABEL_NAMES:
        name = next((n for n in file.shapes if n.lower().endswith("_gt")), None)
    if name is None or file.shapes[name] != shape:
        return None
    values = file.read(name)
    whole = values.dtype.kind in "iub" or (
        np.isfinite(values).all() and (values == np.rint(values)).all()
    )
    if not whole or values.min() < 0 or (names is MASK_NAMES and values.max() > 1):
        return None
    return values


def _image_shape(file: VariableFile) -> tuple[int, int] | None:
    """(H, W) from scalar variables such as nRow and nCol."""
    row, column = _find(file, ROW_NAMES), _find(file, COLUMN_NAMES)
    if row is None or column is None:
        return None
    if math.prod(file.shapes[row]) != 1 or math.prod(file.shapes[column]) != 1:
        return None
    return int(file.read(row).item()), int(file.read(column).item())


def _pixel_axis(array_shape: tuple[int, ...], shape: tuple[int, int]) -> str | None:
    """CP or PC by the axis that has H * W pixels; bands first where both have."""
    pixels = shape[0] * shape[1]
    if array_shape[1] == pixels:
        return "CP"
    return "PC" if array_shape[0] == pixels else None
