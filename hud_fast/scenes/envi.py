"""ENVI files: a text header (.hdr) beside a file of raw numbers in BSQ, BIL or BIP order. ESRI's, too.

The header is parsed in `envi_header`, the numbers are mapped in `raw_numbers` and copied once, straight into a
band-last float32 cube. Kept both ways: wavelengths and their unit, fwhm, bad-band list (bbl), band names, data
ignore value, default bands, reflectance scale factor, gains and offsets, map info and its relatives, byte order,
interleave.

``data gain values`` and ``data offset values`` are applied: file value * gain + offset. A reflectance scale factor
is not, unless `scale` asks for it.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hud_fast._text import printable
from hud_fast.scenes import esri, georeference, geotiff, raw_numbers
from hud_fast.scenes.envi_header import Header, parsed, read_header, read_text
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.raw_numbers import Numbers, is_packed

DATA_SUFFIXES = raw_numbers.DATA_SUFFIXES
INTERLEAVES = raw_numbers.INTERLEAVES
DATA_TYPES = {
    "1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2", "13": "u4", "14": "i8", "15": "u8"
}  # fmt: skip
CODES = {np.dtype(name): code for code, name in DATA_TYPES.items()}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Kinds of file that are no plain numbers, by words of "file type".
NOT_PLAIN = ("meta", "virtual", "nitf", "jpeg", "jp2", "imagine", "hdf", "netcdf", "png", "pcidsk")


def find_header(path: Path) -> Path | None:
    """The header of an ENVI data file (scene.img: scene.img.hdr or scene.hdr); a header is its own."""
    if path.suffix.lower() == ".hdr":
        return path
    inner = [path.with_suffix("")] if path.suffix.lower() == ".gz" else []
    for file in [path, *inner]:
        for candidate in (file.with_name(file.name + ".hdr"), file.with_suffix(".hdr")):
            for name in (candidate, candidate.with_suffix(".HDR")):
                if name.is_file():
                    return name
    return None


def read_envi(path: Path, request: Request) -> RawScene:
    """The cube of an ENVI header (or of the data file beside it), memory-mapped, with what the header says.

    Raises
    ------
    FileNotFoundError
        If the header or the data file is missing.
    OSError
        If the data file is shorter than the header says, or has another data type.
    ValueError
        If the header is not an ENVI or ESRI header of an image, or contradicts itself; if several files may be its
        data.
    """
    header_path = find_header(path)
    if header_path is None:
        raise FileNotFoundError(
            f"load_scene: `path` must have its ENVI header beside it, got {path} without "
            f"{path.with_suffix('.hdr').name}"
        )
    given = path if path != header_path else None
    text = read_text(header_path)
    words = esri.fields_of(text, header_path)
    if words is not None:
        return _read_esri(words, given)
    header = parsed(text, header_path)
    kind = header.text("file type").lower()
    _check_kind(header, kind)
    if given is not None and _is_tiff(given, kind):
        return _read_tiff(given, request)
    if "tiff" in kind:
        return _read_tiff(_tiff_beside(header_path), request)
    numbers, interleave = layout_of(header)
    data = given or raw_numbers.find_data(header_path, numbers.size)
    if _is_tiff(data, kind):
        return _read_tiff(data, request)
    packed = data.suffix.lower() == ".gz" or header.word("file compression") not in ("", "0")
    if packed and not is_packed(data):
        header.warn(f"`file compression` is left out: {data.name} is not packed by gzip")
        packed = False
    cube = numbers.view(data, packed=packed)
    raw = RawScene(cube=cube, format="envi", dtype=numbers.dtype)
    _side_information(raw, header)
    suffix = data.with_suffix("").suffix if data.suffix.lower() == ".gz" else data.suffix
    raw.details |= {"interleave": interleave, "data suffix": suffix}
    if unit := header.word("wavelength units"):
        raw.details["wavelength units"] = printable(unit, 40)
    return raw


def add_header(raw: RawScene, path: Path) -> None:
    """What the ENVI header beside an image of another kind (a TIFF) says, where the image does not say it.

    A header that is none of ENVI's, or of another count of bands, is left out with a warning.
    """
    beside = find_header(path)
    if beside is None:
        return
    try:
        header = read_header(beside)
        bands = header.integer("bands", default=raw.cube.shape[2])
        if bands != raw.cube.shape[2]:
            raise header.wrong("bands", f"{raw.cube.shape[2]} as in {path.name}", bands)
    except ValueError as error:
        reason = str(error).removeprefix("load_scene: ")
        warnings.warn(f"load_scene: {beside.name} is left out: {reason}", UserWarning, stacklevel=3)
        return
    said = RawScene(cube=raw.cube, format="envi", dtype=raw.dtype)
    _side_information(said, header)
    if raw.gains is None and raw.offsets is None:
        raw.gains, raw.offsets = said.gains, said.offsets
    by_name = raw.details.get("wavelengths of") == "band names" and said.wavelengths is not None
    if raw.wavelengths is None or by_name:
        raw.wavelengths, raw.fwhm = said.wavelengths, said.fwhm if raw.fwhm is None else raw.fwhm
    for field in (
        "fwhm", "good_bands", "band_names", "rgb_bands", "ignore_value", "reflectance_factor", "geo"
    ):  # fmt: skip
        if getattr(raw, field) is None:
            setattr(raw, field, getattr(said, field))
    raw.details = {**said.details, **raw.details}


def _check_kind(header: Header, kind: str) -> None:
    if "library" in kind or "classification" in kind:
        raise ValueError(
            f"load_scene: `path` must be an ENVI image, got {header.path} of type {printable(kind, 60)}"
        )
    if any(word in kind for word in NOT_PLAIN):
        raise header.wrong("file type", "ENVI Standard or TIFF", header.text("file type"))


def _is_tiff(data: Path, kind: str) -> bool:
    with data.open("rb") as file:
        return file.read(4) in TIFF or "tiff" in kind


def _tiff_beside(header: Path) -> Path:
    """The TIFF of a header that says it is one."""
    stem = header.with_suffix("")
    names = [stem, *(stem.with_name(stem.name + end) for end in (".tif", ".tiff", ".TIF", ".TIFF"))]
    found = next((name for name in names if name.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"load_scene: `path` must have its data file beside the header, got {header} of a TIFF without "
            f"{names[1].name}"
        )
    return found


def _read_tiff(data: Path, request: Request) -> RawScene:
    """A TIFF beside an ENVI header: the reader of TIFFs finds the numbers, the header adds what it lacks."""
    raw = geotiff.read(data, request)
    add_header(raw, data)
    return raw


def _read_esri(header: Header, given: Path | None) -> RawScene:
    try:
        numbers, interleave = esri.numbers_of(header)
    except ValueError as error:
        raise ValueError(f"{error} (an ESRI header)") from error
    data = given or raw_numbers.find_data(header.path, numbers.size)
    cube = numbers.view(data, packed=data.suffix.lower() == ".gz" and is_packed(data))
    raw = RawScene(cube=cube, format="envi", dtype=numbers.dtype)
    raw.ignore_value, raw.geo = header.number("NODATA"), esri.place_of(header)
    raw.details = {"interleave": interleave, "data suffix": data.suffix}
    return raw


def layout_of(header: Header) -> tuple[Numbers, str]:
    """How the numbers lie, and the interleave."""
    lines, samples, bands = (header.integer(key) for key in ("lines", "samples", "bands"))
    interleave = header.word("interleave").lower() or "bsq"
    if interleave not in INTERLEAVES:
        raise header.wrong("interleave", "bsq, bil or bip", interleave)
    offset = header.integer("header offset", default=0, least=0)
    major, minor = (_frame(header, f"{kind} frame offsets") for kind in ("major", "minor"))
    shape = (lines, samples, bands)
    return Numbers.of(shape, _dtype(header), interleave, offset, major, minor), interleave


def _frame(header: Header, key: str) -> tuple[int, int]:
    """Bytes before and behind a frame; one number is both."""
    words = header.words(key) or ["0"]
    if len(words) > 2 or not all(word.isdecimal() and len(word) < 19 for word in words):
        raise header.wrong(key, "two numbers of bytes", header.text(key))
    return int(words[0]), int(words[-1])


def _dtype(header: Header) -> np.dtype[Any]:
    code = header.word("data type")
    if code not in DATA_TYPES:
        raise header.wrong("data type", f"one of {', '.join(DATA_TYPES)} (real numbers)", code)
    order = header.integer("byte order", default=0, least=0)
    if order > 1:
        raise header.wrong("byte order", "0 or 1", order)
    return np.dtype((">" if order else "<") + DATA_TYPES[code])


def _side_information(raw: RawScene, header: Header) -> None:
    """All that describes the image, each part of it left out with a warning where it is wrong."""
    bands = raw.cube.shape[2]
    raw.wavelengths, raw.fwhm = header.centres_and_widths(bands)
    good = header.numbers("bbl", bands)
    raw.good_bands = None if good is None else good != 0
    if good is not None and not good.any():
        header.warn("`bbl` is left out: it flags every band bad")
        raw.good_bands = None
    names = header.words("band names")
    if len(names) == bands:
        raw.band_names = tuple(names)
    elif names:
        header.warn(f"`band names` is left out: {len(names)} names for {bands} bands")
    raw.ignore_value = header.number("data ignore value")
    default = header.words("default bands")
    if len(default) == 3:
        with contextlib.suppress(ValueError, OverflowError):  # they are a hint for the eye alone
            red, green, blue = (int(float(text)) - 1 for text in default)
            if min(red, green, blue) >= 0 and max(red, green, blue) < bands:
                raw.rgb_bands = (red, green, blue)
    _calibration(raw, header, bands)
    geo = {}
    for key in georeference.FIELDS:
        value = header.fields.get(key)
        if value is not None:
            # A coordinate system's text must come back letter for letter; numbers read better spaced.
            comma = "," if key == "coordinate system string" else ", "
            geo[key] = "{" + comma.join(header.words(key)) + "}" if value[:1] == "{" else value
    raw.geo = geo or None


def _calibration(raw: RawScene, header: Header, bands: int) -> None:
    """What the numbers mean: gains and offsets, or one factor."""
    gains = header.numbers("data gain values", bands)
    offsets = header.numbers("data offset values", bands)
    if gains is not None and not (np.isfinite(gains).all() and (gains != 0).all()):
        header.warn("`data gain values` are left out: one is 0 or infinite")
        gains = None
    if offsets is not None and not np.isfinite(offsets).all():
        header.warn("`data offset values` are left out: one is infinite")
        offsets = None
    raw.gains = None if gains is None or (gains == 1).all() else gains
    raw.offsets = None if offsets is None or (offsets == 0).all() else offsets
    calibrated = raw.gains is not None or raw.offsets is not None
    if not calibrated and "data reflectance gain values" in header.fields:
        header.warn("`data reflectance gain values` are left out: the values are read as they are")
    factor = header.number("reflectance scale factor")
    if factor is not None and not (np.isfinite(factor) and factor > 0):
        header.warn(f"`reflectance scale factor` is left out: {factor:g}")
    elif factor is not None and calibrated:
        if factor != 1:
            header.warn("`reflectance scale factor` is left out: the gains are applied")
    elif factor is not None:
        raw.reflectance_factor = factor
        raw.details["reflectance scale factor"] = repr(factor)
