"""Coordinate systems by their EPSG codes, as text (WKT): the few that scenes come in; others through rasterio."""

from __future__ import annotations

import contextlib
from importlib import import_module

WGS84 = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]'
)
_METRES = 'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],AXIS["Northing",NORTH]'


def wkt_of_epsg(code: int) -> str | None:
    """The text of a coordinate system; None where we do not know it.

    Examples
    --------
    >>> wkt_of_epsg(32632)[:32]
    'PROJCS["WGS 84 / UTM zone 32N",G'
    """
    if code == 4326:
        return WGS84
    zone, south = code % 100, code // 100 == 327
    if code // 100 in (326, 327) and 1 <= zone <= 60:
        name, north = f"WGS 84 / UTM zone {zone}{'S' if south else 'N'}", 10_000_000 if south else 0
        return (
            f'PROJCS["{name}",{WGS84},PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
            f'PARAMETER["central_meridian",{6 * zone - 183}],PARAMETER["scale_factor",0.9996],'
            f'PARAMETER["false_easting",500000],PARAMETER["false_northing",{north}],{_METRES},'
            f'AUTHORITY["EPSG","{code}"]]'
        )
    with contextlib.suppress(Exception):  # rasterio is not there, or does not know it either
        return str(import_module("rasterio.crs").CRS.from_epsg(code).to_wkt())
    return None
