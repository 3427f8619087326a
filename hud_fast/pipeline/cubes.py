"""Sets of generated cubes on disk: one array for programs, one file a cube for everything else.

A set is a folder with ``generated.npy``, (B, h, w, C) float32 in the units of the scene's file, and, where the
scene came as .mat, ENVI, .npz or GeoTIFF, one file of that kind for each cube (``cube-000.mat``, ...) that any tool
which reads the scene can read. A mosaic would put edges between cubes that no scene has.

Cubes of a model with classes have class maps: ``maps.npy``, (B, h, w) of the numbers in the user's label map (0 = no
class), ``classes.json`` with the names, and each cube's map in its own .mat or .npz file, or beside it
(``cube-000-classes.hdr``, an ENVI classification, or ``.tif``).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_dir, atomic_path
from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.progress import Progress

if TYPE_CHECKING:
    from hud_fast.diffusion.classes import ClassMaps
    from hud_fast.scenes import Scene

Array: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.integer[Any]]


class Write(Protocol):
    """Takes the next cubes (b, h, w, C), their abundances (b, h, w, D) and their class maps (b, h, w), if any."""

    def __call__(
        self, cubes: Array, abundances: Array | None, labels: Labels | None = None, /
    ) -> None: ...


FLOAT = np.dtype(np.float32)
ARRAY = "generated.npy"
ABUNDANCES = "abundances.npy"
MAPS = "maps.npy"
CLASSES = "classes.json"  # name by number
BESIDE = "-classes"  # ends the name of a cube's map, where that is a file of its own
SUFFIX = {
    "mat": ".mat",
    "envi": ".hdr",
    "npz": ".npz",
    "npy": None,
    "geotiff": ".tif",
}  # None: the one array is it
HOLD_LABELS = (".mat", ".npz")
# ENVI's cubes have two files; GDAL keeps the names of a map's classes beside it.
CUBE_SUFFIXES = (".mat", ".hdr", ".img", ".npz", ".tif")
MAP_SUFFIXES = tuple(f"{BESIDE}{end}" for end in (".hdr", ".img", ".tif", ".tif.aux.xml"))


def choose_format(wish: str, scene: Scene) -> str:
    """Return the kind of file for generated cubes: as wished, or with "auto" the scene's own, if we write such.

    Raises
    ------
    InputError
        An unknown kind, or one whose package is missing.
    """
    if wish == "auto":
        wish = _own_kind(scene)
    wish = "geotiff" if wish == "gtiff" else wish  # as GDAL calls it
    if wish not in SUFFIX:
        raise InputError(f"--format must be one of auto, {', '.join(SUFFIX)}, got {wish}")
    if wish == "geotiff":  # before the work
        from hud_fast.scenes import gdal

        with user_input():
            gdal.rasterio("save_scene")
    return wish


def _own_kind(scene: Scene) -> str:
    """The scene's kind of file; where we read it and write none such, one that keeps its place on the map."""
    if scene.format in SUFFIX:
        return scene.format
    placed = scene.geo is not None or scene.lookup is not None
    return "geotiff" if placed and find_spec("rasterio") else "npy"


def write_cubes(
    folder: Path,
    generated: NDArray[np.float32],  # (B, h, w, C)
    scene: Scene,
    *,
    kind: str,
    abundances: NDArray[np.float32] | None = None,  # (B, h, w, D)
    labels: Labels | None = None,  # (B, h, w)
    classes: Mapping[int, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a set of cubes into `folder`, whole or not at all; an older set there is replaced.

    Parameters
    ----------
    folder : Path
        Holds nothing but sets of cubes.
    generated : (B, h, w, C) float32 array
        In the unit of ``scene.cube``; written in the units of the scene's file.
    scene : Scene
        Gives wavelengths, scale and variable name.
    kind : str
        A key of `SUFFIX`.
    abundances : (B, h, w, D) float32 array, optional
        Written as ``abundances.npy``.
    labels : (B, h, w) integers, optional
        Class maps.
    classes : mapping, optional
        The name of each number in `labels`; needed with them.
    progress : callable, optional
        Called as progress(done, total) with cubes.
    """
    B, h, w, C = generated.shape
    D = None if abundances is None else abundances.shape[-1]
    named = None if labels is None else classes
    with writing_cubes(
        folder, scene, (B, h, w, C), kind=kind, endmembers=D, classes=named
    ) as write:
        for i in range(B):
            one = slice(i, i + 1)
            write(
                generated[one],
                None if abundances is None else abundances[one],
                None if labels is None else labels[one],
            )
            if progress is not None:
                progress(i + 1, B)


@contextlib.contextmanager
def writing_cubes(
    folder: Path,
    scene: Scene,
    shape: tuple[int, int, int, int],
    *,
    kind: str,
    endmembers: int | None = None,
    classes: Mapping[int, str] | None = None,
) -> Iterator[Write]:
    """As `write_cubes`, for cubes that come batch by batch: yields a function that writes the next ones.

    ``write(cubes, abundances, labels)`` takes (b, h, w, C), (b, h, w, D) and (b, h, w) arrays, the second None where
    `endmembers` is, the third where `classes` is. Only one batch is in memory. The folder appears when the block ends
    well and all of `shape` was written.
    """
    from hud_fast.scenes import save_scene
    from hud_fast.scenes.label_writers import smallest_type, write_labels

    refuse_foreign(folder)
    suffix, scale, done = SUFFIX[kind], np.float32(scene.scale), 0
    # A generated cube lies nowhere: the scene's map coordinates, mask and labels are not its own.
    # ENVI's cubes are .hdr and .img, however the scene's file is called: `foreign_to_set` knows its own by them.
    template = scene.replace(
        geo=None,
        lookup=None,
        mask=None,
        labels=None,
        label_names=None,
        truth=None,
        dtype=np.float32,
        details={key: value for key, value in scene.details.items() if key != "data suffix"},
    )
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_dir(folder))
        put = stack.enter_context(_growing(temporary / ARRAY, shape))
        put_maps = None
        if endmembers is not None:
            maps_shape = (*shape[:-1], endmembers)
            put_maps = stack.enter_context(_growing(temporary / ABUNDANCES, maps_shape))

        put_labels = None
        names = None if classes is None else in_order(classes)
        if names is not None:
            kept = smallest_type(len(names))
            put_labels = stack.enter_context(_growing(temporary / MAPS, shape[:-1], kept))
            text = json.dumps(classes, ensure_ascii=False, indent=1)
            (temporary / CLASSES).write_text(text + "\n", encoding="utf-8")

        def write(cubes: Array, abundances: Array | None, labels: Labels | None = None) -> None:
            nonlocal done
            put(cubes * scale)
            if put_maps is not None and abundances is not None:
                put_maps(abundances)
            if put_labels is not None and labels is not None:
                put_labels(labels)
            for i, cube in enumerate(cubes if suffix is not None else ()):
                one = template.replace(cube=cube, name=f"{scene.name}, generated cube {done}")
                path = temporary / f"{cube_name(done, shape[0])}{suffix}"
                if labels is None or names is None:
                    save_scene(one, path)
                elif suffix in HOLD_LABELS:
                    save_scene(one.replace(labels=labels[i], label_names=names), path)
                else:
                    save_scene(one, path)
                    write_labels(labels[i], beside(path), names)
                done += 1

        yield write
        refuse_foreign(folder)  # what came while the cubes were made


def names_of(classes: ClassMaps | None) -> dict[int, str] | None:
    """The name of each number in a model's class maps; None for a model without."""
    return None if classes is None else dict(zip(classes.numbers, classes.names, strict=True))


def in_order(classes: Mapping[int, str]) -> tuple[str, ...]:
    """The names of all numbers from 1, as scenes have them.

    Examples
    --------
    >>> in_order({1: "Corn", 3: "Woods"})
    ('Corn', 'class 2', 'Woods')
    """
    return tuple(classes.get(i, f"class {i}") for i in range(1, max(classes) + 1))


def beside(path: Path) -> Path:
    """The file for the class map of the cube in this one.

    Examples
    --------
    >>> beside(Path("set/cube-007.hdr")).name
    'cube-007-classes.hdr'
    """
    return path.with_name(f"{path.stem}{BESIDE}{path.suffix}")


def cube_name(i: int, count: int) -> str:
    """Name without suffix of cube i of so many.

    Examples
    --------
    >>> cube_name(7, 64), cube_name(7, 2000)
    ('cube-007', 'cube-0007')
    """
    return f"cube-{i:0{max(3, len(str(count - 1)))}d}"


def refuse_foreign(target: Path) -> None:
    """Refuse to replace `target` by a set of cubes or a .npy stack of them, unless that is what it is.

    Raises
    ------
    InputError
    """
    if not os.path.lexists(target):
        return
    if target.suffix.lower() == ".npy":
        if _count(target) is None:
            raise InputError(f"{target} is no stack of cubes (B, h, w, C): choose another --out")
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file: --out must be a folder, or a file of cubes")
    foreign = foreign_to_set(target)
    if foreign is not None:
        raise InputError(f"{target} holds other files ({foreign}): choose another --out")


def foreign_to_set(folder: Path) -> str | None:
    """The first name in `folder` that no set of cubes has: as many as its array holds are the set's."""
    count = _count(folder / ARRAY) or 0
    ends = (*CUBE_SUFFIXES, *MAP_SUFFIXES)
    names = {f"{cube_name(i, count)}{end}" for i in range(count) for end in ends}
    names |= {ARRAY, ABUNDANCES, MAPS, CLASSES} if count else set()
    for entry in sorted(folder.iterdir()):
        if entry.name not in names or entry.is_symlink() or not entry.is_file():
            return entry.name
    return None


def _count(path: Path) -> int | None:
    """How many cubes a .npy file holds; None where it is none that we write."""
    if path.is_symlink() or not path.is_file():
        return None
    with contextlib.suppress(Exception):  # a broken header raises what its parser likes
        array = np.lib.format.open_memmap(path, mode="r")
        if array.ndim == 4 and array.dtype == np.dtype("<f4") and array.size:
            return len(array)
    return None


@contextlib.contextmanager
def writing_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any] = FLOAT
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """One .npy file written batch by batch, whole or not at all."""
    with atomic_path(path) as temporary, _growing(temporary, shape, dtype) as put:
        yield put


@contextlib.contextmanager
def _growing(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any] = FLOAT
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """A .npy file whose rows come in turn; RuntimeError where they end up too few or too many."""
    with path.open("wb") as file, growing(file, shape, path.name, dtype) as put:
        yield put


@contextlib.contextmanager
def growing(
    file: IO[bytes], shape: tuple[int, ...], name: str, dtype: np.dtype[Any] = FLOAT
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """As `_growing`, into a file that is open."""
    count = 0
    stored = dtype.newbyteorder("<")
    header = {"descr": stored.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)

    def put(rows: NDArray[Any]) -> None:
        nonlocal count
        file.write(np.ascontiguousarray(rows, dtype=stored).data)
        count += len(rows)

    yield put
    if count != shape[0]:
        raise RuntimeError(f"{name}: {count} of {shape[0]} cubes were written")


def read_cubes(
    source: str | os.PathLike[str],
    *,
    variable: str | None = None,
) -> NDArray[np.float32]:  # (B, h, w, C)
    """Read a set of cubes: a run's or a set's folder, a .npy, .npz, .mat or .zarr stack, or one cube of any kind.

    Raises
    ------
    InputError
        Nothing there that is a set of cubes.
    """
    from hud_fast.pipeline.zarr_cubes import read_zarr

    path = Path(source)
    if path.suffix.lower() == ".zarr":
        return read_zarr(path)
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() == ".npy":
        with user_input():
            array = np.load(path, allow_pickle=False)
        if array.ndim == 3:
            array = array[None]
        if array.ndim != 4 or 0 in array.shape or array.dtype.kind not in "fiu":
            raise InputError(
                f"{path} must hold cubes of shape (B, h, w, C), got {array.dtype} {array.shape}"
            )
        stack: NDArray[np.float32] = array.astype(np.float32, copy=False)
        return stack
    if path.suffix.lower() in (".npz", ".mat") and path.is_file():
        from hud_fast.scenes.stacks import read_stack

        with user_input():
            cubes = read_stack(path, variable)
        if cubes is not None:
            return cubes
    return _read_one(path, variable)[None]


def _read_folder(path: Path) -> NDArray[np.float32]:
    for folder in (path / "generated", path):
        if (folder / ARRAY).is_file():
            return read_cubes(folder / ARRAY)
    kinds = (*(suffix for suffix in SUFFIX.values() if suffix is not None), ".npy")
    files = sorted(
        p
        for p in path.iterdir()
        if p.suffix.lower() in kinds
        and p.name not in (ABUNDANCES, MAPS)
        and not p.stem.endswith(BESIDE)
    )
    if not files:
        raise InputError(f"{path} holds no cubes: no {ARRAY}, {', '.join(kinds)} file")
    cubes = [_read_one(file, None) for file in files]
    for file, cube in zip(files, cubes, strict=True):
        if cube.shape != cubes[0].shape:
            raise InputError(
                f"{file} must have shape {cubes[0].shape} as {files[0].name} has, got {cube.shape}"
            )
    return np.stack(cubes)


def _read_one(path: Path, variable: str | None) -> NDArray[np.float32]:
    from hud_fast.scenes import load_scene

    with user_input():
        scene = load_scene(path, variable=variable)
    return scene.drop_bad_bands().cube * np.float32(scene.scale)
