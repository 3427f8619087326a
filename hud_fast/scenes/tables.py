"""Files of named arrays (.mat, .npz): find the cube and what belongs to it.

The cube is, in this order: the variable that the user names; the only one that can be a cube; a matrix of
bands x pixels (or pixels x bands) beside ``nRow`` and ``nCol``, as in the unmixing benchmarks, or with `shape`. A cube
is a numeric variable of three axes, except colour pictures (the last axis has up to 4 bands) and abundances (shares
that add up to one), where there is another one. What lies in a structure or a cell array counts where nothing beside
does. Of a stack of cubes, an array of four axes, one is named: ``cubes[0]``.

Beside it, by their usual names and only if their sizes fit: wavelengths, bad-band list, mask, labels.
"""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes import layout as axes
from hud_fast.scenes.class_names import is_no_class
from hud_fast.scenes.mat import VariableFile
from hud_fast.scenes.mat_v5 import MatV5
from hud_fast.scenes.numpy_files import Npz
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
NAMES_OF_LABELS = ("labelnames", "classnames", "classes", "names", "categories", "targetnames")
BAND_NAMES = ("bands",)  # band centres in some files, in others a count or a choice: see `_centres`
CENTRES_NM = (300.0, 20_000.0)
ONE_OF_STACK = re.compile(r"(?P<name>.+)\[(?P<last>\.\.\.,)?\s*(?P<index>\d+)\]")
SUM_TOLERANCE = 1e-3  # of shares that were stored as float32, or printed


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
    if variable is None:
        variable = _only_cube(file, path, layout, shape)
    variable, one = _one_of_stack(file, path, variable)
    wavelengths = _centres(file, variable)
    if bands is None and wavelengths is not None:
        bands = int(wavelengths.size)
    axis_count = len(file.shapes[variable]) - (one is not None)
    if shape is None and axis_count == 2:
        shape = _image_shape(file, variable)
    if layout is None and axis_count == 2 and shape is not None:
        layout = _pixel_axis(file.shapes[variable], shape)
    array = file.read(variable)
    if one is not None:
        array = array[one]
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
    fwhm = _fitting(_vector(file, FWHM_NAMES, variable), depth)
    centres = _fitting(wavelengths, depth, lengths=True)
    labels = _matrix(file, LABEL_NAMES, (height, width), variable)
    names = None if labels is None else label_names(file, labels)
    fits = names is not None and labels is not None and len(names) >= labels.max()
    return RawScene(
        cube=cube,
        format=file.format,
        dtype=array.dtype.newbyteorder("="),
        variable=variable,
        wavelengths=centres,
        fwhm=None if fwhm is None else widths(fwhm, None, wavelengths, centres),
        good_bands=good_bands(file, variable, depth),
        mask=_matrix(file, MASK_NAMES, (height, width), variable),
        labels=labels,
        details=details,
        fields={"label_names": names} if fits else {},
    )


def _names(file: VariableFile, names: Iterable[str] | None = None) -> str:
    shapes = {n: file.shapes[n] for n in file.shapes if names is None or n in names}
    return (
        listed(f"{printable(n, 40)} {'x'.join(map(str, s))}" for n, s in shapes.items()) or "(none)"
    )


def _only_cube(
    file: VariableFile, path: Path, layout: str | None, shape: tuple[int, int] | None
) -> str:
    """The variable that must be the cube."""
    cubes = candidates(file, layout, shape)
    several = stacks(file)
    if not cubes and len(several) == 1 and file.shapes[several[0]][0] == 1:
        return f"{several[0]}[0]"
    if len(cubes) == 1:
        return cubes[0]
    if cubes:
        raise ValueError(
            f"load_scene: `variable` must be one of {_names(file, cubes)} in {path}, which may all be "
            "the cube, got None"
        )
    if several:
        raise ValueError(
            f"load_scene: `variable` must name one cube of {_stack(file, several[0])}, got None, for {path}"
        )
    others = listed(f"{printable(name, 40)} ({kind})" for name, kind in file.others.items())
    matrix = (
        "layout= and shape=" if shape is None else f"the {shape[0]} x {shape[1]} pixels of `shape`"
    )
    raise ValueError(
        f"load_scene: `path` must hold a cube (a numeric array of three axes, or a matrix with "
        f"{matrix}), got {path} with {_names(file)}{', ' if others else ''}{others}"
    )


def candidates(file: VariableFile, layout: str | None, shape: tuple[int, int] | None) -> list[str]:
    """The variables that can be the cube: where there is none, those in structures and cells."""
    cubes: list[str] = []
    for inside in (False, True):
        shapes = {n: s for n, s in file.shapes.items() if (n in file.nested) == inside}
        cubes = cubes or _candidates(file, shapes, layout, shape)
    return cubes


def stacks(file: VariableFile) -> list[str]:
    """The variables that can be a stack of cubes."""
    found = [n for n, s in file.shapes.items() if len(s) == 4 and min(s) > 0]
    if len(found) > 1:  # beside the cubes lie their abundances
        found = [n for n in found if not _is_shares(file, n)] or found
    return found


def good_bands(file: VariableFile, cube: str, bands: int) -> NDArray[np.bool_] | None:  # (C,)
    """The bad-band list beside the cube."""
    found = _fitting(_vector(file, GOOD_BAND_NAMES, cube), bands)
    return None if found is None else found != 0


def _candidates(
    file: VariableFile,
    shapes: dict[str, tuple[int, ...]],
    layout: str | None,
    shape: tuple[int, int] | None,
) -> list[str]:
    """Of the variables of these shapes those that can be the cube."""
    cubes = [n for n, s in shapes.items() if len(s) == 3 and min(s) > 0]
    if len(cubes) > 1:
        cubes = [n for n in cubes if shapes[n][-1] > PICTURE_BANDS] or cubes
    matrices = [n for n, s in shapes.items() if len(s) == 2 and min(s) > 1]
    if cubes and layout not in axes.TWO_AXES:
        counts = [{math.prod(pair) for pair in itertools.combinations(shapes[n], 2)} for n in cubes]
        beside = [n for n in matrices if any(count & {*shapes[n]} for count in counts)]
        if beside and all(_is_shares(file, n) for n in cubes):  # maps, and the scene as a matrix
            cubes = [n for n in beside if not _is_shares(file, n)] or cubes
    else:
        shape = shape or _image_shape(file, next(iter(matrices), None))
        if shape is not None:
            fitting = [n for n in matrices if shape[0] * shape[1] in shapes[n]]
            matrices = fitting or (matrices if layout in axes.TWO_AXES else [])
        if layout in axes.TWO_AXES or shape is not None:
            cubes = matrices
    if len(cubes) > 1:
        cubes = [n for n in cubes if not _is_shares(file, n)] or cubes
    return cubes


def _is_shares(file: VariableFile, name: str) -> bool:
    """Is it what a scene was unmixed into: no value below zero, and along one axis all add up to one?"""
    values = file.read(name)
    if values.dtype.kind not in "fiu":
        return False
    finite = np.where(np.isfinite(values), values, 0)
    if finite.min(initial=0) < -SUM_TOLERANCE or finite.max(initial=0) > 1 + SUM_TOLERANCE:
        return False
    for axis in range(values.ndim):
        sums = finite.sum(axis=axis)
        kept = sums[sums != 0]  # a pixel without data has no shares
        if kept.size > 1 and (abs(kept - 1) < SUM_TOLERANCE).all():
            return True
    return False


def _one_of_stack(
    file: VariableFile, path: Path, variable: str
) -> tuple[str, tuple[Any, ...] | None]:
    """The variable that is meant, and where it is a stack of cubes, the index of the one."""
    found = ONE_OF_STACK.fullmatch(variable) if variable not in file.shapes else None
    name = found["name"] if found else variable
    if name not in file.shapes:
        other = f" ({printable(file.others[name], 60)})" if name in file.others else ""
        raise ValueError(
            f"load_scene: `variable` must be one of {_names(file)} in {path}, "
            f"got {printable(repr(variable), 60)}{other}"
        )
    sizes = file.shapes[name]
    if found is None:
        if len(sizes) == 4:
            raise ValueError(
                f"load_scene: `variable` must name one cube of {_stack(file, name)}, "
                f"got {printable(repr(variable), 60)}, for {path}"
            )
        return name, None
    if len(sizes) != 4:
        raise ValueError(
            f"load_scene: `variable` must have four axes where one cube of a stack is named, got "
            f"{printable(repr(variable), 60)}, which has the shape {sizes}, for {path}"
        )
    last, index = found["last"] is not None, int(found["index"])
    if index >= sizes[-1 if last else 0]:
        raise ValueError(
            f"load_scene: `variable` must name one cube of {_stack(file, name)}, "
            f"got {printable(repr(variable), 60)}, for {path}"
        )
    return name, (..., index) if last else (index,)


def _stack(file: VariableFile, name: str) -> str:
    """A stack of cubes, and how one is named."""
    sizes, short = file.shapes[name], printable(name, 40)
    return (
        f"the stack {short} {'x'.join(map(str, sizes))}: {short}[0] to {short}[{sizes[0] - 1}] where its first axis "
        f"counts cubes, {short}[...,0] to {short}[...,{sizes[-1] - 1}] where its last does"
    )


def _find(file: VariableFile, names: tuple[str, ...], cube: str | None) -> str | None:
    """The variable with one of these names, if any, beside the cube: the nearest, then the earliest in `names`.

    What lies deeper than the cube is nothing of an image's shape: a region's mask is not the scene's.
    """
    flat = names in (MASK_NAMES, LABEL_NAMES)
    home = _path(file, cube)[:-1]
    found: dict[tuple[int, int, int], str] = {}
    for name in file.shapes:
        *group, last = _path(file, name)
        word = last.lower().replace("_", "")
        if name == cube or word not in names:
            continue
        shared = sum(
            1
            for _ in itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(group, home, strict=False)
            )
        )
        up, down = len(home) - shared, len(group) - shared
        if down == 0 or not flat:
            found[up, down, names.index(word)] = name
    return found[min(found)] if found else None


def _path(file: VariableFile, name: str | None) -> list[str]:
    """The structures on the way to a variable, and its own name."""
    return [""] if name is None else name.split(".") if name in file.nested else [name]


def _centres(file: VariableFile, cube: str) -> NDArray[np.float64] | None:
    """Band centres; "bands" where they can be nothing else: as many as an axis has, growing, in a sensor's range."""
    found = _vector(file, WAVELENGTH_NAMES, cube)
    if found is not None:
        return found
    bands = _vector(file, BAND_NAMES, cube)
    if bands is None or bands.size < 2 or bands.size not in file.shapes[cube]:
        return None
    low, high = CENTRES_NM
    grows = bool((np.diff(bands) > 0).all())
    for unit in (1.0, 1e3):  # nm, micrometres
        if grows and low <= unit * bands[0] and unit * bands[-1] <= high:
            return bands
    return None


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
        top = (n for n in file.shapes if n not in file.nested)
        name = next((n for n in top if n.lower().endswith("_gt")), None)
    if name is None or file.shapes[name] != shape:
        return None
    values = file.read(name)
    whole = values.dtype.kind in "iub" or (
        np.isfinite(values).all() and (values == np.rint(values)).all()
    )
    if not whole or values.min() < 0 or (names is MASK_NAMES and values.max() > 1):
        return None
    return values


def label_names(
    file: VariableFile,
    labels: NDArray[Any],  # (H, W)
) -> tuple[str, ...] | None:
    """The names of the classes 1, 2, ... under a usual name: lines of a text, or the texts in a cell array.

    One for no class at their head is left out, where there are names enough without it.
    """
    for name, kind in file.others.items():
        if name.lower().replace("_", "") not in NAMES_OF_LABELS:
            continue
        if isinstance(file, Npz) and kind.startswith("<U"):
            found = [str(one).strip() for one in file.read(name).ravel()]
        elif isinstance(file, MatV5) and kind in ("char", "cell"):
            try:
                found = file.texts(name)
            except OSError:  # what only describes the map does not keep us from it
                continue
        else:
            continue
        spare = len(found) > labels.max(initial=0)
        return tuple(found[1:] if spare and is_no_class(found[0]) else found) or None
    return None


def _image_shape(file: VariableFile, cube: str | None) -> tuple[int, int] | None:
    """(H, W) from scalar variables such as nRow and nCol beside the cube."""
    row, column = _find(file, ROW_NAMES, cube), _find(file, COLUMN_NAMES, cube)
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
