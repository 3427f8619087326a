"""ESRI headers (.hdr beside .bil, .bip or .bsq): words and values, as ArcGIS and GDAL's EHdr write them.

Defaults are ESRI's: one band, 8 bits, unsigned, BIL, the low byte first, no gaps. ULXMAP and ULYMAP are the middle
of the upper left pixel; a .prj file beside names the coordinate system.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from hud_fast._text import printable
from hud_fast.scenes import georeference
from hud_fast.scenes.band_tables import decoded
from hud_fast.scenes.envi_header import Header
from hud_fast.scenes.raw_numbers import INTERLEAVES, Numbers

KINDS = {"UNSIGNEDINT": "u", "SIGNEDINT": "i", "FLOAT": "f"}
WORDS = ("NROWS", "NCOLS", "LAYOUT", "NBITS")
LARGEST_WKT = 1 << 16  # bytes


def fields_of(text: str, path: Path) -> Header | None:
    """The header's words; None where it is not one of ESRI's."""
    header = Header(path, {})
    if text.lstrip("\ufeff \t\r\n").upper().startswith("ENVI"):
        return None
    for line in text.splitlines():
        parts = line.split(None, 1)
        if len(parts) == 2 and re.fullmatch(r"[A-Za-z_]+", parts[0]):
            header.fields.setdefault(parts[0].upper(), parts[1].strip())
    return header if sum(word in header.fields for word in WORDS) >= 2 else None


def numbers_of(header: Header) -> tuple[Numbers, str]:
    """How the numbers lie, and the interleave.

    Raises
    ------
    ValueError
        If a word is missing or wrong.
    """
    H, W = header.integer("NROWS"), header.integer("NCOLS")
    C = header.integer("NBANDS", default=1)
    bits = header.integer("NBITS", default=8)
    layout = header.text("LAYOUT").lower() or "bil"
    if layout not in INTERLEAVES:
        raise header.wrong("LAYOUT", "BIL, BIP or BSQ", header.text("LAYOUT"))
    kind = KINDS.get(header.text("PIXELTYPE").upper() or "UNSIGNEDINT")
    if kind is None:
        raise header.wrong("PIXELTYPE", f"one of {', '.join(KINDS)}", header.text("PIXELTYPE"))
    if bits not in ((32, 64) if kind == "f" else (8, 16, 32)):
        raise header.wrong("NBITS", "8, 16 or 32 (or of FLOAT 32 or 64)", bits)
    order = header.text("BYTEORDER").upper() or "I"
    if order not in ("I", "M", "LSBFIRST", "MSBFIRST"):
        raise header.wrong("BYTEORDER", "I or M", order)
    dtype = np.dtype(f"{'>' if order.startswith('M') else '<'}{kind}{bits // 8}")
    item, start = dtype.itemsize, header.integer("SKIPBYTES", default=0, least=0)
    pixels = W * item
    if layout == "bip":
        row = header.integer("TOTALROWBYTES", default=pixels * C, least=pixels * C)
        strides = (row, C * item, item)
        size = start + H * row
    elif layout == "bil":
        band = header.integer("BANDROWBYTES", default=pixels, least=pixels)
        row = header.integer("TOTALROWBYTES", default=band * C, least=band * C)
        strides = (row, item, band)
        size = start + H * row
    else:
        gap = header.integer("BANDGAPBYTES", default=0, least=0)
        strides = (pixels, item, H * pixels + gap)
        size = start + C * (H * pixels + gap)
    framed = size != start + H * W * C * item
    return Numbers((H, W, C), dtype, start, strides, size, framed), layout


def place_of(header: Header) -> dict[str, str] | None:
    """Where the image lies."""
    values = [header.number(word) for word in ("ULXMAP", "ULYMAP", "XDIM", "YDIM")]
    if None in values:
        return None
    x, y, width, height = (float(value or 0.0) for value in values)
    beside = header.path.with_suffix(".prj")
    wkt = None
    if beside.is_file() and beside.stat().st_size <= LARGEST_WKT:
        wkt = printable(decoded(beside.read_bytes())).strip()
    known = wkt if wkt and re.match(r"\w+\s*\[", wkt) else None  # not of ESRI's older words
    corner = (width, 0.0, x - width / 2, 0.0, -height, y + height / 2)
    return georeference.of_affine(corner, known)
