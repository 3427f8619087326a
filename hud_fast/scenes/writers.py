"""The writers behind `save_scene`, but for GeoTIFF's. Each writes whole files only, through `hud_fast._files`."""

from __future__ import annotations

import contextlib
import json
import locale
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_path, atomic_write
from hud_fast._text import printable
from hud_fast.scenes import envi, mat_hdf5, mat_v5, numpy_files, raw_numbers, values
from hud_fast.scenes.scene import Scene

V5_LARGEST = 2**31 - 1  # bytes in one variable
ROWS_A_BLOCK = 64


@dataclass(frozen=True)
class Options:
    """How a file is to be written."""

    dtype: np.dtype[Any]
    variable: str
    interleave: str
    byte_order: str
    version: str


def _values(scene: Scene, dtype: np.dtype[Any], fill: float | None) -> NDArray[Any]:  # (H, W, C)
    return values.file_values(scene.cube, scene.valid, scene.scale, dtype, fill)


def write_npy(scene: Scene, path: Path, options: Options) -> Path:
    """The cube alone; masked pixels get the scene's no-data value if it has one."""
    array = _values(scene, options.dtype, scene.ignore_value)
    with atomic_write(path) as file:
        # Not write_array: its error on a full disk is a count of bytes without a reason.
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)
    return path


def write_npz(scene: Scene, path: Path, options: Options) -> Path:
    """Every field of the scene."""
    arrays: dict[str, NDArray[Any]] = {
        numpy_files.OURS: np.array(numpy_files.VERSION),
        "cube": _values(scene, options.dtype, scene.ignore_value),
    }
    for field in ("wavelengths", "fwhm", "good_bands", "mask", "labels"):
        value = getattr(scene, field)
        if value is not None:
            arrays[field] = value
    if scene.truth is not None:
        arrays["truth_endmembers"] = scene.truth.endmembers
        arrays["truth_abundances"] = scene.truth.abundances
    facts = {
        "name": scene.name,
        "scale": scene.scale,
        "variable": scene.variable,
        "ignore_value": scene.ignore_value,
        "label_names": scene.label_names,
        "rgb_bands": scene.rgb_bands,
        "geo": None if scene.geo is None else dict(scene.geo),
        "simulated": scene.simulated,
        "endmember_count": scene.endmember_count,
        "zeros_are_data": scene.zeros_are_data or None,
        "band_names": scene.band_names,
        "reflectance_factor": _factor(scene),
    }
    arrays["facts"] = np.array(json.dumps(facts))
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub has no room for **
    return path


def _factor(scene: Scene) -> float | None:
    """The reflectance scale factor of the file that the scene came from."""
    text = scene.details.get("reflectance scale factor")
    return None if text is None else float(text)


def is_matlab_name(name: str) -> bool:
    """Can a variable of MATLAB be called so?"""
    return name.isidentifier() and name.isascii() and name[0] != "_" and len(name) <= 63


def write_mat(scene: Scene, path: Path, options: Options) -> Path:
    """The cube under its name, in its layout, with wavelengths (nm), bbl, mask, labels and their names beside it."""
    name = options.variable
    cube = _values(scene, options.dtype.newbyteorder("="), scene.ignore_value)
    content: dict[str, NDArray[Any]] = {}
    layout = scene.details.get("layout", "HWC") if scene.format == "mat" else "HWC"
    if layout in ("CP", "PC"):
        matrix = cube.transpose(1, 0, 2).reshape(-1, scene.C)  # pixels column by column
        content[name] = matrix.T if layout == "CP" else matrix
        content["nRow"], content["nCol"] = np.array([[scene.H]]), np.array([[scene.W]])
        content["nBand"] = np.array([[scene.C]])
    else:
        content[name] = cube.transpose(["HWC".index(axis) for axis in layout])
    beside: dict[str, NDArray[Any] | None] = {
        "wavelengths": scene.wavelengths,
        "fwhm": scene.fwhm,
        "bbl": None if scene.good_bands is None else scene.good_bands.astype(np.uint8),
        "mask": None if scene.mask is None else scene.mask.astype(np.uint8),
        "labels": scene.labels,
        "label_names": None if scene.labels is None else label_texts(scene.label_names),
    }
    content.update({n: v for n, v in beside.items() if v is not None and n not in content})
    with atomic_path(path) as temporary:
        if options.version == "7.3" or cube.nbytes > V5_LARGEST:
            write_hdf5(temporary, content)
        else:
            mat_v5.write_v5(temporary, content)
    return path


def label_texts(names: Sequence[str] | None) -> NDArray[np.str_] | None:
    """The names of classes as an array; None where there are none."""
    return np.array(names, np.str_) if names else None


def write_hdf5(path: Path, content: dict[str, NDArray[Any]]) -> None:
    """A MATLAB v7.3 file: arrays are turned round."""
    with hdf5_file(path) as file, hdf5_errors():
        for name, array in content.items():
            hdf5_whole(file, name, array)


def hdf5_whole(file: Any, name: str, values_: NDArray[Any]) -> None:
    """A variable with its values: numbers, or lines of text."""
    is_text = values_.dtype.kind == "U"
    array = mat_v5.letters(values_) if is_text else np.atleast_2d(values_)
    item = hdf5_array(file, name, array.shape, array.dtype, data=array.T)
    if is_text:
        item.attrs[mat_hdf5.MATLAB_ATTRIBUTE] = np.bytes_("char")
        item.attrs["MATLAB_int_decode"] = np.int32(2)


@contextlib.contextmanager
def hdf5_file(path: Path) -> Iterator[Any]:
    """A MATLAB v7.3 file to put arrays into: HDF5 after MATLAB's 512 bytes of header."""
    import h5py

    file = h5py.File(path, "w", userblock_size=512)
    try:
        yield file
    except BaseException:
        with contextlib.suppress(Exception):
            file.close()
        raise
    with hdf5_errors():
        file.close()
    text = b"MATLAB 7.3 MAT-file, Platform: hud_fast, HDF5 schema 1.00 ."
    with path.open("r+b") as start:
        start.write(text.ljust(116) + bytes(8) + b"\x00\x02IM")


@contextlib.contextmanager
def hdf5_errors() -> Iterator[None]:
    """h5py's way to say that a flush failed is a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"the file could not be written: {error}") from error


def hdf5_array(
    file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], **how: Any
) -> Any:
    """A variable of this shape in MATLAB's order of axes; the dataset has them turned round."""
    item = file.create_dataset(
        name,
        shape=shape[::-1],
        dtype=dtype,
        compression="gzip",
        compression_opts=1,
        shuffle=True,
        **how,
    )
    item.attrs[mat_hdf5.MATLAB_ATTRIBUTE] = np.bytes_(_matlab_class(dtype))
    return item


def _matlab_class(dtype: np.dtype[Any]) -> str:
    return {"float64": "double", "float32": "single"}.get(dtype.name, dtype.name)


def write_envi(scene: Scene, path: Path, options: Options) -> Path:
    """The header and, beside it, the numbers."""
    data, header_path = _envi_names(scene, path)
    dtype = options.dtype.newbyteorder(">" if options.byte_order == "big" else "<")
    ignore = scene.ignore_value
    if ignore is None and not scene.valid.all():
        zeros = not scene.cube[~scene.valid].any()
        ignore = 0.0 if zeros else values.default_ignore_value(options.dtype)
    calibrated = values.keeps_gains(scene, dtype)
    cube = values.file_values(
        scene.cube,
        scene.valid,
        scene.scale,
        dtype,
        ignore,
        gains=scene.gains if calibrated else None,
        offsets=scene.offsets if calibrated else None,
    )
    axes = envi.INTERLEAVES[options.interleave]
    view = cube.transpose(["HWC".index(axis) for axis in axes])
    fields = envi_fields(scene, options, ignore)
    # The header is renamed last: while it is missing, no reader takes the data for a scene.
    with atomic_path(header_path) as new_header:
        write_header(new_header, fields)
        with atomic_write(data) as file:
            for start in range(0, len(view), ROWS_A_BLOCK):
                file.write(np.ascontiguousarray(view[start : start + ROWS_A_BLOCK]).data)
    return header_path


def _envi_names(scene: Scene, path: Path) -> tuple[Path, Path]:
    """Data file and header of this name; the data's suffix is the one asked for, or the scene's.

    A file that readers would take for the data, or could not tell from it, must not be left beside a new header: the
    data of an old header is replaced, anything else is not ours to touch.
    """
    if path.suffix.lower() == ".hdr":
        header = path
        data = path.with_name(path.stem + scene.details.get("data suffix", ".img"))
    else:
        header, data = path.with_suffix(".hdr"), path
    there = raw_numbers.candidates(header)
    others = [name for name in there if name != data]
    if not others:
        return data, header
    if len(there) == 1 and header == path and header.exists():
        return there[0], header
    raise FileExistsError(
        f"{others[0].name} lies beside it and would be read instead, or could not be told from it (remove it, or "
        "choose another name)"
    )


def envi_fields(scene: Scene, options: Options, ignore: float | None) -> dict[str, Any]:
    """What the header says."""
    kind = "simulated scene" if scene.simulated else "scene"
    fields: dict[str, Any] = {
        "description": f"{kind} {plain(scene.name)}, written by hud_fast",
        "samples": scene.W,
        "lines": scene.H,
        "bands": scene.C,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": envi.CODES[options.dtype.newbyteorder("=")],
        "interleave": options.interleave,
        "byte order": int(options.byte_order == "big"),
    }
    calibrated = values.keeps_gains(scene, options.dtype)
    if calibrated:  # both, as some readers look for one when they find the other
        gains = np.ones(scene.C) if scene.gains is None else scene.gains
        offsets = np.zeros(scene.C) if scene.offsets is None else scene.offsets
        fields["data gain values"] = [repr(float(gain)) for gain in gains]
        fields["data offset values"] = [repr(float(offset)) for offset in offsets]
    factor = scene.details.get("reflectance scale factor")
    if factor is None and scene.scale != 1.0:
        factor = repr(scene.scale)
    if factor is not None and not calibrated:
        fields["reflectance scale factor"] = factor
    if ignore is not None:
        whole = options.dtype.kind in "iu" and float(ignore).is_integer()
        fields["data ignore value"] = str(int(ignore)) if whole else repr(float(ignore))
    unit = scene.details.get("wavelength units", "Nanometers")
    micro = unit.lower() in ("micrometers", "micrometres", "microns", "um")
    for key, lengths in (("wavelength", scene.wavelengths), ("fwhm", scene.fwhm)):
        if lengths is not None:
            fields["wavelength units"] = unit if micro else "Nanometers"
            fields[key] = _listed(lengths * (1e-3 if micro else 1.0))
    if scene.band_names is not None:
        fields["band names"] = [plain(name) for name in scene.band_names]
    if scene.good_bands is not None:
        fields["bbl"] = [int(good) for good in scene.good_bands]
    if scene.rgb_bands is not None:
        fields["default bands"] = [band + 1 for band in scene.rgb_bands]
    for key, value in (
        scene.geo or {}
    ).items():  # each one field, of one line, that overrules nothing
        text = printable(value).strip()
        closed = not text.startswith("{") or text.endswith("}")
        fields.setdefault(printable(key).replace("=", " "), text if closed else text + "}")
    return fields


def plain(name: str) -> str:
    """A name without what a header takes for the end of a value or the next one's beginning."""
    return name.translate(str.maketrans("{}=", "()-")).strip()


def _listed(numbers: NDArray[np.float64]) -> list[str]:
    return [f"{number:.12g}" for number in numbers]


def write_header(path: Path, fields: dict[str, Any]) -> None:
    """Write it, and wait until it is on the disk."""
    from spectral.io import envi as spectral_envi

    # It writes in the locale's encoding: a letter of the scene's name that this lacks must not end the writing.
    code = locale.getpreferredencoding(do_setlocale=False)

    def known(value: Any) -> Any:
        if isinstance(value, list):
            return [known(one) for one in value]
        return value.encode(code, "replace").decode(code) if isinstance(value, str) else value

    words = {key: known(value) for key, value in fields.items()}
    spectral_envi.write_envi_header(str(path), words)
    with path.open("rb+") as file:
        os.fsync(file.fileno())
