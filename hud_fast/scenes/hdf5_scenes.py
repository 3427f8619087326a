"""Products in HDF5 and netCDF-4 that are known by what they hold: one module for each sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_arrays
from hud_fast.scenes.hdf5 import HDF5File
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.sensors import aviris, emit, hypso, neon, pace, prisma, tanager


@dataclass(frozen=True)
class Sensor:
    """How a product is known, by its groups and arrays and not by the file's name, and read."""

    name: str
    finds: Callable[[ArrayFile], str | None]  # the array that holds the cube, or one of its parts
    read: Callable[[ArrayFile, str, Request], RawScene]


SENSORS = (
    Sensor("EMIT", emit.find, emit.read),
    Sensor("PRISMA", prisma.find, prisma.read),
    Sensor("NEON AOP", neon.find, neon.read),
    Sensor("Tanager", tanager.find, tanager.read),
    Sensor("PACE OCI", pace.find, pace.read),
    Sensor("HYPSO", hypso.find, hypso.read),
    Sensor("AVIRIS", aviris.find, aviris.read),
)


def read_hdf5(path: Path, request: Request) -> RawScene:
    """The cube of an HDF5 or netCDF-4 file: of a product that we know, else by the rules of `array_scenes`."""
    file = HDF5File(path)
    for sensor in SENSORS:
        name = sensor.finds(file)
        if name is None or request.variable not in (None, name, f"/{name}"):
            continue
        if request.layout is not None or request.shape is not None:
            given = "layout" if request.layout is not None else "shape"
            raise ValueError(
                f"load_scene: `{given}` must not be given for a product of {sensor.name}, which says it, "
                f"got {getattr(request, given)!r} for {path}"
            )
        raw = sensor.read(file, name, request)
        raw.details["sensor"] = sensor.name
        return raw
    return read_arrays(file, request)
