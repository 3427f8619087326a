"""PRISMA (ASI), levels 2B, 2C and 2D: two cubes (row, band, column) of whole numbers, VNIR and SWIR.

A number v means min + v / 65535 (max - min), with a least and a largest value for each cube. Centres and widths are
listed for each band, 0 for one that is off. Here the bands that are on come as VNIR, then SWIR, each with rising
wavelengths; where the two overlap (about 920 to 1010 nm) both are kept. A pixel with 0 in all bands shows nothing.

The error matrices flag single values. A band that is flagged in most pixels (deep absorption) is a bad band; a pixel
flagged in any other band is masked.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import cf, georeference
from hud_fast.scenes.array_files import ArrayFile, Filled, Joined
from hud_fast.scenes.crs import wkt_of_epsg
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.trust import broken, whole
from hud_fast.scenes.wavelengths import nanometres

CUBE = re.compile(r"HDFEOS/SWATHS/PRS_L2[BCD]_H[CR][OC]/Data Fields/VNIR_Cube")
LARGEST = 65535.0
PARTS = ("Vnir", "Swir")
PIXEL = 30.0  # metres
PIXEL_OFF = 0.1


def find(file: ArrayFile) -> str | None:
    """The VNIR cube of a product of level 2."""
    name = next(
        (n for n, a in file.arrays.items() if CUBE.fullmatch(n) and len(a.shape) == 3), None
    )
    if name is None or name.replace("VNIR", "SWIR") not in file.arrays:
        return None
    return name


def read(file: ArrayFile, name: str, request: Request) -> RawScene:  # noqa: ARG001  # as every sensor
    """Both cubes as one."""
    facts = file.attributes[""]
    names = [name, name.replace("VNIR", "SWIR")]
    on, centres, widths, gains, offsets = [], [], [], [], []
    for part, cube in zip(PARTS, names, strict=True):
        count = file.arrays[cube].shape[1]
        centre, width = (_list(file, f"List_{what}_{part}", count) for what in ("Cw", "Fwhm"))
        flags = facts.get(f"List_Cw_{part}_Flags")
        is_on = (centre > 0) & (width > 0)
        if isinstance(flags, list) and len(flags) == count:
            is_on &= np.asarray(flags) != 0
        bands = np.flatnonzero(is_on)
        bands = bands[np.argsort(centre[bands], kind="stable")]
        low, high = (cf.number(facts, f"L2Scale{part}{end}") for end in ("Min", "Max"))
        if low is None or high is None or not low < high:
            raise broken(file.path, f"it has the scale {low} to {high} for {part}")
        on.append(bands)
        centres.append(centre[bands])
        widths.append(width[bands])
        gains.append(np.full(len(bands), (high - low) / LARGEST))
        offsets.append(np.full(len(bands), low))
    if not sum(map(len, on)):
        raise broken(file.path, "all its bands are off")
    cubes = [file.rows(cube, "HCW") for cube in names]
    if cubes[0].shape[:2] != cubes[1].shape[:2]:
        raise broken(file.path, f"its cubes are {cubes[0].shape} and {cubes[1].shape}")
    joined = Joined(list(zip(cubes, on, strict=True)))
    raw = RawScene(
        cube=Filled(joined, 0.0, whole=True),
        format=file.format,
        dtype=joined.dtype,
        variable=name,
        wavelengths=nanometres(np.concatenate(centres), "nm"),
        fwhm=np.concatenate(widths),
        gains=np.concatenate(gains),
        offsets=np.concatenate(offsets),
        ignore_value=0.0,
        details={"layout": "HCW"},
    )
    _add_errors(raw, file, names, on)
    raw.geo = _place(file, *joined.shape[:2])
    return raw


def _list(file: ArrayFile, name: str, count: int) -> NDArray[np.float64]:
    values = file.attributes[""].get(name)
    if not isinstance(values, list) or len(values) != count:
        raise broken(file.path, f"it has no {name} of {count} bands")
    return np.array(values, np.float64)


def _add_errors(raw: RawScene, file: ArrayFile, names: list[str], on: list[Any]) -> None:
    """Bad bands and masked pixels by the error matrices."""
    matrices = [name.replace("_Cube", "_PIXEL_L2_ERR_MATRIX") for name in names]
    for matrix, cube in zip(matrices, names, strict=True):
        if matrix not in file.arrays or file.arrays[matrix].shape != file.arrays[cube].shape:
            return
    errors = Joined(
        [(file.rows(matrix, "HCW"), bands) for matrix, bands in zip(matrices, on, strict=True)]
    )
    height, width, bands = errors.shape
    step = max(32, errors.chunk_rows)
    flagged = np.zeros(bands, np.int64)  # pixels, for each band
    seen = 0
    packed = np.empty((height, width, -(-bands // 8)), np.uint8)
    with whole(file.path):
        for start in range(0, height, step):
            rows = slice(start, start + step)
            wrong = errors[rows] != 0
            packed[rows] = np.packbits(wrong, axis=-1)
            shown = ~wrong.all(axis=-1)  # a pixel of the margin is flagged throughout
            flagged += np.count_nonzero(wrong[shown], axis=0)
            seen += int(np.count_nonzero(shown))
    good = 2 * flagged <= max(seen, 1)
    if good.any() and not good.all():
        raw.good_bands = good
    raw.mask = ~(packed & np.packbits(good if good.any() else ~good)).any(axis=-1)


def _place(file: ArrayFile, height: int, width: int) -> dict[str, str] | None:
    """Of level 2D: from the corners, which are those of the outer pixels, or their centres."""
    facts = file.attributes[""]
    code = cf.number(facts, "Epsg_Code")
    corners = {
        f"{corner}{way[0]}": cf.number(facts, f"Product_{corner}corner_{way}")
        for corner in ("UL", "UR", "LL", "LR")
        for way in ("easting", "northing")
    }
    if code is None or None in corners.values():
        return None
    east = [value for key, value in corners.items() if key.endswith("e") and value is not None]
    north = [value for key, value in corners.items() if key.endswith("n") and value is not None]
    left, right, top, bottom = min(east), max(east), max(north), min(north)
    for less, half in ((1, PIXEL / 2), (0, 0.0)):  # centres; corners
        steps = ((right - left) / max(width - less, 1), (top - bottom) / max(height - less, 1))
        if all(abs(step - PIXEL) < PIXEL_OFF for step in steps):
            transform = (PIXEL, 0.0, left - half, 0.0, -PIXEL, top + half)
            return georeference.of_affine(transform, wkt_of_epsg(int(code)))
    warnings.warn(
        f"load_scene: the georeference is left out, its corners lie {right - left:g} x {top - bottom:g} m apart for "
        f"{width} x {height} pixels of {PIXEL:g} m, in {file.path}",
        UserWarning,
        stacklevel=2,
    )
    return None
