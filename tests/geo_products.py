"""Files as agencies and companies lay them out, written by rasterio from one cube of reflectances."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cube = NDArray[np.floating[Any]]  # (H, W, C), reflectance
CRS = "EPSG:32632"
ORIGIN = (600000.0, 30.0, 4000000.0, 30.0)  # west, width of a pixel, north, height


def write_tiff(
    path: Path,
    values: NDArray[Any],  # (H, W, C)
    *,
    names: list[str] | None = None,
    imagery: tuple[list[float], list[float]] | None = None,
    tags: list[dict[str, str]] | None = None,
    domains: dict[str | None, dict[str, str]] | None = None,
    scales: list[float] | None = None,
    offsets: list[float] | None = None,
    mask: NDArray[np.bool_] | None = None,
    placed: bool = True,
    **profile: Any,
) -> Path:
    """A GeoTIFF of these values; `imagery` is centres and widths in micrometres, `tags` those of each band."""
    import rasterio
    from rasterio import Affine

    height, width, bands = values.shape
    how: dict[str, Any] = {"driver": "GTiff", "dtype": values.dtype.name, "crs": CRS}
    west, across, north, down = ORIGIN
    how["transform"] = Affine(across, 0, west, 0, -down, north)
    if not placed:
        del how["crs"], how["transform"]
    how |= {"height": height, "width": width, "count": bands, **profile}
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **how) as file:
            if names is not None:
                file.descriptions = names
            if scales is not None:
                file.scales = scales
            if offsets is not None:
                file.offsets = offsets
            for band in range(1, bands + 1):
                if imagery is not None:
                    centre, width_um = imagery[0][band - 1], imagery[1][band - 1]
                    file.update_tags(
                        band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=centre, FWHM_UM=width_um
                    )
                if tags is not None:
                    file.update_tags(band, **tags[band - 1])
            for domain, words in (domains or {}).items():
                file.update_tags(ns=domain, **words)
            file.write(np.moveaxis(values, 2, 0))
            if mask is not None:
                file.write_mask(mask)
    return path


def counts(cube: Cube, fill: int = -32768) -> NDArray[np.int16]:
    """Reflectance as these products store it: 10,000 = 1, missing values as `fill`."""
    whole = np.nan_to_num(np.rint(cube.astype(np.float64) * 1e4), nan=fill)
    return whole.astype(np.int16)


def write_geotiff(folder: Path, cube: Cube, centres: Cube, widths: Cube) -> Path:
    """A plain GeoTIFF with GDAL's IMAGERY domain."""
    return write_tiff(
        folder / "scene.tif",
        counts(cube),
        imagery=(list(centres / 1e3), list(widths / 1e3)),
        scales=[1e-4] * cube.shape[2],
        nodata=-32768,
    )


def write_enmap(
    folder: Path, cube: Cube, centres: Cube, widths: Cube, *, ending: str = "_IMAGE.TIF"
) -> Path:
    """EnMAP L2A: the picture, and -METADATA.XML beside it, which alone knows the bands."""
    stem = "ENMAP01-____L2A-DT0000001234_20230707T101010Z_001_V010303_20230708T000000Z"
    bands = "".join(
        f'<bandID number="{i}"><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{width}</FWHMOfBand><GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for i, (centre, width) in enumerate(zip(centres, widths, strict=True), start=1)
    )
    (folder / f"{stem}-METADATA.XML").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<level_X><metadata/><specific><bandCharacterisation>'
        f"{bands}</bandCharacterisation></specific></level_X>"
    )
    return write_tiff(folder / f"{stem}-SPECTRAL{ending}", counts(cube), nodata=-32768)


def write_desis(folder: Path, cube: Cube, centres: Cube, widths: Cube) -> Path:
    """DESIS L2A: the picture, and -METADATA.xml, which has bands in a second place as well."""
    stem = "DESIS-HSI-L2A-DT0000001234_001-20230707T101010-V0215"
    bands = "".join(
        f"<band><bandNumber>{i}</bandNumber><wavelengthCenterOfBand>{centre}</wavelengthCenterOfBand>"
        f"<wavelengthWidthOfBand>{width}</wavelengthWidthOfBand><response>0.1, 0.9</response>"
        "<gainOfBand>0.0001</gainOfBand><offsetOfBand>0.0</offsetOfBand></band>"
        for i, (centre, width) in enumerate(zip(centres, widths, strict=True), start=1)
    )
    (folder / f"{stem}-METADATA.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<hsi_doc><base/><specific><bandCharacterisation>'
        f"<numberOfBands>{len(centres)}</numberOfBands>{bands}</bandCharacterisation><interiorOrientation>"
        "<band><bandNumber>1</bandNumber></band></interiorOrientation></specific></hsi_doc>"
    )
    return write_tiff(folder / f"{stem}-SPECTRAL_IMAGE.tif", counts(cube), nodata=-32768)


def write_wyvern(folder: Path, cube: Cube, centres: Cube, widths: Cube) -> Path:
    """Wyvern: a GeoTIFF and its STAC item, micrometres."""
    stem = "wyvern_dragonette-003_20241229T165203_12324bcb"
    bands = [
        {
            "name": f"Band_{centre:.0f}",
            "center_wavelength": centre / 1e3,
            "full_width_half_max": width / 1e3,
        }
        for centre, width in zip(centres, widths, strict=True)
    ]
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": stem,
        "assets": {
            "Preview": {"href": f"{stem}_preview.png"},
            "Cloud optimized GeoTiff": {"href": f"./{stem}.tiff", "eo:bands": bands},
        },
    }
    (folder / f"{stem}.json").write_text(json.dumps(item))
    return write_tiff(folder / f"{stem}.tiff", cube.astype(np.float32), nodata=-9999.0)
