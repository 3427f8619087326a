"""The place of a scene, as ENVI's header says it: kept as text, moved when the scene is cropped.

``map info = {projection, x, y, easting, northing, x size, y size, ...}``: image coordinates (x, y), counted
from 1 at the upper left corner, lie at (easting, northing). A crop by (row, column) moves x and y.

Formats with an affine transform and a coordinate system's text (WKT) come and go through `of_affine`, `affine_of`.
``rotation=r`` turns the picture's rows r degrees counter-clockwise, and 180 says that they go up, both as GDAL has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# x = a column + b row + c, y = d column + e row + f, of the upper left corners of pixels
Affine = tuple[float, float, float, float, float, float]

FIELDS = ("map info", "coordinate system string", "projection info", "pixel size", "geo points")


def crop(
    geo: Mapping[str, str] | None, rows: slice, columns: slice, height: int, width: int
) -> dict[str, str] | None:
    """The georeference of a crop; None where it cannot be carried over (a stride, or text we cannot read)."""
    if geo is None:
        return None
    row, _, row_step = rows.indices(height)
    column, _, column_step = columns.indices(width)
    if (row_step, column_step) != (1, 1):
        return None
    kept = {key: value for key, value in geo.items() if key != "geo points"}  # tied to old pixels
    info = kept.get("map info")
    if info is not None and (row or column):
        parts = info.strip().strip("{}").split(",")
        try:
            parts[1] = f" {float(parts[1]) - column:.10g}"
            parts[2] = f" {float(parts[2]) - row:.10g}"
        except (IndexError, ValueError):
            return None
        kept["map info"] = "{" + ",".join(parts) + "}"
    return kept


def thinned(geo: Mapping[str, str] | None, every: int) -> dict[str, str] | None:
    """The georeference of every n-th row and column: pixels n times as large, the same corner.

    None where "map info" cannot be read.

    Examples
    --------
    >>> thinned({"map info": "{UTM, 1, 1, 500000, 4000000, 30, 30, 13, North}"}, 4)
    {'map info': '{UTM, 1, 1, 500000, 4000000, 120, 120, 13, North}'}
    """
    if geo is None or every == 1:
        return None if geo is None else dict(geo)
    # a size that is of the pixels alone is in "map info" as well, and points are tied to old pixels
    kept = {key: value for key, value in geo.items() if key not in ("geo points", "pixel size")}
    info = kept.get("map info")
    if info is not None:
        parts = info.strip().strip("{}").split(",")
        try:
            for i in (1, 2):  # counted from 1 at the corner
                parts[i] = f" {(float(parts[i]) - 1) / every + 1:.15g}"
            for i in (5, 6):
                parts[i] = f" {float(parts[i]) * every:.15g}"
        except (IndexError, ValueError):
            return None
        kept["map info"] = "{" + ",".join(parts) + "}"
    return kept


def of_affine(transform: Affine, wkt: str | None) -> dict[str, str] | None:
    """The fields of an affine transform; None where ENVI has no words for it (sheared pixels, or none)."""
    a, b, c, d, e, f = transform
    width, height = math.hypot(a, d), math.hypot(b, e)
    if not (math.isfinite(sum(transform)) and width and height):
        return None
    # a turned picture has right angles still, and rows that go down
    if abs(a * b + d * e) > 1e-9 * width * height:
        return None
    turned = math.degrees(math.atan2(d, a))
    rows_go_up = a * e - b * d > 0
    if rows_go_up:  # said as half a turn, which therefore cannot be said
        if abs(turned) > 1e-9:
            return None
        turned = 180.0
    elif abs(abs(turned) - 180.0) < 1e-9:
        return None
    name = _projection(wkt)
    degrees = wkt is not None and wkt.lstrip().upper().startswith(("GEOG", "GEODCRS"))
    parts = [name, "1", "1", *(f"{number:.15g}" for number in (c, f, width, height))]
    parts.append(f"units={'Degrees' if degrees else 'Meters'}")
    if abs(turned) > 1e-9:
        parts.append(f"rotation={turned:.12g}")
    fields = {"map info": "{" + ", ".join(parts) + "}"}
    if wkt:
        fields["coordinate system string"] = "{" + wkt + "}"
    return fields


def affine_of(geo: Mapping[str, str] | None) -> tuple[Affine, str | None] | None:
    """The transform that "map info" says, and the coordinate system's WKT; None where there is none."""
    info = (geo or {}).get("map info")
    if geo is None or info is None:
        return None
    parts = [part.strip() for part in info.strip().strip("{}").split(",")]
    try:
        x, y, east, north, width, height = (float(part) for part in parts[1:7])
    except ValueError:
        return None
    words = dict(part.split("=", 1) for part in parts[7:] if "=" in part)
    try:
        turned = math.radians(float(words.get("rotation", 0)))
    except ValueError:
        return None
    cos, sin = math.cos(turned), math.sin(turned)
    a, d, b, e = width * cos, width * sin, height * sin, -height * cos
    if abs(turned) == math.pi:
        a, d, b, e = width, 0.0, 0.0, height
    corner = east - a * (x - 1) - b * (y - 1), north - d * (x - 1) - e * (y - 1)
    wkt = geo.get("coordinate system string", "").strip()
    wkt = wkt[1:-1].strip() if wkt.startswith("{") else wkt
    return (a, b, corner[0], d, e, corner[1]), wkt or None


def _projection(wkt: str | None) -> str:
    """What "map info" calls the coordinate system: a name without a comma."""
    found = re.match(r'\s*\w+\s*\[\s*"([^"]*)"', wkt or "")
    return (found[1].replace(",", " ").strip() if found else "") or "Arbitrary"


@dataclass(frozen=True, eq=False)
class Lookup:
    """Where on a map the pixels of a scene in sensor geometry lie: for each map pixel the scene's, or none.

    Work on single pixels is done on the scene, once a pixel; only its result is spread over the map.
    """

    rows: NDArray[np.int32]  # (Hm, Wm), -1 where the scene shows nothing
    columns: NDArray[np.int32]  # (Hm, Wm)
    geo: Mapping[str, str] | None  # of the map

    def crop(self, rows: slice, columns: slice) -> Lookup | None:
        """For a part of the scene, on the same map; None for one with a stride."""
        if any(part.step not in (None, 1) for part in (rows, columns)):
            return None
        first = [int(part.start or 0) for part in (rows, columns)]
        last = [np.inf if part.stop is None else part.stop for part in (rows, columns)]
        if min(first) < 0 or min(last) < 0:
            return None
        inside = (self.rows >= first[0]) & (self.rows < last[0])
        inside &= (self.columns >= first[1]) & (self.columns < last[1])
        return Lookup(
            np.where(inside, self.rows - first[0], -1).astype(np.int32),
            np.where(inside, self.columns - first[1], -1).astype(np.int32),
            self.geo,
        )

    def thinned(self, every: int) -> Lookup:
        """For every n-th row and column of the scene, on every n-th of the map."""
        if every == 1:
            return self
        some = (slice(None, None, every),) * 2
        # -1 stays -1
        return Lookup(
            self.rows[some] // every,
            self.columns[some] // every,
            thinned(self.geo, every),
        )

    def apply(
        self,
        values: NDArray[Any],  # (H, W, ...)
        fill: Any = np.nan,
    ) -> NDArray[Any]:  # (Hm, Wm, ...)
        """The values where the map shows them, `fill` elsewhere."""
        there = self.rows >= 0
        out = np.full((*self.rows.shape, *values.shape[2:]), fill, values.dtype)
        out[there] = values[self.rows[there], self.columns[there]]
        return out
