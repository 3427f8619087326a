"""Class maps as files that other programs show in colours and with names: ENVI classifications and GeoTIFFs.

0 is no class ("Unlabelled"), and declared to be no data. The colours are those of `CLASS_COLOURS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_path, atomic_write
from hud_fast._text import printable
from hud_fast.scenes import envi, gdal, writers
from hud_fast.scenes.class_names import class_colours

UNLABELLED = "Unlabelled"
SIDE = ".aux.xml"  # where GDAL, and QGIS with it, looks for the names of a GeoTIFF's classes
TILE = 256


def smallest_type(most: int) -> np.dtype[Any]:
    """Of whole numbers up to `most`.

    Examples
    --------
    >>> smallest_type(16), smallest_type(300)
    (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.uint8) if most < 256 else np.dtype(np.uint16)


def write_labels(
    labels: NDArray[Any],  # (H, W)
    path: Path,
    names: Sequence[str],
) -> list[Path]:
    """Write a class map as an ENVI classification (.hdr, with .img beside it) or a GeoTIFF (.tif).

    Parameters
    ----------
    labels : (H, W) integers
        0 = no class.
    path
        The file, whose suffix says the kind.
    names : sequence of str
        Of the classes 1, 2, ..., as many as the largest number at least.

    Returns
    -------
    list of Path
        All files written.

    Raises
    ------
    ValueError
        If there are fewer names than classes, or more than 65,535.
    OSError
        If it cannot be written. Nothing half-written stays.
    ImportError
        If a .tif is asked for and rasterio is not installed.
    """
    if not labels.max(initial=0) <= len(names) < 1 << 16:
        raise ValueError(
            f"write_labels: `names` must hold one for each of {labels.max()} classes, up to 65535, got {len(names)}"
        )
    values = np.ascontiguousarray(labels, smallest_type(len(names)).newbyteorder("<"))
    if path.suffix.lower() == ".tif":
        return _write_geotiff(values, path, names)
    return _write_envi(values, path, names)


def files_of(path: Path) -> list[Path]:
    """The files that `write_labels` writes for this name.

    Examples
    --------
    >>> [file.name for file in files_of(Path("map.tif"))]
    ['map.tif', 'map.tif.aux.xml']
    """
    beside = path.with_suffix(".img")
    return [path, path.with_name(path.name + SIDE) if path.suffix.lower() == ".tif" else beside]


def _write_envi(values: NDArray[Any], path: Path, names: Sequence[str]) -> list[Path]:
    header, data = files_of(path)
    # A comma would part one name in two.
    listed = [UNLABELLED, *(writers.plain(name).replace(",", ";") for name in names)]
    fields = {
        "description": "classes, written by hud_fast",
        "samples": values.shape[1],
        "lines": values.shape[0],
        "bands": 1,
        "header offset": 0,
        "file type": "ENVI Classification",
        "data type": envi.CODES[values.dtype.newbyteorder("=")],
        "interleave": "bsq",
        "byte order": 0,
        "data ignore value": 0,
        "classes": len(listed),
        "class names": listed,
        "class lookup": class_colours(len(names)).ravel().tolist(),
        "band names": ["Classes"],
    }
    with atomic_path(header) as new_header:
        writers.write_header(new_header, fields)
        with atomic_write(data) as file:
            file.write(values.data)
    return [header, data]


def _write_geotiff(values: NDArray[Any], path: Path, names: Sequence[str]) -> list[Path]:
    image, side = files_of(path)
    function, (height, width) = "write_labels", values.shape
    listed = [UNLABELLED, *map(printable, names)]
    gdal.rasterio(function)
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": values.dtype.newbyteorder("=").name,
        "nodata": 0,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
    }
    colours = class_colours(len(names)).tolist()
    with atomic_path(image) as temporary:
        with gdal.environment(function), gdal.opened(function, temporary, "w", **profile) as file:
            file.write_colormap(1, {i: (*rgb, 255) for i, rgb in enumerate(colours)})
            file.descriptions = ("Classes",)
            file.update_tags(1, **{f"class_{i}": name for i, name in enumerate(listed)})
            file.write(values, 1)
        categories = "".join(f"      <Category>{escape(name)}</Category>\n" for name in listed)
        with atomic_write(side, "w") as file:
            file.write(
                '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
                f"{categories}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
            )
    return [image, side]
