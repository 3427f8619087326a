"""AVIRIS-3, -5 and -NG (NASA/JPL) in netCDF: (band, row, column), with its bands in a group of the cube's name.

Orthorectified files have northing and easting at the root, and what they mean in ``transverse_mercator``. Files in the
sensor's geometry have neither: they come without a place.
"""

from __future__ import annotations

from hud_fast.scenes import cf
from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_array
from hud_fast.scenes.raw import RawScene, Request

CUBES = ("reflectance/reflectance", "radiance/radiance")


def find(file: ArrayFile) -> str | None:
    """The cube, if its group has its wavelengths."""
    for name in CUBES:
        group = name.partition("/")[0]
        if f"{group}/wavelength" in file.arrays and name in file.arrays:
            return name if len(file.arrays[name].shape) == 3 else None
    return None


def read(file: ArrayFile, name: str, request: Request) -> RawScene:
    """The scene; its axes by their names, else bands first."""
    return read_array(file, name, request, cf.order_of(file.arrays[name], file) or "CHW")
