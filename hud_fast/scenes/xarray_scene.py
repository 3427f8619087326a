"""Scenes and xarray's DataArrays: axes known by name, wavelengths with their unit, the place by the CF conventions.

The axis of bands is the one with a coordinate of the standard name "radiation_wavelength", else the one called band,
bands, wavelength or wavelengths; rows and columns are known by their names too. Nothing is guessed from values but
a missing unit of the wavelengths, with a warning.

Only `to_xarray` imports xarray: what is read here are attributes (dims, coords, attrs) of whatever object has them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import BAND_NAMES
from hud_fast.scenes import georeference

if TYPE_CHECKING:
    from hud_fast.scenes.scene import Scene

ROWS = ("y", "row", "rows", "line", "lines", "lat", "latitude", "northing", "downtrack")
COLUMNS = (
    *("x", "column", "columns", "col", "cols", "sample", "samples"),
    *("lon", "longitude", "easting", "crosstrack"),
)
WAVELENGTH = "radiation_wavelength"  # CF standard name
NANOMETRES = ("nm", "nanometer", "nanometers", "nanometre", "nanometres")
MICROMETRES = (
    *("um", "\u00b5m", "\u03bcm", "micron", "microns"),
    *("micrometer", "micrometers", "micrometre", "micrometres"),
)
GOOD = ("good_bands", "good_wavelengths", "bbl")  # ours, EMIT's, ENVI's
NO_DATA = ("_FillValue", "missing_value", "nodata")  # as attributes: values that are not decoded


def has_names(value: object) -> bool:
    """Whether an array's axes have names, as xarray's have."""
    return isinstance(getattr(value, "dims", None), tuple) and hasattr(value, "__array__")


def band_axis(function: str, array: Any) -> int:
    """The axis of bands.

    Raises
    ------
    ValueError
        If no axis, or more than one, is known to be it.
    """
    names = [str(name) for name in array.dims]
    marked = {
        names.index(str(coordinate.dims[0]))
        for coordinate in _coordinates(array).values()
        if len(coordinate.dims) == 1 and coordinate.attrs.get("standard_name") == WAVELENGTH
    }
    found = sorted(marked) or [i for i, name in enumerate(names) if name.lower() in BAND_NAMES]
    if len(found) != 1:
        raise ValueError(
            f"{function}: `array` must have one axis of bands, called {', '.join(BAND_NAMES)} or with a coordinate of "
            f'standard_name "{WAVELENGTH}", got {tuple(names)}: rename it'
        )
    return found[0]


def read(
    function: str, array: Any
) -> tuple[NDArray[Any], dict[str, Any]]:  # (H, W, C), fields of Scene
    """The values of an array with named axes, band last, and what it says of them.

    Raises
    ------
    ValueError
        If an axis or a unit is not known.
    """
    names = tuple(str(name) for name in array.dims)
    if len(names) != 3:
        raise ValueError(f"{function}: `cube` must have three axes, got {names}")
    band = band_axis(function, array)
    rest = [i for i in range(3) if i != band]
    rows = [i for i in rest if names[i].lower() in ROWS]
    columns = [i for i in rest if names[i].lower() in COLUMNS]
    if len(rows) != 1 or len(columns) != 1:
        raise ValueError(
            f"{function}: `cube` must have axes of rows and columns that are known by name (y and x, lat and lon, line "
            f"and sample, ...), got {names}: rename them"
        )
    values = np.asarray(array).transpose(rows[0], columns[0], band)
    fields: dict[str, Any] = {"geo": _place(function, array, names[rows[0]], names[columns[0]])}
    per_band = {
        key: coordinate
        for key, coordinate in _coordinates(array).items()
        if coordinate.dims == (array.dims[band],)
    }
    fields["wavelengths"] = wavelengths(function, per_band)
    if "fwhm" in per_band:
        fields["fwhm"] = _in_nanometres(function, "fwhm", per_band["fwhm"])
    for key in GOOD:
        if key in per_band:
            fields["good_bands"] = np.asarray(per_band[key])
            break
    no_data = no_data_value(array)
    if no_data is not None:
        fields["ignore_value"] = no_data
        if not math.isnan(no_data):
            fields["mask"] = (values != no_data).all(axis=-1)
    return values, {key: value for key, value in fields.items() if value is not None}


def no_data_value(array: Any) -> float | None:
    """The value of pixels without data, where the array says it of its own values."""
    attributes = getattr(array, "attrs", {})
    for key in NO_DATA:
        value = attributes.get(key)
        if isinstance(value, (int, float, np.number)):
            return float(value)
    return None


def wavelengths(function: str, per_band: Mapping[str, Any]) -> NDArray[np.float64] | None:  # (C,)
    """In nm, from the coordinate that holds them; numbers of bands are none."""
    for key, coordinate in per_band.items():
        if coordinate.attrs.get("standard_name") == WAVELENGTH:
            return _in_nanometres(function, key, coordinate)
    for key in ("wavelength", "wavelengths"):
        if key in per_band:
            return _in_nanometres(function, key, per_band[key])
    for key, coordinate in per_band.items():
        if key.lower() in BAND_NAMES and coordinate.attrs.get("units") in (
            *NANOMETRES,
            *MICROMETRES,
        ):
            return _in_nanometres(function, key, coordinate)
    return None


def _in_nanometres(function: str, name: str, coordinate: Any) -> NDArray[np.float64]:
    values = np.asarray(coordinate)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{function}: `{name}` must hold numbers, got {values.dtype}")
    values = values.astype(np.float64)
    unit = coordinate.attrs.get("units")
    if unit is None:
        # widths are below 100 in nm as well: below 1 they are in micrometres
        small = bool(values.max(initial=0) < (1.0 if name == "fwhm" else 100.0))
        unit = "um" if small else "nm"
        warnings.warn(
            f"{function}: `{name}` has no attribute units, its values of {values.min():g} to {values.max():g} are "
            f"taken for {unit}",
            UserWarning,
            stacklevel=5,
        )
    word = str(unit).strip().lower()
    if word not in (*NANOMETRES, *MICROMETRES):
        raise ValueError(f"{function}: `{name}` must have units nm or um, got {unit!r}")
    return values if word in NANOMETRES else values * 1e3


def _coordinates(array: Any) -> dict[str, Any]:
    return {str(key): value for key, value in getattr(array, "coords", {}).items()}


def _place(function: str, array: Any, rows: str, columns: str) -> dict[str, str] | None:
    """The fields of ENVI that say where the array lies, from its grid mapping (CF's, GDAL's attributes)."""
    coordinates = _coordinates(array)
    given = str(
        getattr(array, "attrs", {}).get("grid_mapping")
        or getattr(array, "encoding", {}).get("grid_mapping")
        or "spatial_ref"
    )
    mapping = coordinates.get(given)
    if mapping is None:
        return None
    wkt = mapping.attrs.get("crs_wkt") or mapping.attrs.get("spatial_ref")
    transform = _transform(
        mapping.attrs.get("GeoTransform"), coordinates.get(rows), coordinates.get(columns)
    )
    geo = None if transform is None else georeference.of_affine(transform, wkt)
    if geo is None:
        warnings.warn(
            f"{function}: the place is left out, the coordinates {rows}, {columns} and {given} must say a grid with "
            "right angles whose rows go down",
            UserWarning,
            stacklevel=4,
        )
    return geo


def _transform(text: Any, rows: Any, columns: Any) -> georeference.Affine | None:
    """Of evenly spaced coordinates of the pixels' centres, else of GDAL's six numbers.

    The coordinates first: xarray cuts them along with the values, and leaves the numbers as they are.
    """
    x = None if columns is None else _steps(columns)
    y = None if rows is None else _steps(rows)
    if x is not None and y is not None:
        return x[1], 0.0, x[0] - x[1] / 2, 0.0, y[1], y[0] - y[1] / 2
    if text is None or rows is not None or columns is not None:
        return None
    try:
        c, a, b, f, d, e = (float(word) for word in str(text).split())
    except ValueError:
        return None
    return a, b, c, d, e, f


def _steps(coordinate: Any) -> tuple[float, float] | None:
    """First and step of an even coordinate."""
    values = np.asarray(coordinate)
    if values.ndim != 1 or values.size < 2 or values.dtype.kind not in "fiu":
        return None
    values = values.astype(np.float64)
    step = (values[-1] - values[0]) / (values.size - 1)
    even = values[0] + step * np.arange(values.size)
    return (
        (float(values[0]), float(step))
        if np.allclose(values, even, rtol=0, atol=1e-3 * abs(step))
        else None
    )


def to_xarray(scene: Scene) -> Any:
    """See `Scene.to_xarray`.

    Examples
    --------
    >>> from hud_fast.scenes import Scene
    >>> scene = Scene(np.ones((4, 5, 3)), wavelengths=[450.0, 550.0, 650.0], name="field")
    >>> array = scene.to_xarray()
    >>> array.dims, array.wavelength.attrs["units"]
    (('y', 'x', 'band'), 'nm')
    >>> Scene.from_xarray(array.transpose("band", "y", "x"))
    Scene('field', 4 x 5 pixels, 3 bands, 450-650 nm)
    """
    try:
        import xarray
    except ImportError as error:
        raise ImportError(
            'Scene.to_xarray: xarray is needed: pip install "hud-fast[geo]"'
        ) from error

    cube = scene.cube
    if scene.mask is not None and not scene.mask.all():
        cube = np.where(scene.mask[..., None], cube, np.float32(np.nan))
    coordinates: dict[str, Any] = {}
    if scene.wavelengths is not None:
        about = {"standard_name": WAVELENGTH, "long_name": "wavelength", "units": "nm"}
        coordinates["wavelength"] = ("band", scene.wavelengths, about)
    if scene.fwhm is not None:
        coordinates["fwhm"] = ("band", scene.fwhm, {"units": "nm"})
    if scene.good_bands is not None:
        coordinates["good_bands"] = ("band", scene.good_bands)
    if scene.labels is not None:
        coordinates["labels"] = (("y", "x"), scene.labels)
    found = georeference.affine_of(scene.geo)
    if found is not None:
        (a, b, c, d, e, f), wkt = found
        about = {"GeoTransform": " ".join(f"{number:.17g}" for number in (c, a, b, f, d, e))}
        if wkt is not None:
            about |= {"crs_wkt": wkt, "spatial_ref": wkt}
        coordinates["spatial_ref"] = ((), 0, about)
        if not (b or d):  # a turned grid has no coordinates of its own
            coordinates["y"] = ("y", f + e * (np.arange(scene.H) + 0.5))
            coordinates["x"] = ("x", c + a * (np.arange(scene.W) + 0.5))
    elif scene.geo:
        warnings.warn(
            "Scene.to_xarray: the place is left out, `geo` must have a map info that can be read, got "
            f"{sorted(scene.geo)}",
            UserWarning,
            stacklevel=3,
        )
    array = xarray.DataArray(cube, coordinates, ("y", "x", "band"), scene.name)
    if "spatial_ref" in coordinates:
        array.encoding["grid_mapping"] = "spatial_ref"
    if scene.scale != 1.0:
        array.attrs["file_scale"] = scene.scale  # file value = value * this
    return array
