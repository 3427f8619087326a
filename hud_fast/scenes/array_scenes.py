"""Scenes in files of arrays whose product is not known by name: HDF5, netCDF and Zarr as people write them.

The cube is the array that the user names ("group/name"), or the only one of three axes that is no picture. Its axes
are told by the names of its dimensions, else by the number of wavelengths, else as in `layout`. Wavelengths and
their like come from attributes, from the coordinate of the band axis, or from a vector of a usual name: beside the
cube first, then in the groups above it, then anywhere in the file if it is alone there.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, printable
from hud_fast.scenes import cf, tables
from hud_fast.scenes import layout as axes
from hud_fast.scenes.array_files import Array, ArrayFile
from hud_fast.scenes.raw import RawScene, Request, Rows
from hud_fast.scenes.wavelengths import nanometres, widths

WAVELENGTH_NAMES = (
    *tables.WAVELENGTH_NAMES, "wavelength3d", "wavelengthcenters", "centerwavelengths", "bandwavelengths",
    "centralwavelengths", "wavelengthsnm", "wavelengthnm",
)  # fmt: skip
FWHM_NAMES = (*tables.FWHM_NAMES, "fwhmnm", "bandwidth")
GOOD_BAND_NAMES = (*tables.GOOD_BAND_NAMES, "goodwavelengths")


def read_arrays(file: ArrayFile, request: Request) -> RawScene:
    """The cube of a file of arrays, with its side information."""
    name = request.variable
    if name is None:
        name = _only_cube(file, request)
    name = name.strip("/")
    if name not in file.arrays:
        other = f" ({printable(file.others[name], 60)})" if name in file.others else ""
        raise ValueError(
            f"load_scene: `variable` must be one of {_names(file)} in {file.path}, "
            f"got {printable(repr(request.variable), 60)}{other}"
        )
    return read_array(file, name, request)


def read_array(
    file: ArrayFile,
    name: str,
    request: Request,
    order: str | None = None,
) -> RawScene:
    """The cube in this array, with its side information; `order` of its axes, where the product says it."""
    array = file.arrays[name]
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"load_scene: `variable` {printable(name, 60)} must hold real numbers, got {array.dtype} in {file.path}"
        )
    cube: Rows
    if len(array.shape) == 2 and request.layout in axes.TWO_AXES:
        order = request.layout
        cube = axes.band_last(
            "load_scene", file.read(name), order, request.shape, column_major=False
        )
    elif len(array.shape) == 3:
        order = request.layout or order or cf.order_of(array, file) or _guess(file, array, request)
        if order not in axes.THREE_AXES:
            raise ValueError(
                f"load_scene: `layout` {order} must meet an array of 2 axes, got shape {array.shape} in {file.path}"
            )
        cube = file.rows(name, order)
    else:
        raise ValueError(
            f"load_scene: `variable` {printable(name, 60)} must have three axes, or two with layout= and shape=, "
            f"got shape {array.shape} in {file.path}"
        )
    height, width, bands = cube.shape
    raw = RawScene(
        cube=cube,
        format=file.format,
        dtype=array.dtype.newbyteorder("="),
        variable=name,
        details={"layout": order},
    )
    _add_lengths(raw, file, array, order)
    good = band_numbers(file, array, bands, GOOD_BAND_NAMES)
    raw.good_bands = None if good is None else good[0] != 0
    raw.mask = _matrix(file, array, (height, width), tables.MASK_NAMES)
    raw.labels = _matrix(file, array, (height, width), tables.LABEL_NAMES)
    cf.add_values(raw, array)
    if order in axes.THREE_AXES:
        cf.add_place(raw, file, array, order)
    return raw


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")


def _names(file: ArrayFile, names: Sequence[str] | None = None) -> str:
    chosen = [a for n, a in file.arrays.items() if names is None or n in names]
    return (
        listed(f"{printable(a.name, 60)} {'x'.join(map(str, a.shape))}" for a in chosen) or "(none)"
    )


def _only_cube(file: ArrayFile, request: Request) -> str:
    """The array that must be the cube."""
    two = request.layout in axes.TWO_AXES
    numeric = {n: a.shape for n, a in file.arrays.items() if a.dtype.kind in "fiu"}
    if two:
        cubes = [n for n, shape in numeric.items() if len(shape) == 2 and min(shape) > 1]
        if request.shape is not None:
            cubes = [n for n in cubes if request.shape[0] * request.shape[1] in numeric[n]]
    else:
        cubes = [n for n, shape in numeric.items() if len(shape) == 3 and min(shape) > 0]
    if len(cubes) > 1 and not two:
        cubes = [n for n in cubes if min(numeric[n]) > tables.PICTURE_BANDS] or cubes
    if len(cubes) == 1:
        return cubes[0]
    if cubes:
        raise ValueError(
            f"load_scene: `variable` must name the cube, {file.path} holds several: {_names(file, cubes)}; got None"
        )
    others = listed(
        f"{printable(n, 60)} ({kind})" for n, kind in file.others.items() if kind != "a dimension"
    )
    raise ValueError(
        f"load_scene: `path` must hold a cube (a numeric array of three axes, or a matrix with layout= and shape=), "
        f"got {file.path} with {_names(file)}{', ' if others else ''}{others}"
    )


def band_numbers(
    file: ArrayFile,
    array: Array,
    bands: int | None,
    names: Sequence[str],
    band_dim: str = "",
) -> tuple[NDArray[np.float64], str | None] | None:  # (C,) and their unit
    """A number for each band, by one of these names; None where there is none. `bands` None: however many."""
    wrong: set[int] = set()

    def fits(count: int) -> bool:
        if bands is None or count == bands:
            return True
        if count > 1:
            wrong.add(count)
        return False

    holders = [
        array.attributes,
        *(file.attributes.get(group, {}) for group in cf.groups_of(array.group)),
    ]
    for attributes in holders:
        plain = {_plain(key): key for key in attributes}
        for key in (plain[name] for name in names if name in plain):
            values = attributes[key]
            if isinstance(values, list) and _real(values) and fits(len(values)):
                unit = cf.text(
                    attributes,
                    f"{key}_units",
                    f"{key}_unit",
                    "wavelength_units",
                    "wavelengths_units",
                )
                return np.array(values, np.float64), unit
    found = _beside(file, array, names, band_dim)
    for vector in found:
        if fits(vector.vector_size()):
            values = file.read(vector.name).astype(np.float64).ravel()
            return values, cf.text(vector.attributes, *cf.UNITS)
    if wrong and bands is not None:
        warnings.warn(
            f"load_scene: a list of {min(wrong)} values in the file is left out, the cube has {bands} bands",
            UserWarning,
            stacklevel=4,
        )
    return None


def _real(values: list[Any]) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _beside(file: ArrayFile, array: Array, names: Sequence[str], band_dim: str) -> list[Array]:
    """Vectors by these names, the nearest first."""
    found = []
    if band_dim and (vector := cf.coordinate(file, array.group, band_dim)) is not None:
        standard = cf.text(vector.attributes, "standard_name") in cf.STANDARD_BANDS
        if standard or (cf.text(vector.attributes, *cf.UNITS) or "").lower() in (
            "nm",
            "um",
            "nanometers",
        ):
            found.append(vector)
    vectors = [a for a in file.arrays.values() if a.vector_size() and a.name != array.name]
    near = list(cf.groups_of(array.group))
    for group in near:
        plain = {_plain(a.own_name): a for a in vectors if a.group == group}
        found += [plain[name] for name in names if name in plain]
    far = [a for a in vectors if a.group not in near and _plain(a.own_name) in names]
    return found + sorted(far, key=lambda a: names.index(_plain(a.own_name)))


def _add_lengths(raw: RawScene, file: ArrayFile, array: Array, order: str) -> None:
    """Wavelengths and widths in nm. Widths without a unit are in that of the wavelengths: they may be any size."""
    bands = raw.cube.shape[2]
    dim = array.dims[order.index("C")] if array.dims and order in axes.THREE_AXES else ""
    centres = band_numbers(file, array, bands, WAVELENGTH_NAMES, dim)
    raw.wavelengths = None if centres is None else nanometres(*centres)
    own = band_numbers(file, array, bands, FWHM_NAMES)
    if own is None:
        return
    if own[1] is not None or centres is None or raw.wavelengths is None:
        raw.fwhm = widths(*own)
    else:
        raw.fwhm = widths(own[0], None, centres[0], raw.wavelengths)


def _matrix(
    file: ArrayFile, array: Array, shape: tuple[int, int], names: Sequence[str]
) -> NDArray[Any] | None:
    """A mask or label map of the image's shape beside the cube, or above it."""
    for group in cf.groups_of(array.group):
        for other in file.arrays.values():
            plain = _plain(other.own_name)
            known = plain in names or (names is tables.LABEL_NAMES and plain.endswith("gt"))
            if other.group != group or other.shape != shape or not known:
                continue
            values = file.read(other.name)
            whole = values.dtype.kind in "iub" or (
                np.isfinite(values).all() and (values == np.rint(values)).all()
            )
            if (
                whole
                and values.min() >= 0
                and (names is not tables.MASK_NAMES or values.max() <= 1)
            ):
                return values
    return None


def _guess(file: ArrayFile, array: Array, request: Request) -> str:
    """The order of axes whose names say nothing: by the number of bands, or by the values."""
    bands = request.bands
    if bands is None:
        found = band_numbers(file, array, None, WAVELENGTH_NAMES)
        bands = None if found is None else len(found[0])
    sample: Any = _Sample(file, array)
    return axes.guess_layout("load_scene", sample, bands)


@dataclass
class _Sample:
    """An array as `guess_layout` looks at it: its shape, and some values at equal steps."""

    file: ArrayFile
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __getitem__(self, steps: tuple[slice, slice, slice]) -> NDArray[Any]:
        rows = self.file.rows(self.array.name, "HWC")
        chunk = getattr(rows, "chunk_rows", 1)
        wanted = range(0, self.shape[0], steps[0].step or 1)
        if chunk == 1:
            return np.stack([rows[row : row + 1][0, steps[1], steps[2]] for row in wanted])
        thin = [
            rows[start : start + chunk][:, steps[1], steps[2]].copy()
            for start in range(0, self.shape[0], chunk)
        ]
        return np.concatenate(thin)[wanted]
