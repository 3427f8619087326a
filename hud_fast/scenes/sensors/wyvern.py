"""Wyvern's products, and others of the kind: a GeoTIFF, and a STAC item (.json) beside it that knows the bands."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from hud_fast._text import printable
from hud_fast.scenes import geotiff
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.sensors import side_text


def matches(path: Path, start: bytes) -> bool:
    """A TIFF file with a .json of the same name beside it."""
    return geotiff.is_tiff(path, start) and path.with_suffix(".json").is_file()


def read(path: Path, request: Request) -> RawScene:
    """The picture; where it says nothing of wavelengths, as the item has them. An item that cannot be used is told."""
    raw = geotiff.read(path, request)
    item = path.with_suffix(".json")
    try:
        bands = _bands(side_text.json_of(item), path.name, raw.cube.shape[2])
        centres = [_number(band, "center_wavelength") for band in bands]
        widths = [_number(band, "full_width_half_max") for band in bands]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        warnings.warn(
            f"load_scene: {item.name} beside the scene is left out: {printable(error, 200)}",
            UserWarning,
            stacklevel=2,
        )
        return raw
    if raw.wavelengths is None and None not in centres:
        raw.wavelengths = np.array(centres, np.float64) * 1e3  # micrometres, as STAC has it
        if None not in widths:
            raw.fwhm = np.array(widths, np.float64) * 1e3
    names = [str(band.get("name") or "") for band in bands]
    if raw.band_names is None and all(names):
        raw.band_names = tuple(names)
    if "wyvern" in path.name.lower():
        raw.details["product"] = "Wyvern"
    return raw


def _bands(item: Any, name: str, count: int) -> list[Mapping[str, Any]]:
    """The bands of the asset that is this file, or of the one that has as many."""
    assets = list(item["assets"].values()) if isinstance(item, dict) and "assets" in item else []
    for asset in sorted(assets, key=lambda one: _file_name(one) != name):
        bands = asset.get("eo:bands") or asset.get("bands") or []
        if len(bands) == count:
            return list(bands)
    raise ValueError(f"it has no asset of {count} bands")


def _file_name(asset: Mapping[str, Any]) -> str:
    return PurePosixPath(str(asset.get("href", ""))).name


def _number(band: Mapping[str, Any], key: str) -> float | None:
    """A number of the extension eo, in version 1 or 2 of it."""
    value = band.get(key, band.get(f"eo:{key}"))
    return float(value) if isinstance(value, (int, float)) and value > 0 else None
