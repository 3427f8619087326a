"""load_scene: from a file or a catalogue name to a Scene. The readers find; here it is put together."""

from __future__ import annotations

import operator
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import user_path
from hud_fast._text import printable
from hud_fast.scenes import checks, envi, mat, numpy_files, side_files, tables, trust
from hud_fast.scenes.catalogue import Entry, File, find_entry, is_name, recognise
from hud_fast.scenes.fetch import fetch
from hud_fast.scenes.layout import check_layout
from hud_fast.scenes.raw import RawScene, float_cube, nanometres
from hud_fast.scenes.scene import Scene
from hud_fast.scenes.side_files import Side

SUFFIXES = (".mat", ".hdr", ".npy", ".npz", *envi.DATA_SUFFIXES)


@dataclass(frozen=True)
class _Request:
    """How the user wants the file read."""

    variable: str | None
    layout: str | None
    shape: tuple[int, int] | None
    bands: int | None


def load_scene(
    path_or_name: str | os.PathLike[str],
    *,
    variable: str | None = None,
    layout: str | None = None,
    shape: tuple[int, int] | None = None,
    wavelengths: Side = None,  # (C,)
    good_bands: Side = None,  # (C,)
    mask: Side = None,  # (H, W)
    labels: Side = None,  # (H, W)
    rgb_bands: tuple[int, int, int] | None = None,
    scale: float | Literal["auto"] | None = None,
    name: str | None = None,
) -> Scene:
    """Load a scene.

    Parameters
    ----------
    path_or_name
        A .mat file (v4, v5, v7.3), an ENVI header or its data file, a .npy or .npz file; or a name of the
        catalogue ("indian-pines", ...), which is fetched.
    variable
        The variable that holds the cube, where a file has several.
    layout
        Order of the axes: "HWC", "CHW", ... or, with `shape`, "CP" (bands x pixels) or "PC". Pixels run
        column by column in a .mat file and row by row in a NumPy file. Needed only where the file leaves
        it open.
    shape : (H, W), optional
        Image size, for "CP" and "PC".
    wavelengths
        Band centres in nm (micrometres are recognised by being below 100). This and the next three may also
        be a file: .npy, .mat with one fitting variable, or text with one number a line.
    good_bands, mask, labels
        As in `Scene`; `mask` is joined with what the file masks, and with the altered pixels that the catalogue knows
        of.
    rgb_bands
        0-based bands to show as red, green, blue.
    scale
        The cube is the file's values over this one number. None = the file's values; "auto" = ENVI's
        reflectance scale factor, or the largest valid value.
    name
        What reports call the scene; by default the catalogue's name, or the file's.

    Returns
    -------
    Scene

    Raises
    ------
    FileNotFoundError, OSError
        If a file is missing, empty, truncated, damaged, or made to do harm; if a catalogue scene has altered pixels
        and the file that says which cannot be had. Nothing but what it holds itself
        is read, no pickle and no link to another file; an array may have 1,100 bytes for each byte of the
        file.
    MemoryError
        If the scene does not fit into the memory that is free (told before it is taken).
    ValueError
        If it holds no cube, or several; if axes, sizes or counts do not fit; if no pixel is valid.
    TypeError
        If the values are not real numbers.

    Warns
    -----
    UserWarning
        If a scene with altered pixels is given by its path, without mask, and the file that says which is not at hand.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "field.npy"
    >>> np.save(path, np.ones((4, 5, 3), np.uint16))
    >>> load_scene(path, wavelengths=[0.45, 0.55, 0.65])
    Scene('field', 4 x 5 pixels, 3 bands, 450-650 nm)
    """
    layout = check_layout("load_scene", layout)
    shape = _image_shape(shape)
    centres = side_files.vector("wavelengths", wavelengths)
    path, entry = _resolve(path_or_name)
    if entry is not None and variable is None:
        variable = entry.cube.variable
    bands = None if centres is None else int(centres.size)
    with trust.whole(path):
        raw = _read(path, _Request(variable, layout, shape, bands))
    if 0 in raw.cube.shape:
        raise ValueError(f"load_scene: `path` must hold a pixel, got {raw.cube.shape} in {path}")
    trust.check_memory(path, 4 * raw.cube.size)
    if entry is not None and raw.cube.shape != entry.shape:
        raise ValueError(
            f"load_scene: `path_or_name` {entry.key} must have shape {entry.shape}, "
            f"got {raw.cube.shape} in {path}"
        )
    if centres is not None:
        raw.wavelengths = nanometres(centres)
        if raw.wavelengths is None:  # negative or missing ones: let the check say which
            raw.wavelengths = centres
    raw.good_bands = (
        raw.good_bands if good_bands is None else side_files.vector("good_bands", good_bands)
    )
    raw.labels = raw.labels if labels is None else side_files.matrix("labels", labels)
    raw.rgb_bands = raw.rgb_bands if rgb_bands is None else rgb_bands
    known = entry or recognise(raw.variable, raw.cube.shape)
    _add_what_is_known(raw, known, path)
    if known is not None and known.altered is not None:
        _mask_altered(
            raw, known, known.altered, path, needed=entry is not None, masked=mask is not None
        )
    if name is not None:
        raw.fields["name"] = name
    with trust.named(path):
        stored_scale = checks.positive("load_scene", "scale", raw.fields.pop("scale", 1.0))
    with trust.named(path):
        scene = _checked_scene(raw, path, side_files.matrix("mask", mask))
    return _scaled(scene, scale, raw.reflectance_factor, stored_scale)


def _image_shape(shape: tuple[int, int] | None) -> tuple[int, int] | None:
    if shape is None:
        return None
    try:
        height, width = (operator.index(size) for size in shape)
    except (TypeError, ValueError):
        raise TypeError(f"load_scene: `shape` must be (H, W), got {shape!r}") from None
    if min(height, width) < 1:
        raise ValueError(f"load_scene: `shape` must be (H, W), both 1 or more, got {shape!r}")
    return height, width


def _resolve(path_or_name: str | os.PathLike[str]) -> tuple[Path, Entry | None]:
    """The file to read; with its entry, if a catalogue name was given."""
    path = user_path(path_or_name)
    text = str(path_or_name)
    try:
        there = path.exists() and not path.is_dir()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise type(error)(
            f"load_scene: `path_or_name` must be a file that can be read, got {printable(text, 200)}: "
            f"{error.strerror}"
        ) from error
    if there:
        trust.check_regular(path)
        if path.stat().st_size == 0:
            raise OSError(
                f"load_scene: `path_or_name` must be a file with data, got {path}: 0 bytes"
            )
        return path, None
    known = is_name(text)  # a folder of the same name does not hide it
    if path.is_dir() and not known:
        raise IsADirectoryError(f"load_scene: `path_or_name` must be a file, got the folder {path}")
    looks_like_file = isinstance(path_or_name, os.PathLike) or os.sep in text or path.suffix != ""
    if looks_like_file and not known:
        raise FileNotFoundError(
            f"load_scene: `path_or_name` must be an existing file or a catalogue name, got {text}"
        )
    entry = find_entry(text, "load_scene", "path_or_name", "an existing file or ")
    return fetch(entry.key), entry


def _read(path: Path, request: _Request) -> RawScene:
    """The reader for this kind of file."""
    suffix = path.suffix.lower()
    if suffix in (".mat", ".npz"):
        file = mat.open_mat(path) if suffix == ".mat" else numpy_files.Npz(path)
        if isinstance(file, numpy_files.Npz) and file.is_ours and request.variable is None:
            check_request(path, "npz that hud_fast wrote", request)
            return numpy_files.read_own_npz(file)
        check_request(path, file.format, request)
        return tables.read_table(
            file, path, request.variable, request.layout, request.shape, request.bands
        )
    if suffix == ".npy":
        check_request(path, "npy", request)
        return numpy_files.read_npy(path, request.layout, request.shape, request.bands)
    if suffix == ".hdr" or suffix in envi.DATA_SUFFIXES or envi.find_header(path) is not None:
        check_request(path, "envi", request)
        return envi.read_envi(path)
    raise ValueError(
        f"load_scene: `path_or_name` must end in one of {', '.join(SUFFIXES)} (or have an ENVI header "
        f"beside it), got {path}"
    )


# What a file of each kind leaves to the user.
USES = {
    "mat": ("variable", "layout", "shape"),
    "npz": ("variable", "layout", "shape"),
    "npy": ("layout", "shape"),
    "envi": (),
    "npz that hud_fast wrote": (),
}


def check_request(path: Path, kind: str, request: _Request) -> None:
    """Refuse what cannot apply to a file of this `kind`: left unheard, it would look as if it had been followed."""
    for name in ("variable", "layout", "shape"):
        value = getattr(request, name)
        if value is not None and name not in USES[kind]:
            raise ValueError(
                f"load_scene: `{name}` must not be given for a file of the kind {kind}, got {value!r} for "
                f"{path}"
            )


def _add_what_is_known(raw: RawScene, entry: Entry | None, path: Path) -> None:
    """Fill in from the catalogue what the file leaves open; a name from the file's, at least."""
    if entry is not None:
        raw.fields.setdefault("name", entry.key)
        raw.fields.setdefault("endmember_count", entry.endmembers)
        if raw.wavelengths is None and entry.wavelengths is not None:
            raw.wavelengths = entry.wavelengths()
        raw.rgb_bands = raw.rgb_bands or entry.rgb_bands
        if raw.labels is None and entry.labels is not None:
            raw.labels = side_files.beside(path, entry.labels, entry.shape[:2], "labels")
        if raw.labels is not None and entry.label_names is not None:
            raw.fields.setdefault("label_names", entry.label_names)
    raw.fields.setdefault("name", path.stem)


def _mask_altered(
    raw: RawScene, entry: Entry, altered: File, path: Path, *, needed: bool, masked: bool
) -> None:
    """Mask the pixels that are not the sensor's. Not known which: an error if `needed`, else a warning.

    A mask in the file or (`masked`) from the user may hold them already: then no warning.
    """
    found = side_files.beside(path, altered, entry.shape[:2], "altered pixels")
    if found is not None:
        own = checks.flags("load_scene", "mask", raw.mask, entry.shape[:2])
        raw.mask = found == 0 if own is None else own & (found == 0)
        return
    message = (
        f"load_scene: pixels of {entry.title} are altered, {altered.name} beside {path} must say which, got no "
        "such file"
    )
    if needed:
        raise FileNotFoundError(message)
    if raw.mask is None and not masked:
        warnings.warn(f"{message}: none is masked", UserWarning, stacklevel=3)


def _checked_scene(raw: RawScene, path: Path, mask: NDArray[Any] | None) -> Scene:
    """The scene in file units, every part checked against the cube."""
    height, width, bands = raw.cube.shape
    valid = checks.flags("load_scene", "mask", raw.mask, (height, width))
    extra = checks.flags("load_scene", "mask", mask, (height, width))
    if extra is not None:
        valid = extra if valid is None else valid & extra
    good = checks.flags("load_scene", "good_bands", raw.good_bands, (bands,))
    cube = float_cube(raw.cube)
    scene = Scene(
        cube=cube,
        wavelengths=checks.positive_per_band("load_scene", "wavelengths", raw.wavelengths, bands),
        fwhm=checks.positive_per_band("load_scene", "fwhm", raw.fwhm, bands),
        good_bands=_without_empty_bands(cube, good),
        mask=valid,
        labels=checks.labels("load_scene", raw.labels, (height, width)),
        rgb_bands=checks.rgb_bands("load_scene", raw.rgb_bands, bands),
        ignore_value=raw.ignore_value,
        geo=raw.geo,
        format=raw.format,
        source=path,
        variable=raw.variable,
        dtype=raw.dtype,
        details=raw.details,
        **raw.fields,
    )
    if not scene.valid.any():
        raise ValueError(
            f"load_scene: `mask` must leave a valid pixel, got none of {height * width} that is unmasked "
            f"and finite in every good band in {path}"
        )
    return scene


def _without_empty_bands(
    cube: NDArray[np.float32], good: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:  # (C,)
    """Bands without a single finite value are flagged bad: they would make every pixel invalid."""
    first = np.isfinite(cube[:: max(1, cube.shape[0] // 16)]).any(axis=(0, 1))
    if first.all():
        return good
    some = np.asarray(np.isfinite(cube).any(axis=(0, 1)))
    if some.all() or not some.any():
        return good
    return some if good is None else good & some


def _scaled(scene: Scene, scale: float | str | None, factor: float | None, stored: float) -> Scene:
    """The scene with its cube divided by the scale asked for."""
    if isinstance(scale, str) and scale == "auto":
        number = factor or (stored if stored != 1.0 else None)
        if number is None:
            keep = slice(None) if scene.good_bands is None else scene.good_bands
            number = float(scene.valid_pixels[:, keep].max())
        if not (np.isfinite(number) and number > 0):
            raise ValueError(
                f"load_scene: `scale` must be a number here: with 'auto', the largest value is {number}"
            )
    elif isinstance(scale, str):
        raise TypeError(f"load_scene: `scale` must be a number, 'auto' or None, got {scale!r}")
    else:
        number = stored if scale is None else checks.positive("load_scene", "scale", scale)
    if number == 1.0:
        return scene
    return scene.replace(cube=scene.cube / np.float32(number), scale=number)
