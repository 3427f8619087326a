"""ENVI files: a text header (.hdr) beside a file of raw numbers in BSQ, BIL or BIP order.

The header is parsed and written by the spectral package; the numbers are mapped and copied once, straight
into a band-last float32 cube. Kept both ways: wavelengths and their unit, fwhm, bad-band list (bbl), data
ignore value, default bands, reflectance scale factor, map info and its relatives, byte order, interleave.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import printable
from hud_fast.scenes import georeference
from hud_fast.scenes.raw import RawScene, Request, nanometres
from hud_fast.scenes.trust import check_memory

DATA_SUFFIXES = (".img", ".dat", ".bil", ".bip", ".bsq", ".raw", ".bin", ".hyspex", ".sli")
DATA_TYPES = {
    "1": "u1", "2": "i2", "3": "i4", "4": "f4", "5": "f8", "12": "u2", "13": "u4", "14": "i8", "15": "u8"
}  # fmt: skip
CODES = {np.dtype(name): code for code, name in DATA_TYPES.items()}
# Axes of the file, slowest first.
INTERLEAVES = {"bsq": "CHW", "bil": "HCW", "bip": "HWC"}
# Of a header; those of imaging spectrometers have up to some 100 kB. Its parser takes the square of the lines in time.
LARGEST_HEADER = 1 << 20  # bytes
MOST_LINES = 20_000


def find_header(path: Path) -> Path | None:
    """The header of an ENVI data file (scene.img: scene.hdr or scene.img.hdr); a header is its own."""
    if path.suffix.lower() == ".hdr":
        return path
    for candidate in (path.with_suffix(".hdr"), path.with_name(path.name + ".hdr")):
        for name in (candidate, candidate.with_suffix(".HDR")):
            if name.is_file():
                return name
    return None


def existing_data(header: Path, interleave: str = "bil") -> Path | None:
    """The data file that belongs to a header: same name, without suffix or with one of the usual ones."""
    stem = header.with_suffix("")
    suffixes = ["", *DATA_SUFFIXES, f".{interleave}"]
    tried = [stem.with_name(stem.name + s) for suffix in suffixes for s in (suffix, suffix.upper())]
    return next((name for name in tried if name.is_file()), None)


def find_data(header: Path, interleave: str) -> Path:
    """The data file of a header, which must exist."""
    found = existing_data(header, interleave)
    if found is None:
        raise FileNotFoundError(
            f"load_scene: `path` must have its data file beside the header, got {header} alone; looked for "
            f"{header.stem} with the suffixes (none), {', '.join(DATA_SUFFIXES)}"
        )
    return found


def read_envi(path: Path, request: Request) -> RawScene:  # noqa: ARG001  # as every reader
    """The cube of an ENVI header (or of the data file beside it), memory-mapped, with what the header says.

    Raises
    ------
    FileNotFoundError
        If the header or the data file is missing.
    OSError
        If the data file is shorter than the header says.
    ValueError
        If the header is not an ENVI header of an image, or contradicts itself.
    """
    header_path = find_header(path)
    if header_path is None:
        raise FileNotFoundError(
            f"load_scene: `path` must have its ENVI header beside it, got {path} without "
            f"{path.with_suffix('.hdr').name}"
        )
    header = _parse(header_path)
    given = path if path != header_path else None
    lines, samples, bands = (
        _integer(header, header_path, key) for key in ("lines", "samples", "bands")
    )
    interleave = str(header.get("interleave", "bsq")).lower()
    if interleave not in INTERLEAVES:
        raise _wrong(header_path, "interleave", "bsq, bil or bip", interleave)
    dtype = _dtype(header, header_path)
    data = given or find_data(header_path, interleave)
    if _text(header, "file compression") not in ("", "0"):
        raise _wrong(header_path, "file compression", "0 (unzip the data file)", "1")
    offset = _integer(header, header_path, "header offset", default=0, least=0)
    need = offset + lines * samples * bands * dtype.itemsize
    have = data.stat().st_size
    if have < need:
        raise OSError(
            f"load_scene: `path` must have all its data, got {data} with {have} bytes where the header "
            f"asks for {need} ({lines} lines x {samples} samples x {bands} bands of {dtype.name})"
        )
    check_memory(data, 4 * lines * samples * bands)
    axes = INTERLEAVES[interleave]
    sizes = {"H": lines, "W": samples, "C": bands}
    values: NDArray[Any] = np.memmap(
        data, dtype, mode="r", offset=offset, shape=tuple(sizes[axis] for axis in axes)
    )
    cube = values.transpose([axes.index(axis) for axis in "HWC"])
    raw = RawScene(cube=cube, format="envi", dtype=dtype)
    _side_information(raw, header, header_path, bands)
    raw.details = {"interleave": interleave, "data suffix": data.suffix}
    if unit := _text(header, "wavelength units"):
        raw.details["wavelength units"] = unit
    return raw


def _parse(path: Path) -> dict[str, Any]:
    """The header's fields, keys in lower case; lists as lists of str."""
    from spectral.io import envi

    with path.open("rb") as file:
        text = file.read(LARGEST_HEADER + 1)
    lines = text.count(b"\n") + text.count(b"\r")  # each begins one in Python's text files
    if len(text) > LARGEST_HEADER or lines > MOST_LINES:
        raise ValueError(
            f"load_scene: `path` must be an ENVI header, up to {LARGEST_HEADER} bytes and {MOST_LINES} lines, "
            f"got {path} of {path.stat().st_size} bytes"
        )
    try:
        with warnings.catch_warnings():  # it warns of capital letters in keys, which are harmless
            warnings.simplefilter("ignore")
            header = envi.read_envi_header(str(path))
    except (envi.EnviException, envi.InvalidFileError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(
            f"load_scene: `path` must be an ENVI header (its first line is ENVI), got {path}"
        ) from error
    fields = {" ".join(str(key).lower().split()): value for key, value in header.items()}
    kind = str(fields.get("file type", "")).lower()
    if "library" in kind or "classification" in kind:
        raise ValueError(
            f"load_scene: `path` must be an ENVI image, got {path} of type {printable(kind, 60)}"
        )
    return fields


def _wrong(path: Path, field: str, expected: str, got: object) -> ValueError:
    return ValueError(
        f"load_scene: `{field}` must be {expected}, got {printable(repr(got), 60)} in {path}"
    )


def _text(header: dict[str, Any], key: str) -> str:
    value = header.get(key, "")
    return ", ".join(value) if isinstance(value, list) else str(value).strip()


def _integer(
    header: dict[str, Any], path: Path, key: str, default: int | None = None, least: int = 1
) -> int:
    text = _text(header, key)
    if not text and default is not None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise _wrong(path, key, "a whole number", text or None) from None
    if value < least:
        raise _wrong(path, key, f"{least} or more", value)
    if value >= 1 << 63:
        raise _wrong(path, key, "below 2**63", f"a number of {len(text)} digits")
    return value


def _number(header: dict[str, Any], path: Path, key: str) -> float | None:
    text = _text(header, key)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise _wrong(path, key, "a number", text) from None


def _dtype(header: dict[str, Any], path: Path) -> np.dtype[Any]:
    code = _text(header, "data type")
    if code not in DATA_TYPES:
        raise _wrong(path, "data type", f"one of {', '.join(DATA_TYPES)} (real numbers)", code)
    order = _integer(header, path, "byte order", default=0, least=0)
    if order > 1:
        raise _wrong(path, "byte order", "0 or 1", order)
    return np.dtype((">" if order else "<") + DATA_TYPES[code])


def _list(header: dict[str, Any], path: Path, key: str, bands: int) -> NDArray[np.float64] | None:
    """A list of one number a band."""
    value = header.get(key)
    if value is None:
        return None
    texts = [text for text in (value if isinstance(value, list) else [value]) if text.strip()]
    if len(texts) != bands:
        raise _wrong(path, key, f"a list of {bands} numbers, one a band", f"{len(texts)} of them")
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        raise _wrong(path, key, "a list of numbers", value) from None


def _side_information(raw: RawScene, header: dict[str, Any], path: Path, bands: int) -> None:
    unit = _text(header, "wavelength units") or None
    centres = _list(header, path, "wavelength", bands)
    if centres is not None:
        raw.wavelengths = nanometres(centres, unit)
    widths = _list(header, path, "fwhm", bands)
    wavenumbers = (unit or "").lower().startswith("wavenumber") or (unit or "").lower() == "cm-1"
    if widths is not None and raw.wavelengths is not None and not wavenumbers:
        # Without a unit, widths follow the centres: 0.01 is um where the centres are below 100.
        in_um = unit is None and centres is not None and centres.max() < 100.0
        raw.fwhm = nanometres(widths, "um" if in_um else unit or "nm")
    good = _list(header, path, "bbl", bands)
    raw.good_bands = None if good is None else good != 0
    raw.ignore_value = _number(header, path, "data ignore value")
    raw.reflectance_factor = _number(header, path, "reflectance scale factor")
    default = header.get("default bands")
    if isinstance(default, list) and len(default) == 3:
        with contextlib.suppress(ValueError, OverflowError):  # they are a hint for the eye alone
            red, green, blue = (int(float(text)) - 1 for text in default)
            if min(red, green, blue) >= 0 and max(red, green, blue) < bands:
                raw.rgb_bands = (red, green, blue)
    geo = {}
    for key in georeference.FIELDS:
        value = header.get(key)
        if value is not None:
            # A coordinate system's text must come back letter for letter; numbers read better spaced.
            comma = "," if key == "coordinate system string" else ", "
            geo[key] = "{" + comma.join(value) + "}" if isinstance(value, list) else str(value)
    raw.geo = geo or None
