"""Tanager (Planet), HDF-EOS5: surface reflectance or radiance (band, row, column), orthorectified (GRIDS) or not.

Wavelengths, widths and good bands are attributes of the cube. ``nodata_pixels`` masks; flags of clouds do not: they
are a judgement. A grid's place is in HDF-EOS's own text: corners, and the zone of UTM.
"""

from __future__ import annotations

import re
import warnings

from hud_fast.scenes import cf, georeference
from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_array
from hud_fast.scenes.crs import wkt_of_epsg
from hud_fast.scenes.raw import RawScene, Request

CUBES = tuple(
    f"HDFEOS/{kind}/HYP/Data Fields/{name}"
    for kind in ("GRIDS", "SWATHS")
    for name in ("surface_reflectance", "toa_radiance")
)
STRUCTURE = "HDFEOS INFORMATION/StructMetadata.0"
NUMBER = r"(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"


def find(file: ArrayFile) -> str | None:
    """The cube: reflectance before radiance."""
    return next((n for n in CUBES if n in file.arrays and len(file.arrays[n].shape) == 3), None)


def read(file: ArrayFile, name: str, request: Request) -> RawScene:
    """The scene with its mask and place."""
    raw = read_array(file, name, request, "CHW")
    flags = f"{name.rpartition('/')[0]}/nodata_pixels"
    if flags in file.arrays and file.arrays[flags].shape == raw.cube.shape[:2]:
        raw.mask = file.read(flags) == 0
    if "/GRIDS/" in name:
        raw.geo = _place(file, raw.cube.shape[0], raw.cube.shape[1])
    return raw


def _place(file: ArrayFile, height: int, width: int) -> dict[str, str] | None:
    words = "".join(file.texts.get(STRUCTURE, ()))
    grid = re.search(r'GridName="HYP"(.*?)END_GROUP=GRID_\d', words, re.DOTALL)
    words = grid[1] if grid else words
    corners = [
        re.search(rf"{corner}=\(\s*{NUMBER}\s*,\s*{NUMBER}\s*\)", words)
        for corner in ("UpperLeftPointMtrs", "LowerRightMtrs")
    ]
    first, last = corners
    code = cf.number(file.attributes.get("HDFEOS/GRIDS/HYP", {}), "epsg_code")
    zone = re.search(r"ZoneCode=(-?\d+)", words)
    if code is None and zone and "Projection=HE5_GCTP_UTM" in words:
        code = 32600 + int(zone[1]) if int(zone[1]) > 0 else 32700 - int(zone[1])
    if first is None or last is None or code is None:
        warnings.warn(
            f"load_scene: the georeference is left out, it is no grid of UTM, in {file.path}",
            UserWarning,
            stacklevel=2,
        )
        return None
    left, top, right, bottom = float(first[1]), float(first[2]), float(last[1]), float(last[2])
    transform = ((right - left) / width, 0.0, left, 0.0, (bottom - top) / height, top)
    return georeference.of_affine(transform, wkt_of_epsg(int(code)))
