"""load_scene: from a file or a catalogue name to a Scene. The readers find; here it is put together."""

from __future__ import annotations

import operator
import os
import warnings
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike, NDArray

from hud_fast._checks import check_path
from hud_fast._files import user_path
from hud_fast._text import printable
from hud_fast.scenes import checks, label_files, readers, side_files, trust
from hud_fast.scenes.catalogue import Entry, File, find_entry, is_name, recognise
from hud_fast.scenes.fetch import fetch
from hud_fast.scenes.layout import check_layout
from hud_fast.scenes.no_data import check as no_data_of
from hud_fast.scenes.opened import SceneFile
from hud_fast.scenes.part import Window, part_of
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.scene import Scene
from hud_fast.scenes.sensors import specim
from hud_fast.scenes.side_files import Side
from hud_fast.scenes.wavelengths import close_gaps
from hud_fast.scenes.zarr_files import is_zarr


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
    no_data: float | Literal["auto", "none"] = "auto",
    name: str | None = None,
    white: str | os.PathLike[str] | None = None,
    dark: str | os.PathLike[str] | None = None,
    window: Window | None = None,
    every: int = 1,
) -> Scene:
    """Load a scene.

    Parameters
    ----------
    path_or_name
        A .mat file (v4, v5, v7.3), an ENVI (or ESRI) header or its data file, which may be packed by gzip, a .npy or
        .npz file, a GeoTIFF (.tif; EnMAP, DESIS and Wyvern by what lies beside it) or ERDAS file (.img, .lan), both
        with ``hud-fast[geo]``; or a name of the catalogue ("indian-pines", ...), which is fetched.
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
        be a file: .npy, .mat with one fitting variable, or text with one number a line. Of a text of several columns,
        or an ENVI header, the wavelengths are found, and the band widths (fwhm), if it has them. Bands whose
        wavelength is 0 are flagged bad.
    good_bands, mask, labels
        As in `Scene`; `mask` is joined with what the file masks, and with the altered pixels that the catalogue knows
        of. The file of `labels` may also be an .npz, HDF5, ENVI classification, GeoTIFF or .png file, or a table (.csv)
        with the columns row, column (from 0) and class, a number or a name, of the few points that are labelled. What
        it calls its classes becomes `label_names`; what it declares as no data becomes 0, no label.
    rgb_bands
        0-based bands to show as red, green, blue.
    scale
        The cube is the file's values over this one number. None = the file's values (an ENVI file's gains and
        offsets are applied); "auto" = ENVI's reflectance scale factor, or the largest valid value.
    no_data
        The value, in file units, that means that there is none; it overrules what the file says. "auto": the
        file's; and, with a warning, a number that many pixels hold in every good band, 0 above all. "none": every
        number is data, 0 in all bands too.
    name
        What reports call the scene; by default the catalogue's name, or the file's.
    white, dark
        Files of a camera's references, which make reflectance of its counts: (counts - dark) / (white - dark) by
        column and band, means over the references' lines. By default WHITEREF_NAME and DARKREF_NAME beside the
        scene, as Specim's cameras write them; ``details`` says which were used.
    window
        (rows, columns) to read, each a slice or (start, stop), None at an open end, inside the file's H x W. No more
        of the file is read than that where its kind allows it. A mask or labels given have the file's size.
    every
        Read only every n-th row and column (of the window), for a first look at a large file; pixels are n times as
        large on the map, then, and their corner stays.

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
        If a scene with altered pixels is given by its path, without mask, and the file that says which is not at hand;
        if pixels are left out as no data that nothing declares to be so; if none holds the `no_data` given; if
        something that only describes the scene is left out because it is wrong or doubtful.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "field.npy"
    >>> np.save(path, np.ones((4, 5, 3), np.uint16))
    >>> load_scene(path, wavelengths=[0.45, 0.55, 0.65])
    Scene('field', 4 x 5 pixels, 3 bands, 450-650 nm)
    """
    opened = open_scene(
        path_or_name,
        variable=variable,
        layout=layout,
        shape=shape,
        wavelengths=wavelengths,
        good_bands=good_bands,
        mask=mask,
        labels=labels,
        rgb_bands=rgb_bands,
        no_data=no_data,
        name=name,
        white=white,
        dark=dark,
        window=window,
        every=every,
    )
    return opened.load(scale)


def open_scene(
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
    no_data: float | Literal["auto", "none"] = "auto",
    name: str | None = None,
    white: str | os.PathLike[str] | None = None,
    dark: str | os.PathLike[str] | None = None,
    window: Window | None = None,
    every: int = 1,
) -> SceneFile:
    """Open a scene whose values are read some rows at a time, when they are asked for. The arguments of `load_scene`.

    Raises
    ------
    FileNotFoundError, OSError, ValueError, TypeError
        As `load_scene`, but for what only the values can show.
    """
    layout = check_layout("load_scene", layout)
    no_data = no_data_of(no_data)
    shape = _image_shape(shape)
    centres, widths = side_files.centres(wavelengths)
    path, entry = _resolve(path_or_name)
    if entry is not None and variable is None:
        variable = entry.cube.variable
    bands = None if centres is None else int(centres.size)
    with trust.whole(path):
        raw = readers.read(path, Request(variable, layout, shape, bands))
        references = [None if one is None else user_path(one) for one in (white, dark)]
        raw = specim.calibrated(raw, path, *references)
    if 0 in raw.cube.shape:
        raise ValueError(f"load_scene: `path` must hold a pixel, got {raw.cube.shape} in {path}")
    if entry is not None and raw.cube.shape != entry.shape:
        raise ValueError(
            f"load_scene: `path_or_name` {entry.key} must have shape {entry.shape}, "
            f"got {raw.cube.shape} in {path}"
        )
    if centres is not None:
        raw.wavelengths = centres
    if widths is not None:
        raw.fwhm = widths
    if good_bands is not None:
        raw.good_bands = side_files.vector("good_bands", good_bands)
    if rgb_bands is not None:
        raw.rgb_bands = checks.rgb_bands("load_scene", rgb_bands, raw.cube.shape[2])
    known = entry or recognise(raw.variable, raw.cube.shape)
    if labels is not None:
        _give_labels(raw, labels, known)
    _add_what_is_known(raw, known, path)
    close_gaps(raw, flag=good_bands is None)
    if known is not None and known.altered is not None:
        _mask_altered(
            raw, known, known.altered, path, needed=entry is not None, masked=mask is not None
        )
    if name is not None:
        raw.fields["name"] = name
    with trust.named(path):
        scale = checks.positive("load_scene", "scale", raw.fields.pop("scale", 1.0))
        _join_mask(raw, side_files.matrix("mask", mask))
        return SceneFile.of(part_of(raw, window, every), path, scale, no_data)


def _give_labels(
    raw: RawScene, given: ArrayLike | str | os.PathLike[str], entry: Entry | None
) -> None:
    """The user's labels for the file's; the scene's names of classes stay where the user's have none and they do."""
    height, width, _ = raw.cube.shape
    names = raw.fields.pop("label_names", None) or (entry.label_names if entry else None)
    raw.labels, own = label_files.read_labels(given, (height, width), names)
    fits = names is not None and raw.labels.max() <= len(names)
    raw.fields["label_names"] = own or (names if fits else None)


def _join_mask(raw: RawScene, given: NDArray[Any] | None) -> None:
    """The file's mask with the user's: valid in both."""
    size = raw.cube.shape[:2]
    extra = checks.flags("load_scene", "mask", given, size)
    if extra is not None:
        own = checks.flags("load_scene", "mask", raw.mask, size)
        raw.mask = extra if own is None else own & extra


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
    hint = ": hud_fast.Scene(cube) takes arrays" if hasattr(path_or_name, "__array__") else ""
    check_path("load_scene", "path_or_name", path_or_name, hint)
    path = user_path(path_or_name)
    text = str(path_or_name)
    try:
        folder = path.is_dir()
        there = path.exists() and not folder
        if folder and is_zarr(path) and not is_name(text):
            return path, None
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
