"""GeoTIFF files."""

from hud_fast.scenes.geotiff_write import writing_rows

__all__ = ["writing_rows"]
