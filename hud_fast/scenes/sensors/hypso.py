"""HYPSO (NTNU): radiance or reflectance in ``products`` (line, sample, band); bands are attributes of the cube."""

from __future__ import annotations

from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_array
from hud_fast.scenes.raw import RawScene, Request

CUBES = ("products/rhos", "products/Rrs", "products/rhot", "products/Lt")


def find(file: ArrayFile) -> str | None:
    """The cube of the highest level."""
    if "navigation" not in file.attributes:
        return None
    return next((n for n in CUBES if n in file.arrays and len(file.arrays[n].shape) == 3), None)


def read(file: ArrayFile, name: str, request: Request) -> RawScene:
    """The scene as the sensor saw it."""
    return read_array(file, name, request, "HWC")
