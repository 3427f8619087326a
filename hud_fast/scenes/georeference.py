"""The place of a scene, as ENVI's header says it: kept as text, moved when the scene is cropped.

``map info = {projection, x, y, easting, northing, x size, y size, ...}``: image coordinates (x, y), counted
from 1 at the upper left corner, lie at (easting, northing). A crop by (row, column) moves x and y.
"""

from __future__ import annotations

from collections.abc import Mapping

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
