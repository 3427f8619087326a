"""NEON's airborne spectrometer (AOP), reflectance: ``SITE/Reflectance/Reflectance_Data`` (row, column, band).

Whole numbers of 1 / Scale_Factor, Data_Ignore_Value where there is nothing. ``Metadata`` beside it has wavelengths,
widths and ENVI's own words for the place. The two windows of water vapour that it names are bad bands.
"""

from __future__ import annotations

import re

import numpy as np

from hud_fast.scenes import cf
from hud_fast.scenes.array_files import ArrayFile
from hud_fast.scenes.array_scenes import read_array
from hud_fast.scenes.crs import wkt_of_epsg
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.wavelengths import nanometres, widths

CUBE = re.compile(r"[^/]+/Reflectance/Reflectance_Data")
WINDOWS = ("Band_Window_1_Nanometers", "Band_Window_2_Nanometers")


def find(file: ArrayFile) -> str | None:
    """The cube of the first site."""
    return next(
        (n for n, a in file.arrays.items() if CUBE.fullmatch(n) and len(a.shape) == 3), None
    )


def read(file: ArrayFile, name: str, request: Request) -> RawScene:
    """The scene with what its metadata says."""
    raw = read_array(file, name, request, "HWC")
    group = name.rpartition("/")[0]
    facts = {**file.attributes.get(group, {}), **file.arrays[name].attributes}
    factor = cf.number(facts, "Scale_Factor")
    raw.reflectance_factor = factor if factor is not None and factor > 0 else None
    for field, own in (("wavelengths", "Wavelength"), ("fwhm", "FWHM")):
        vector = file.arrays.get(f"{group}/Metadata/Spectral_Data/{own}")
        if vector is not None and vector.vector_size() == raw.cube.shape[2]:
            unit = cf.text(vector.attributes, *cf.UNITS) or "Nanometers"
            numbers = file.read(vector.name)
            if field == "fwhm":
                raw.fwhm = widths(numbers, unit)
            else:
                raw.wavelengths = nanometres(numbers, unit)
    if raw.wavelengths is not None:
        good = np.ones(raw.wavelengths.size, bool)
        for window in WINDOWS:
            ends = facts.get(window)
            if isinstance(ends, list) and len(ends) == 2:
                good &= (raw.wavelengths < min(ends)) | (raw.wavelengths > max(ends))
        raw.good_bands = good if good.any() and not good.all() else None
    raw.geo = _place(file, f"{group}/Metadata/Coordinate_System")
    return raw


def _place(file: ArrayFile, group: str) -> dict[str, str] | None:
    info = "".join(file.texts.get(f"{group}/Map_Info", ())).strip().strip("{}")
    if not info:
        return None
    geo = {"map info": "{" + info + "}"}
    wkt = "".join(file.texts.get(f"{group}/Coordinate_System_String", ())).strip().strip("{}")
    code = "".join(file.texts.get(f"{group}/EPSG Code", ())).strip()
    if not wkt and code.isdigit():
        wkt = wkt_of_epsg(int(code)) or ""
    if wkt:
        geo["coordinate system string"] = "{" + wkt + "}"
    return geo
