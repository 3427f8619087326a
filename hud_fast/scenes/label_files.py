"""Label maps given by the user: an array, or a file of any usual kind, with the names of its classes if it has them.

0 is no label everywhere. What a file declares as no data is 0; a number that it does not declare is a class. In an
ENVI classification, and in GDAL's lists of categories, the first name is that of 0; a list of names elsewhere begins
with class 1, but for a first name such as "Unlabelled".
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hud_fast._files import user_path
from hud_fast._text import listed, printable
from hud_fast.scenes import (
    band_tables,
    checks,
    class_names,
    envi,
    gdal,
    geotiff,
    label_points,
    mat,
    numpy_files,
    raw_numbers,
    side_files,
    tables,
)
from hud_fast.scenes.envi_header import read_header
from hud_fast.scenes.hdf5 import HDF5File
from hud_fast.scenes.trust import check_regular, named, whole

Map = NDArray[Any]  # (H, W)
Names = tuple[str, ...] | None  # of the classes 1, 2, ...

HDF5 = (".nc", ".nc4", ".h5", ".he5", ".hdf5")
TEXTS = (".csv", ".txt", ".tsv")
LARGEST_SIDE_FILE = 1 << 20  # bytes of a .tif.aux.xml


def read_labels(
    values: ArrayLike | str | os.PathLike[str],
    shape: tuple[int, int],  # (H, W)
    known: Sequence[str] | None = None,
) -> tuple[Map, Names]:
    """The label map for a scene of this size, and the names of its classes where the file has them.

    Parameters
    ----------
    values
        An array, or a file: .mat, .npz and HDF5 (the one variable of whole numbers and this size), .npy, an ENVI
        classification, a GeoTIFF or ERDAS file of one band (rasterio), a .png of one channel, a text of numbers row by
        row, or a table of points (`label_points`).
    shape
        Of the scene.
    known
        Names that the scene has for its classes, for a table of points that names them.

    Raises
    ------
    FileNotFoundError, OSError
        If the file is missing or broken.
    ValueError
        If several variables fit, or none; if the map has another size, several bands, or numbers below 0.
    TypeError
        If it does not hold whole numbers.
    """
    if not isinstance(values, (str, os.PathLike)):
        return _checked(values, shape), None
    path = user_path(values)
    if not path.is_file():
        raise FileNotFoundError(
            f"load_scene: `labels` must be numbers or a file, got {printable(path)}"
        )
    found, names = _from_file(path, shape, known)
    with named(path):
        labels = _checked(found, shape)
    if names is not None and len(names) < labels.max():
        _warn(f"{len(names)} class names are left out: {path} has the class {labels.max()}")
        names = None
    return labels, names


def _checked(values: Any, shape: tuple[int, int]) -> Map:
    labels = checks.labels("load_scene", values, shape)
    assert labels is not None
    return labels


def _from_file(
    path: Path, shape: tuple[int, int], known: Sequence[str] | None
) -> tuple[Map, Names]:
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(512)
    if suffix == ".mat":
        table = mat.open_mat(path)
        found = _of_variables(path, table.shapes, table.read, shape)
        return found, tables.label_names(table, found)
    if suffix == ".npz":
        arrays = numpy_files.Npz(path)
        found = _of_variables(path, arrays.shapes, arrays.read, shape)
        return found, _own_names(arrays) or tables.label_names(arrays, found)
    if suffix in HDF5:
        tree = HDF5File(path)
        sizes = {name: array.shape for name, array in tree.arrays.items()}
        return _of_variables(path, sizes, tree.read, shape), None
    if suffix == ".npy":
        return np.asarray(numpy_files.read_array(path)), None
    if suffix == ".png":
        return _of_png(path, shape), None
    if geotiff.is_tiff(path, start) or geotiff.is_erdas(path, start):
        return _of_gdal(path, shape)
    if suffix not in TEXTS and envi.find_header(path) is not None:
        return _of_envi(path, shape)
    with whole(path):
        return _of_text(path, shape, known)


def _of_variables(
    path: Path,
    sizes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], Map],
    shape: tuple[int, int],
) -> Map:
    """The one variable of the scene's size that holds whole numbers; of several, the one that is called so."""
    planes = [n for n, size in sizes.items() if len(size) == 2 and max(size) > 1]
    fitting = {
        n: read(n) for n in planes if sizes[n] == shape and _word(n) not in tables.MASK_NAMES
    }
    fitting = {n: values for n, values in fitting.items() if _is_whole(values)}
    called = [n for n in fitting if _word(n) in tables.LABEL_NAMES or _word(n).endswith("gt")]
    chosen = list(fitting) if len(fitting) == 1 or len(called) != 1 else called
    if len(chosen) != 1:
        there = chosen or planes
        told = listed(f"{printable(n, 40)} {'x'.join(map(str, sizes[n]))}" for n in there)
        which = "which all fit" if chosen else f"the scene is {shape[0]}x{shape[1]}, whole numbers"
        raise ValueError(
            f"load_scene: `labels` must be a file with one fitting variable, got {told or 'none'} in {path} ({which})"
        )
    return fitting[chosen[0]]


def _word(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower().replace("_", "")


def _is_whole(values: Map) -> bool:
    if values.dtype.kind in "iub":
        return True
    return values.dtype.kind == "f" and bool((values == np.rint(values)).all())


def _own_names(file: numpy_files.Npz) -> Names:
    """Those of a scene that we wrote."""
    if not file.is_ours:
        return None
    with whole(file.path):
        names = numpy_files.facts_of(file).get("label_names")
    return None if names is None else tuple(names)


def _after_zero(names: Sequence[str], values: Map, path: Path) -> Names:
    """The names from class 1 on, of a list that begins with that of 0."""
    if names and not class_names.is_no_class(names[0]) and (values == 0).any():
        _warn(f"0 is no label, in {path} it is called {printable(repr(names[0]), 60)}")
    return tuple(name.strip() for name in names[1:]) or None


def _of_envi(path: Path, shape: tuple[int, int]) -> tuple[Map, Names]:
    """An ENVI classification, or an image of one band."""
    header_path = envi.find_header(path)
    assert header_path is not None
    with whole(header_path):
        header = read_header(header_path)
        numbers, _ = envi.layout_of(header)
        if numbers.shape != (*shape, 1):
            raise ValueError(f"{_must_fit(shape)} and one band, got {numbers.shape} in {path}")
        data = path if path != header_path else raw_numbers.find_data(header_path, numbers.size)
        packed = data.suffix.lower() == ".gz" and raw_numbers.is_packed(data)
        values: Map = np.array(numbers.view(data, packed=packed)[..., 0])
        values = _without(values, header.number("data ignore value"))
        names = [name for name in header.words("class names") if name]
    count = header.word("classes")
    if names and count.isdecimal() and int(count) != len(names):
        header.warn(f"`classes` is left out: {printable(count, 20)} for {len(names)} class names")
    return values, _after_zero(names, values, path) if names else None


def _without(values: Map, missing: float | None) -> Map:
    """The map with 0 where the file says that there is nothing."""
    if missing is None:
        return values
    gone = np.isnan(values) if np.isnan(missing) else values == missing
    return np.where(gone, values.dtype.type(0), values)


def _of_gdal(path: Path, shape: tuple[int, int]) -> tuple[Map, Names]:
    """A GeoTIFF or ERDAS file of one band; what its mask or no-data value leaves out is 0."""
    with whole(path), gdal.environment("load_scene"), gdal.opened("load_scene", path) as file:
        bands = [i for i, meant in enumerate(file.colorinterp, 1) if meant.name != "alpha"]
        if (file.height, file.width) != shape or len(bands) != 1:
            size = (file.height, file.width, len(bands))
            raise ValueError(f"{_must_fit(shape)} and one band, got {size} in {path}")
        values = np.where(file.dataset_mask() == 0, 0, file.read(bands[0]))
        tags = file.tags(bands[0])
    names = _categories(path) or [tags[key] for key in _numbered(tags)]
    return values, _after_zero(names, values, path) if names else None


def _numbered(tags: Mapping[str, str]) -> list[str]:
    """Our own names of classes in a GeoTIFF: class_0, class_1, ... as far as they go."""
    keys = [f"class_{i}" for i in range(len(tags))]
    return keys[: next((i for i, key in enumerate(keys) if key not in tags), len(keys))]


def _categories(path: Path) -> list[str]:
    """The names in GDAL's file beside an image."""
    side = path.with_name(path.name + ".aux.xml")
    if not side.is_file() or side.stat().st_size > LARGEST_SIDE_FILE:
        return []
    text = band_tables.decoded(side.read_bytes())
    if "<!" in text:  # a document type may hold bombs, and GDAL writes none
        return []
    from xml.etree import ElementTree

    try:
        found = ElementTree.fromstring(text).find("PAMRasterBand/CategoryNames")
    except ElementTree.ParseError as error:
        _warn(f"{side.name} is left out: {printable(error, 100)}")
        return []
    return [] if found is None else [one.text or "" for one in found.findall("Category")]


def _of_png(path: Path, shape: tuple[int, int]) -> Map:
    """A picture of one channel: its grey values, or the numbers of its colours where it has a palette."""
    from PIL import Image

    check_regular(path)
    with whole(path), Image.open(path, formats=("PNG",)) as picture:
        if picture.size[::-1] != shape:
            raise ValueError(f"{_must_fit(shape)}, got {picture.size[::-1]} in {path}")
        if picture.mode not in ("1", "L", "P", "I", "I;16"):
            raise ValueError(
                f"load_scene: `labels` must be a picture of one channel, whose values are the classes, got {path} in "
                f"colours ({picture.mode})"
            )
        return np.asarray(picture)


def _of_text(path: Path, shape: tuple[int, int], known: Sequence[str] | None) -> tuple[Map, Names]:
    if path.stat().st_size <= side_files.LARGEST_TEXT[False]:
        text = band_tables.decoded(path.read_bytes())
        if label_points.is_table(text):
            return label_points.read(text, path, shape, known)
    found = side_files.matrix("labels", path)
    assert found is not None
    return found, None


def _must_fit(shape: tuple[int, int]) -> str:
    return f"load_scene: `labels` must have the scene's shape {shape}"


def _warn(text: str) -> None:
    warnings.warn(f"load_scene: {text}", UserWarning, stacklevel=5)
