"""Reading GeoTIFF (COG) and ERDAS (.img, .lan) files through GDAL: values by rows, and what is said of bands and place.

Kept: names of the bands, wavelengths and widths (`gdal_bands`), no-data values of each band, the file's mask or alpha
band, scales and offsets, coordinate system and transform. Nothing but the file is read, and an ENVI header beside it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import gdal, gdal_bands, georeference, trust
from hud_fast.scenes.gdal_rows import GdalRows
from hud_fast.scenes.geotiff_write import write_geotiff, writing_rows
from hud_fast.scenes.raw import RawScene, Request

__all__ = [
    "is_erdas",
    "is_tiff",
    "read",
    "read_erdas",
    "set_gains",
    "write_geotiff",
    "writing_rows",
]

SUFFIXES = (".tif", ".tiff")
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of BigTIFF
MOST_BANDS = 5000  # more than any sensor has: a file made to cost time
ERDAS = {b"EHFA_HEADER_TAG": "HFA", b"HEADER": "LAN", b"HEAD74": "LAN"}


def is_tiff(path: Path, start: bytes) -> bool:
    """By its first bytes, or by its name: then a damaged one is told as such."""
    return start[:4] in MAGIC or path.suffix.lower() in SUFFIXES


def is_erdas(path: Path, start: bytes) -> bool:
    """Of .img and .lan files, those that ERDAS wrote."""
    return path.suffix.lower() in (".img", ".lan", ".gis") and _erdas_driver(start) is not None


def read(path: Path, request: Request) -> RawScene:  # noqa: ARG001  # as every reader
    """The scene of a GeoTIFF file.

    Raises
    ------
    OSError
        If it is damaged, or no TIFF file.
    ValueError
        If it has several pages, or more bands than any sensor.
    TypeError
        If its values are complex numbers.
    """
    return _read(path, "GTiff", "geotiff")


def read_erdas(path: Path, request: Request) -> RawScene:  # noqa: ARG001
    """The scene of an ERDAS Imagine (.img) or ERDAS 7.x (.lan) file."""
    with path.open("rb") as file:
        driver = _erdas_driver(file.read(16))
    return _read(path, driver or "HFA", "erdas")


def _erdas_driver(start: bytes) -> str | None:
    return next((driver for magic, driver in ERDAS.items() if start.startswith(magic)), None)


def _read(path: Path, driver: str, kind: str) -> RawScene:
    with (
        trust.whole(path),
        gdal.environment("load_scene"),
        gdal.opened("load_scene", path, driver=driver) as file,
    ):
        pages = len(file.subdatasets)
        if pages > 1:
            raise ValueError(
                f"load_scene: `path` must be a file of one picture with all bands, got {pages} pages in {path}"
            )
        if file.count > MOST_BANDS:
            raise ValueError(
                f"load_scene: `path` must have up to {MOST_BANDS} bands, got {file.count} in {path}"
            )
        # The last band only: ALPHA=YES of a program that had no picture in mind marks the second one.
        alpha = file.count if file.count > 1 and file.colorinterp[-1].name == "alpha" else None
        bands = tuple(i for i in range(1, file.count + 1) if i != alpha)
        if any(name.startswith("complex") for name in file.dtypes):
            raise TypeError(f"load_scene: `path` must hold real numbers, got {file.dtypes[0]}")
        rows = _rows(file, path, driver, bands, alpha)
        trust.check_memory(path, 8 * rows.chunks[0] * rows.chunks[1] * len(bands))
        raw = RawScene(cube=rows, format=kind, dtype=rows.stored)
        gdal_bands.describe(raw, file, bands)
        keep = [band - 1 for band in bands]
        set_gains(raw, np.array(file.scales)[keep], np.array(file.offsets)[keep])
        if rows.nodata is not None and np.ptp(rows.nodata) == 0:
            raw.ignore_value = float(rows.nodata[0])
        _colours(raw, file, bands, path)
        raw.geo = _place(file, path)
    return raw


def _rows(
    file: Any, path: Path, driver: str, bands: tuple[int, ...], alpha: int | None
) -> GdalRows:
    types, values = file.dtypes, file.nodatavals  # of all bands, each time that they are asked for
    stored = np.result_type(*{np.dtype(types[band - 1]) for band in bands})
    nodata = np.array([np.nan if (value := values[band - 1]) is None else value for band in bands])
    if stored.kind in "iu":  # one that no value can have: GDAL keeps what was written
        limits = np.iinfo(stored)
        nodata[~((nodata >= limits.min) & (nodata <= limits.max))] = np.nan
    flags = {flag.name for flag in file.mask_flag_enums[bands[0] - 1]}
    own_mask = alpha is None and "per_dataset" in flags and "alpha" not in flags
    return GdalRows(
        path=path,
        driver=driver,
        shape=(file.height, file.width, len(bands)),
        bands=bands,
        stored=stored,
        nodata=None if np.isnan(nodata).all() else nodata,
        mask=bands[0] if own_mask else alpha,
        alpha=alpha is not None,
        chunks=max(file.block_shapes),
    )


def set_gains(
    raw: RawScene,
    gains: NDArray[np.float64],  # (C,)
    offsets: NDArray[np.float64],  # (C,)
) -> None:
    """Scales and offsets of a file's bands; one scale for all is the scene's, so that it is written back as it was."""
    if (offsets == 0).all() and np.ptp(gains) == 0 and gains[0] > 0 and np.isfinite(gains[0]):
        if gains[0] != 1:
            raw.fields["scale"] = float(1 / gains[0])
    else:
        raw.gains, raw.offsets = gains, offsets


def _colours(raw: RawScene, file: Any, bands: tuple[int, ...], path: Path) -> None:
    """Bands called red, green and blue: the ones to show, or, where there are no others, a photograph."""
    meant = file.colorinterp
    names = [meant[band - 1].name for band in bands]
    colours = {"red", "green", "blue"} <= set(names)
    if colours and len(bands) > 4:
        raw.rgb_bands = (names.index("red"), names.index("green"), names.index("blue"))
    elif (colours or "palette" in names) and len(bands) <= 4 and raw.wavelengths is None:
        warnings.warn(
            f"load_scene: {path} is a picture in colours ({', '.join(names)}), not a hyperspectral scene",
            UserWarning,
            stacklevel=2,
        )


def _text(crs: Any) -> str:
    """The coordinate system as GDAL wrote it before 3.0, which most programs read; if need be, as it is now."""
    from rasterio.errors import CRSError

    try:
        return str(crs.to_wkt(version="WKT1_GDAL"))
    except CRSError:
        return str(crs.to_wkt())


def _place(file: Any, path: Path) -> dict[str, str] | None:
    """Where the picture lies, if ENVI has words for it; else it is said what is left out."""
    from rasterio.errors import CRSError

    wkt, left_out = None, None
    try:
        wkt = _text(file.crs) if file.crs else None
    except CRSError as error:
        left_out = f"a coordinate system that is not understood ({error})"
    geo = None
    if not file.transform.is_identity:
        geo = georeference.of_affine(tuple(file.transform)[:6], wkt)
        if geo is None:
            left_out = "a transform whose pixels are no upright or turned rectangles"
    elif file.gcps[0]:
        left_out = f"{len(file.gcps[0])} ground control points and no transform"
    elif file.rpcs is not None:
        left_out = "rational polynomial coefficients and no transform"
    if left_out is not None:
        warnings.warn(
            f"load_scene: the place on the map is left out, {path} has {left_out}",
            UserWarning,
            stacklevel=2,
        )
    return geo
