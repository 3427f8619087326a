"""What attributes of arrays say by the CF conventions: missing values, scale, axes, place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import georeference
from hud_fast.scenes.array_files import Array, ArrayFile, Filled
from hud_fast.scenes.crs import WGS84
from hud_fast.scenes.raw import RawScene

UNITS = ("units", "Units", "unit", "Unit")
STANDARD_BANDS = ("radiation_wavelength", "sensor_band_central_radiation_wavelength")
# Names of axes, in lower case and without underscores.
BAND_DIMS = frozenset(
    [
        "band",
        "bands",
        "wavelength",
        "wavelengths",
        "wavelength3d",
        "wvl",
        "wl",
        "lambda",
        "channel",
        "channels",
        "spectral",
        "spectralband",
        "spectralbands",
        "nbands",
        "bandnumber",
        "c",
    ]
)
ROW_DIMS = frozenset(
    [
        "y",
        "row",
        "rows",
        "line",
        "lines",
        "lat",
        "latitude",
        "northing",
        "northings",
        "downtrack",
        "alongtrack",
        "numberoflines",
        "scan",
        "scans",
        "ydim",
        "height",
        "h",
        "nrows",
        "projectionycoordinate",
    ]
)
COLUMN_DIMS = frozenset(
    [
        "x",
        "col",
        "cols",
        "column",
        "columns",
        "sample",
        "samples",
        "lon",
        "longitude",
        "easting",
        "eastings",
        "crosstrack",
        "acrosstrack",
        "pixel",
        "pixels",
        "pixelsperline",
        "xdim",
        "width",
        "w",
        "ncols",
        "projectionxcoordinate",
    ]
)
UNEVEN = 0.01  # of a step, by which equal steps may differ


def number(attributes: Mapping[str, Any], *names: str) -> float | None:
    """The first of these attributes that is there, as a number."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        try:
            if value is not None:
                return float(value)
        except (TypeError, ValueError):
            continue
    return None


def text(attributes: Mapping[str, Any], *names: str) -> str | None:
    """The first of these attributes that is there, as text."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def add_values(raw: RawScene, array: Array) -> None:
    """Missing values, scale and offset of the cube."""
    attributes = array.attributes
    fill = number(attributes, "_FillValue", "missing_value", "FillValue", "Data_Ignore_Value")
    if fill is not None and np.isfinite(fill):
        raw.ignore_value, raw.cube = fill, Filled(raw.cube, fill)
    bands = raw.cube.shape[2]
    gain, offset = number(attributes, "scale_factor"), number(attributes, "add_offset")
    for what, value in (("scale_factor", gain), ("add_offset", offset)):
        if value is not None and not np.isfinite(value):
            raise ValueError(f"{array.name} has the {what} {value}")
    if gain not in (None, 1.0):
        raw.gains = np.full(bands, gain)
    if offset not in (None, 0.0):
        raw.offsets = np.full(bands, offset)


def axis_of(name: str, file: ArrayFile | None = None, group: str = "") -> str | None:
    """Which of H, W, C an axis of this name is; None where its name does not say."""
    plain = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    for axis, names in (("C", BAND_DIMS), ("H", ROW_DIMS), ("W", COLUMN_DIMS)):
        if plain in names:
            return axis
    found = coordinate(file, group, name) if file is not None and name else None
    if found is not None and text(found.attributes, "standard_name") in STANDARD_BANDS:
        return "C"
    return None


def order_of(array: Array, file: ArrayFile) -> str | None:
    """The order of three axes by their names; None where those leave it open."""
    axes = [axis_of(name, file, array.group) for name in array.dims]
    known = [axis for axis in axes if axis is not None]
    if len(axes) != 3 or len(set(known)) != len(known) or ("C" not in known and len(known) < 2):
        return None
    missing = iter([axis for axis in "HWC" if axis not in known])
    return "".join(axis or next(missing) for axis in axes)


def groups_of(group: str) -> Iterable[str]:
    """A group, the one that it lies in, ... up to the file itself."""
    while group:
        yield group
        group = group.rpartition("/")[0]
    yield ""


def coordinate(file: ArrayFile, group: str, name: str) -> Array | None:
    """The vector of this name in a group or above it."""
    for place in groups_of(group):
        found = file.arrays.get(f"{place}/{name}" if place else name)
        if found is not None and found.vector_size():
            return found
    return None


def add_place(raw: RawScene, file: ArrayFile, array: Array, order: str) -> None:
    """The georeference by a grid mapping, or by coordinates at equal steps."""
    mapping = _mapping(file, array)
    wkt = text(mapping, "spatial_ref", "crs_wkt")
    transform = affine_of_gdal(mapping.get("GeoTransform"))
    dims = dict(zip(order, array.dims, strict=True)) if array.dims else {"H": "", "W": ""}
    y, x = (_steps(file, array.group, dims[axis]) for axis in "HW")
    # Coordinates first: a crop takes them along, and leaves the transform behind. They cannot say that it is turned.
    if x and y and not (transform and (transform[1] or transform[3])):
        transform = (x[1], 0.0, x[0] - x[1] / 2, 0.0, y[1], y[0] - y[1] / 2)
        degrees = {dims["H"].lower(), dims["W"].lower()} <= {"lat", "latitude", "lon", "longitude"}
        wkt = wkt or (WGS84 if degrees else None)
    if transform is None:
        return
    raw.geo = georeference.of_affine(transform, wkt)
    if raw.geo is None:
        warnings.warn(
            f"load_scene: the georeference is left out, its rows do not go down or its pixels are sheared, in "
            f"{file.path}",
            UserWarning,
            stacklevel=2,
        )


def _mapping(file: ArrayFile, array: Array) -> Mapping[str, Any]:
    """Attributes of the variable that says what the coordinates mean."""
    named = text(array.attributes, "grid_mapping")
    names = [named.split(":")[0].strip()] if named else []
    for name in (*names, "spatial_ref", "crs", "transverse_mercator"):
        for group in groups_of(array.group):
            path = f"{group}/{name}" if group else name
            if path in file.arrays:
                return file.arrays[path].attributes
            if path in file.attributes:
                return file.attributes[path]
    return {}


def affine_of_gdal(words: Any) -> georeference.Affine | None:
    """GDAL's transform: corner x, step, turn, corner y, turn, step."""
    if isinstance(words, str):
        words = words.replace(",", " ").split()
    try:
        c, a, b, f, d, e = (float(word) for word in words)
    except (TypeError, ValueError):
        return None
    return a, b, c, d, e, f


def _steps(file: ArrayFile, group: str, name: str) -> tuple[float, float] | None:
    """First value and step of a coordinate, if its steps are equal."""
    found = coordinate(file, group, name) if name else None
    if found is None or found.vector_size() < 2 or found.dtype.kind == "b":
        return None
    values: NDArray[np.float64] = file.read(found.name).astype(np.float64).ravel()
    step = (values[-1] - values[0]) / (values.size - 1)
    if not (np.isfinite(values).all() and step):
        return None
    rough = np.finfo(found.dtype).eps * np.abs(values).max() if found.dtype.kind == "f" else 0.0
    off = np.abs(values - (values[0] + step * np.arange(values.size))).max()
    return (float(values[0]), float(f"{step:.12g}")) if off <= UNEVEN * abs(step) + rough else None
