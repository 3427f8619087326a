"""PACE OCI (NASA), level 2: surface reflectance ``rhos`` or remote sensing reflectance ``Rrs``.

``geophysical_data`` (number_of_lines, pixels_per_line, wavelength_3d), wavelengths in ``sensor_band_parameters``. The
pixels lie where the sensor saw them: the file has no map. Its flags of clouds and ice are not followed.
"""

from __future__ import annotations

from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_array
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.wavelengths import nanometres

CUBES = ("geophysical_data/rhos", "geophysical_data/Rrs")
BANDS = ("sensor_band_parameters/wavelength_3d", "sensor_band_parameters/wavelength")


def find(file: ArrayFile) -> str | None:
    """The cube: surface reflectance, where both are there."""
    if "navigation_data" not in file.attributes:
        return None
    return next((n for n in CUBES if n in file.arrays and len(file.arrays[n].shape) == 3), None)


def read(file: ArrayFile, name: str, request: Request) -> RawScene:
    """The scene as the sensor saw it."""
    raw = read_array(file, name, request, "HWC")
    for vector in BANDS:
        found = file.arrays.get(vector)
        if found is not None and found.vector_size() == raw.cube.shape[2]:
            raw.wavelengths = nanometres(file.read(vector), "nm")
            break
    return raw
