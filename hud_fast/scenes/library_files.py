"""read_library: spectra from the files that people have them in, as a `Library`.

ENVI spectral libraries (.sli beside .hdr), text (`library_text`), .npy, .mat, .npz, and folders that earlier commands
wrote. What a library raises ends as one error that names the file.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import user_path
from hud_fast._text import listed, printable
from hud_fast.scenes import envi, envi_header, numpy_files, raw_numbers
from hud_fast.scenes.library import Library
from hud_fast.scenes.library_text import DELETED, read_text, to_nm
from hud_fast.scenes.mat import VariableFile, open_mat
from hud_fast.scenes.tables import FWHM_NAMES, WAVELENGTH_NAMES
from hud_fast.scenes.wavelengths import nanometres

TEXT_SUFFIXES = (".csv", ".txt", ".tsv", ".dat", ".asc", ".ascii")
SUFFIXES = (".sli", ".hdr", ".npy", ".mat", ".npz", *TEXT_SUFFIXES)
# Names of the one matrix, where a file has several; in lower case, without underscores.
MATRIX_NAMES = ("endmembers", "spectra", "library", "spectrallibrary", "datalib", "m", "e", "em")
NAMES_NAMES = ("names", "name", "materialnames", "cood", "labels")


def read_library(
    path: str | os.PathLike[str],
    *,
    variable: str | None = None,
) -> Library:
    """Read named spectra.

    Parameters
    ----------
    path
        An ENVI spectral library (.sli or its .hdr); text: a table with one spectrum a column after the wavelengths
        (``wavelength_nm,soil,water``), or one a row after its name, with or without a heading, or an export of the
        ASTER, ECOSTRESS or USGS library or of an ENVI plot; .npy (D, C); .mat and .npz with one matrix of spectra
        (.mat: one a column, as MATLAB's users have them, names not read; .npz: one a row; wavelengths in the file
        decide otherwise);
        or a folder that ``hud-fast unmix``, ``run``, ``fit`` or ``evaluate`` wrote.
    variable : str, optional
        The matrix of a .mat or .npz file that has several.

    Returns
    -------
    Library
        Wavelengths in nm, where the file has them. Spectra are the file's values over ``library.scale``: 100 where it
        says percent, its reflectance scale factor where it states one, else 1.

    Raises
    ------
    FileNotFoundError, OSError
        If a file is missing, truncated or damaged.
    ValueError
        If it holds no spectra, or it is open which of its numbers are spectra.
    TypeError
        If they are not real numbers.

    Warns
    -----
    UserWarning
        If wavelengths without a unit are taken for micrometres, or names that do not fit are left out.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "field.csv"
    >>> _ = path.write_text("wavelength_nm,soil,water\\n450,0.1,0.05\\n550,0.2,0.04\\n")
    >>> read_library(path)
    Library(2 spectra, 2 bands, 450-550 nm: soil, water)
    """
    file = user_path(path)
    if file.is_dir():
        return _of_folder(file)
    if not file.is_file():
        raise FileNotFoundError(
            f"read_library: `path` must be a file or folder of spectra, got {printable(file)}"
        )
    suffix = file.suffix.lower()
    with _told(file):
        if variable is not None and suffix not in (".mat", ".npz"):
            raise ValueError("only .mat and .npz files have variables")
        if suffix in (".sli", ".hdr"):
            return _from_envi(file)
        if suffix == ".npy":
            return Library(_real(numpy_files.read_array(file)))
        if suffix == ".mat":
            return _from_variables(open_mat(file), file, variable)
        if suffix == ".npz":
            return _from_variables(numpy_files.Npz(file), file, variable)
        if suffix in TEXT_SUFFIXES or suffix == "":
            return read_text(file)
        raise ValueError(f"its name must end in one of {', '.join(SUFFIXES)}")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of readers below become one that names this function and the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, MemoryError, csv.Error) as error:
        kinds: tuple[type[Exception], ...] = (MemoryError, OSError, TypeError)
        kind = next((one for one in kinds if isinstance(error, one)), ValueError)
        text = printable(error, 300).removeprefix("load_scene: ").removeprefix("Library: ")
        raise kind(
            f"read_library: `path` must be a file of spectra, got {printable(path)}: {text}"
        ) from error


def _real(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise TypeError(f"it must hold real numbers, got {array.dtype}")
    values = np.asarray(array, dtype=np.float64)
    return np.where(values < DELETED, np.nan, values)


def _from_envi(path: Path) -> Library:
    """SPy parses the header; the numbers are read here, since SPy forgets the header's offset."""
    from spectral.io import envi as spectral_envi

    header_path = envi.find_header(path)
    if header_path is None:
        raise FileNotFoundError(
            f"read_library: `path` must have its ENVI header beside it, got {path} without "
            f"{path.with_suffix('.hdr').name}"
        )
    if header_path.stat().st_size > envi_header.LARGEST_HEADER:
        raise ValueError(f"its header has {header_path.stat().st_size} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fields = spectral_envi.read_envi_header(str(header_path))
    except Exception as error:
        raise ValueError(f"its header is no ENVI header: {printable(error, 100)}") from error
    kind = str(fields.get("file type", ""))
    if "library" not in kind.lower():
        raise ValueError(
            f"its header's file type must be ENVI Spectral Library, got {printable(kind or None, 60)}"
        )
    C, D, bands, order, offset = (
        _whole(fields, key, default)
        for key, default in (
            ("samples", None),
            ("lines", None),
            ("bands", 1),
            ("byte order", 0),
            ("header offset", 0),
        )
    )
    code = str(fields.get("data type", ""))
    if bands != 1 or order > 1 or code not in envi.DATA_TYPES:
        raise ValueError(
            f"its header must have one band, byte order 0 or 1, and a data type of real numbers, got bands = {bands}, "
            f"byte order = {order}, data type = {printable(code, 20) or None}"
        )
    dtype = np.dtype((">" if order else "<") + envi.DATA_TYPES[code])
    data = path if path != header_path else _data_of(header_path)
    need, have = offset + C * D * dtype.itemsize, data.stat().st_size
    if have < need:
        raise OSError(f"{data.name} has {have} bytes where the header asks for {need}")
    values = np.fromfile(data, dtype, C * D, offset=offset).reshape(D, C)
    spectra = _real(values)
    ignored = _list(fields, "data ignore value")
    if ignored and ignored[0].strip().lower() != "nan":
        spectra = np.where(spectra == float(ignored[0]), np.nan, spectra)
    factor = float((_list(fields, "reflectance scale factor") or ["1"])[0])
    if not (np.isfinite(factor) and factor > 0):
        raise ValueError(f"its reflectance scale factor must be above 0, got {factor}")
    unit = str(fields.get("wavelength units", "")) or None
    if unit is not None and unit.strip().lower() in ("unknown", "<unspecified>", "none"):
        unit = None
    centres, widths = (_numbers(fields, key, C) for key in ("wavelength", "fwhm"))
    names = _fitting(tuple(_list(fields, "spectra names")), D, path)
    nm = _lengths(centres, unit)
    fwhm = None
    if widths is not None and nm is not None and centres is not None and (widths > 0).all():
        fwhm = widths * (nm[0] / centres[0])  # in the unit of the centres
    return Library(spectra / factor, names, nm, fwhm, factor)


def _data_of(header: Path) -> Path:
    """.sli first: a scene may stand beside it under the same name."""
    for suffix in (".sli", ".SLI"):
        if header.with_suffix(suffix).is_file():
            return header.with_suffix(suffix)
    there = raw_numbers.candidates(header)
    if not there:
        raise FileNotFoundError(
            f"read_library: `path` must have its data file beside the header, got {header} alone"
        )
    return there[0]


def _whole(fields: dict[str, Any], key: str, default: int | None) -> int:
    text = str(fields.get(key, "" if default is None else default)).strip()
    if not text.isdigit() or (default is None and int(text) < 1) or len(text) > 12:
        raise ValueError(
            f"`{key}` in its header must be a whole number, got {printable(text, 40) or None}"
        )
    return int(text)


def _list(fields: dict[str, Any], key: str) -> list[str]:
    value = fields.get(key)
    if value is None:
        return []
    return [str(one).strip() for one in (value if isinstance(value, list) else [value])]


def _numbers(fields: dict[str, Any], key: str, count: int) -> NDArray[np.float64] | None:
    texts = [text for text in _list(fields, key) if text]
    if not texts:
        return None
    if len(texts) != count:
        raise ValueError(f"`{key}` in its header must hold {count} numbers, got {len(texts)}")
    return np.array([float(text) for text in texts])


def _lengths(values: NDArray[np.float64] | None, unit: str | None) -> NDArray[np.float64] | None:
    """In nm, by the unit or, with a word about it, by size."""
    if values is None:
        return None
    return to_nm(values, "") if unit is None else nanometres(values, unit)


def _fitting(names: tuple[str, ...], count: int, path: Path) -> tuple[str, ...]:
    if names and len(names) != count:
        warnings.warn(
            f"read_library: the {len(names)} names in {printable(path)} are left out, it has {count} spectra (a name "
            "with a comma counts as two)",
            UserWarning,
            stacklevel=3,
        )
        return ()
    return names


def _from_variables(file: VariableFile, path: Path, variable: str | None) -> Library:
    """The one matrix of a .mat or .npz file, with wavelengths and names where they are there."""
    if isinstance(file, numpy_files.Npz) and file.is_ours and variable is None:
        return _of_own_scene(file)
    plain = {name.lower().replace("_", ""): name for name in file.shapes}
    beside = {
        plain[name] for name in (*WAVELENGTH_NAMES, *FWHM_NAMES, *NAMES_NAMES) if name in plain
    }
    matrices = [n for n, s in file.shapes.items() if len(s) == 2 and min(s) > 0 and n not in beside]
    if len([n for n in matrices if min(file.shapes[n]) > 1]) > 0:
        matrices = [n for n in matrices if min(file.shapes[n]) > 1]
    if variable is None and len(matrices) > 1:
        known = [plain[name] for name in MATRIX_NAMES if plain.get(name) in matrices]
        matrices = known[:1] or matrices
    if variable is not None:
        matrices = [n for n in file.shapes if n == variable and len(file.shapes[n]) == 2]
    if len(matrices) != 1:
        shown = listed(
            f"{printable(n, 40)} {'x'.join(map(str, s))}" for n, s in file.shapes.items()
        )
        raise ValueError(
            f"it must hold one matrix of spectra, or variable= name it, got {shown or 'no numbers'}"
        )
    values = _real(file.read(matrices[0]))
    centres = next((file.read(plain[n]).ravel() for n in WAVELENGTH_NAMES if n in plain), None)
    in_columns = file.column_major
    if centres is not None and values.shape.count(len(centres)) == 1:
        in_columns = values.shape[0] == len(centres)
    spectra = values.T if in_columns else values
    D, C = spectra.shape
    nm = None
    if centres is not None and len(centres) == C:
        nm = to_nm(centres.astype(np.float64), "")
    return Library(spectra, _fitting(_names_of(file), D, path), nm)


def _names_of(file: VariableFile) -> tuple[str, ...]:
    """Names in an array of text, or in a matrix of letters' numbers."""
    plain = {n.lower().replace("_", ""): n for n in (*file.shapes, *file.others)}
    name = next((plain[n] for n in NAMES_NAMES if n in plain), None)
    if name is None:
        return ()
    if isinstance(file, numpy_files.Npz):
        if not file.others.get(name, "").startswith("<U"):
            return ()
        return tuple(str(word) for word in file.read(name).ravel())
    # A matrix of letters' numbers, a row a name. MATLAB's own texts are left: scipy crashes on damaged ones.
    if name not in file.shapes or len(file.shapes[name]) != 2:
        return ()
    codes = file.read(name)
    if codes.dtype.kind not in "iu" and not (codes == np.rint(codes)).all():
        return ()
    if codes.size and not (codes.min() >= 0 and codes.max() < 0x10000):
        return ()
    return tuple("".join(map(chr, row)).strip("\0 ") for row in codes.astype(int).tolist())


def _of_own_scene(file: numpy_files.Npz) -> Library:
    """The endmembers that a simulated scene was made of."""
    if "truth_endmembers" not in file.shapes:
        raise ValueError("it is a scene, and none with known endmembers")
    centres = file.read("wavelengths") if "wavelengths" in file.shapes else None
    return Library(_real(file.read("truth_endmembers")), (), centres)


def _of_folder(folder: Path) -> Library:
    """What an earlier command left: endmembers.csv, or the endmembers of a saved model."""
    table = folder / "endmembers.csv"
    if table.is_file():
        return read_library(table)
    for model in (folder, folder / "model"):
        if (model / "statistics.safetensors").is_file():
            with _told(model):
                return _of_model(model)
    own = sorted(folder.glob("*.sli"))
    if len(own) == 1:
        return read_library(own[0])
    raise FileNotFoundError(
        f"read_library: `path` must be a folder with endmembers.csv, a model, or one .sli file, got {folder} with "
        f"{listed(sorted(p.name for p in folder.iterdir())) or 'nothing'}"
    )


def _of_model(folder: Path) -> Library:
    from safetensors import SafetensorError, safe_open

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        with safe_open(str(folder / "statistics.safetensors"), "numpy") as file:
            there = set(file.keys())
            spectra = file.get_tensor("endmembers")
            centres = file.get_tensor("wavelengths") if "wavelengths" in there else None
    except (SafetensorError, ValueError) as error:
        raise OSError(f"it is damaged ({printable(error, 200)})") from error
    if not isinstance(config, dict) or config.get("format") != "hud_fast model":
        raise ValueError("its config.json is not that of a model")
    return Library(_real(spectra), (), centres)
