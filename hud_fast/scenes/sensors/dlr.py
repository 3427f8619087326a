"""EnMAP and DESIS products of the DLR: a GeoTIFF, and -METADATA.XML beside it, which alone knows the bands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from hud_fast._text import printable
from hud_fast.scenes import geotiff, trust
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.sensors import side_text

PICTURE = re.compile(r"(.*)-SPECTRAL_IMAGE(?:_COG)?\.tiff?", re.IGNORECASE)
METADATA = re.compile(r"(.*)-METADATA\.xml", re.IGNORECASE)


@dataclass(frozen=True)
class Product:
    """How one mission's metadata call a band and its numbers."""

    name: str
    band: str
    centre: str
    width: str
    gain: str
    offset: str

    def matches(self, path: Path, start: bytes) -> bool:  # noqa: ARG002  # as every reader
        """By the name of the picture or of its metadata."""
        named = PICTURE.fullmatch(path.name) or METADATA.fullmatch(path.name)
        return named is not None and path.name.upper().startswith(self.name.upper())

    def read(self, path: Path, request: Request) -> RawScene:
        """The picture, with what the metadata say of its bands.

        Raises
        ------
        FileNotFoundError
            If one of the two files is missing: the picture alone has neither wavelengths nor scale.
        ValueError
            If the metadata describe other bands than the picture has.
        """
        picture, metadata = self._both(path)
        raw = geotiff.read(picture, request)
        if metadata is None and request.bands is not None:  # the user says what the bands are
            return raw
        if metadata is None:
            raise FileNotFoundError(
                "load_scene: `path` must have its -METADATA.XML beside it, where wavelengths and scale are (or give "
                f"`wavelengths`), got {path} alone"
            )
        with trust.whole(metadata):
            described = self._bands(side_text.xml_of(metadata))
        bands = raw.cube.shape[2]
        if len(described) != bands:
            raise ValueError(
                f"load_scene: `path` must have metadata of its {bands} bands, got {len(described)} bands in {metadata}"
            )
        numbers = np.array(described, np.float64).reshape(bands, 4)
        raw.wavelengths, raw.fwhm = numbers[:, 0], numbers[:, 1]
        raw.fields.pop("scale", None)
        geotiff.set_gains(raw, numbers[:, 2], numbers[:, 3])
        raw.details["product"] = self.name
        return raw

    def _both(self, path: Path) -> tuple[Path, Path | None]:
        """Picture and metadata, of which one is given."""
        found = METADATA.fullmatch(path.name)
        if found is None:
            stem = PICTURE.sub(r"\1", path.name)
            return path, side_text.beside(path, f"{stem}-METADATA.XML")
        for ending in ("_IMAGE.TIF", "_IMAGE_COG.TIFF", "_IMAGE_COG.TIF", "_IMAGE.TIFF"):
            picture = side_text.beside(path, f"{found[1]}-SPECTRAL{ending}")
            if picture is not None:
                return picture, path
        raise FileNotFoundError(
            f"load_scene: `path` must have {found[1]}-SPECTRAL_IMAGE.TIF beside it, got {path} alone"
        )

    def _bands(self, root: Element) -> list[tuple[float, ...]]:
        """Centre, width, gain and offset of each band, in order, of one place: bands stand in others, too."""
        out: list[tuple[float, ...]] = []
        wanted = [f"{{*}}{tag}" for tag in (self.centre, self.width, self.gain, self.offset)]
        for band in root.findall(f".//{{*}}bandCharacterisation/{{*}}{self.band}"):
            texts = [band.findtext(tag) for tag in wanted]
            try:
                out.append(tuple(float(text or "") for text in texts))
            except ValueError:
                raise ValueError(
                    f"band {len(out) + 1} must have four numbers, got {printable(texts, 100)}"
                ) from None
        return out


ENMAP = Product(
    "EnMAP", "bandID", "wavelengthCenterOfBand", "FWHMOfBand", "GainOfBand", "OffsetOfBand"
)
DESIS = Product(
    "DESIS", "band", "wavelengthCenterOfBand", "wavelengthWidthOfBand", "gainOfBand", "offsetOfBand"
)
