"""EMIT (NASA/JPL), L1B radiance and L2A reflectance in the sensor's own rows and columns, and L2A masks.

``reflectance`` (downtrack, crosstrack, bands), -9999 where there is nothing; ``sensor_band_parameters`` with
wavelengths, fwhm, good_wavelengths; ``location`` with a geometry lookup table: for each pixel of a map the sample
(glt_x) and line (glt_y) that it shows, counted from 1, 0 where none. The transform and the coordinate system of the
file are the map's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed
from hud_fast.scenes import cf, georeference
from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_array
from hud_fast.scenes.hdf5 import HDF5File
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.trust import broken, whole

CUBES = ("reflectance", "radiance")
GLT = ("location/glt_x", "location/glt_y")
BANDS = "sensor_band_parameters/wavelengths"
MASK, MASK_BANDS = "mask", "sensor_band_parameters/mask_bands"
# Compared in lower case. Versions of the mask without the aggregate have flags that it would be made of.
AGGREGATE = "aggregate flag"
FLAGS = ("cloud flag", "cirrus flag", "spacecraft flag", "dilated cloud flag", "spectf-cloud flag")


def find(file: ArrayFile) -> str | None:
    """The cube of an EMIT scene in the sensor's geometry."""
    if BANDS not in file.arrays or GLT[0] not in file.arrays or GLT[1] not in file.arrays:
        return None
    return next((n for n in CUBES if n in file.arrays and len(file.arrays[n].shape) == 3), None)


def read(file: ArrayFile, name: str, request: Request) -> RawScene:
    """The scene as the sensor saw it, and where its pixels lie on the map."""
    raw = read_array(file, name, request, "HWC")
    raw.lookup = _lookup(file, raw.cube.shape[:2])
    return raw


def _lookup(file: ArrayFile, shape: tuple[int, ...]) -> georeference.Lookup:
    columns, rows = (file.read(name) for name in GLT)
    if columns.shape != rows.shape or columns.ndim != 2:
        raise broken(file.path, f"its lookup tables are {columns.shape} and {rows.shape}")
    # As in other lookup tables of JPL's, a negative number would be a neighbour's pixel in a gap: a pixel all the same.
    rows, columns = (np.abs(part.astype(np.int64)) - 1 for part in (rows, columns))
    there = (rows >= 0) & (columns >= 0)
    if (rows[there] >= shape[0]).any() or (columns[there] >= shape[1]).any():
        raise broken(file.path, "its lookup table points beyond the scene")
    rows, columns = (np.where(there, part, -1).astype(np.int32) for part in (rows, columns))
    whole_file = file.attributes[""]
    transform = cf.affine_of_gdal(whole_file.get("geotransform"))
    wkt = cf.text(whole_file, "spatial_ref")
    geo = None if transform is None else georeference.of_affine(transform, wkt)
    return georeference.Lookup(rows, columns, geo)


def read_mask(path: Path) -> NDArray[np.bool_] | None:  # (H, W), True = valid
    """The pixels of an L2A mask file that its aggregate flag (or the flags of clouds) leaves; None: no such file."""
    file = HDF5File(path)
    array, words = file.arrays.get(MASK), file.texts.get(MASK_BANDS)
    if array is None or words is None or len(array.shape) != 3 or array.shape[2] != len(words):
        return None
    names = [" ".join(word.lower().split()) for word in words]
    chosen = [AGGREGATE] if AGGREGATE in names else [name for name in FLAGS if name in names]
    if not chosen:
        raise ValueError(
            f"load_scene: `mask` must be an EMIT mask with flags of clouds, got {listed(words)} in {path}"
        )
    bands = [names.index(name) for name in chosen]
    rows = file.rows(MASK, "HWC")
    valid = np.empty(array.shape[:2], bool)
    step = max(64, int(getattr(rows, "chunk_rows", 1)))
    with whole(path):
        for start in range(0, len(valid), step):
            part = slice(start, start + step)
            valid[part] = (rows[part][..., bands] == 0).all(axis=-1)  # -9999 is no data
    return valid
