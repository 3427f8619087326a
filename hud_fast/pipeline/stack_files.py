"""All generated cubes in one .npz or .mat file, with what belongs to them, written as they come.

``cubes`` (B, h, w, C) in the units of the scene's file, ``abundances`` (B, h, w, D), ``endmembers`` (D, C) and
``wavelengths`` (C,) in nm where they are known; of a model with classes also ``labels`` (B, h, w), 0 = no class, and
``label_names``, those of the classes 1, 2, ...
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_path
from hud_fast.pipeline.cubes import FLOAT, Array, Labels, Write, growing, in_order, names_of
from hud_fast.pipeline.errors import InputError

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD

Shape: TypeAlias = tuple[int, ...]
Parts: TypeAlias = Mapping[str, tuple[Shape, np.dtype[Any]]]  # what grows
Rows: TypeAlias = Mapping[str, NDArray[Any]]  # the next of each
Whole: TypeAlias = dict[str, NDArray[Any]]  # what is written at once

STACKS = (".npz", ".mat")
CUBES, ABUNDANCES, ENDMEMBERS, WAVELENGTHS = "cubes", "abundances", "endmembers", "wavelengths"
LABELS, NAMES = "labels", "label_names"
CHUNK = 1 << 24  # bytes of an HDF5 file that are packed together, at most


@contextlib.contextmanager
def writing_stack(target: Path, model: HUD, shape: tuple[int, int, int, int]) -> Iterator[Write]:
    """Yield a function that writes the next cubes and maps into one .npz or .mat file.

    ``write(cubes, abundances, labels)`` takes (b, h, w, C) in the unit of the model, (b, h, w, D) and, of a model with
    classes, (b, h, w).

    Raises
    ------
    InputError
        `target` is something that no earlier call wrote.
    RuntimeError
        The block ends before all of `shape` was written.
    """
    from hud_fast.scenes.label_writers import smallest_type
    from hud_fast.scenes.writers import V5_LARGEST

    refuse_other_stack(target)
    scale, classes = np.float32(model.scene.scale), names_of(model.classes)
    parts: dict[str, tuple[Shape, np.dtype[Any]]] = {
        CUBES: (shape, FLOAT),
        ABUNDANCES: ((*shape[:3], model.D), FLOAT),
    }
    beside: Whole = {ENDMEMBERS: np.asarray(model.endmembers * scale)}
    if model.wavelengths is not None:
        beside[WAVELENGTHS] = np.asarray(model.wavelengths, np.float64)
    if classes is not None:
        parts[LABELS] = shape[:3], smallest_type(max(classes))
        beside[NAMES] = np.array(in_order(classes), np.str_)
    matlab = _mat_v5 if 4 * int(np.prod(shape)) <= V5_LARGEST else _mat_hdf5
    how = _npz if target.suffix.lower() == ".npz" else matlab
    with atomic_path(target) as temporary:
        with how(temporary, parts, beside) as put:

            def write(cubes: Array, abundances: Array | None, labels: Labels | None = None) -> None:
                rows = {CUBES: cubes * scale, ABUNDANCES: abundances, LABELS: labels}
                put({name: of for name in parts if (of := rows[name]) is not None})

            yield write
        refuse_other_stack(target)  # what came while the cubes were made


@contextlib.contextmanager
def _npz(path: Path, parts: Parts, beside: Whole) -> Iterator[Callable[[Rows], None]]:
    """The first part goes into the archive as it comes; others wait beside it, as an archive takes one at a time."""
    first, *others = parts
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive, contextlib.ExitStack() as stack:
        waiting = {
            name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in others
        }
        with contextlib.ExitStack() as open_ones:
            file = open_ones.enter_context(archive.open(f"{first}.npy", "w", force_zip64=True))
            yield _puts(parts, {first: file, **waiting}, open_ones)
        for name, kept in waiting.items():
            kept.seek(0)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                while block := kept.read(CHUNK):
                    entry.write(block)
        for name, values in beside.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, values)


@contextlib.contextmanager
def _mat_v5(path: Path, parts: Parts, beside: Whole) -> Iterator[Callable[[Rows], None]]:
    """All wait beside the file: there the number of the cube runs fastest, so that no cube is whole before the last."""
    from hud_fast.scenes.mat_v5 import write_v5

    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in parts
        }
        with contextlib.ExitStack() as open_ones:
            yield _puts(parts, files, open_ones)
        content = {name: _mapped(files[name], *parts[name]) for name in parts}
        write_v5(path, content | beside)


def _puts(
    parts: Parts, files: Mapping[str, Any], stack: contextlib.ExitStack
) -> Callable[[Rows], None]:
    """What appends rows to the files of all parts."""
    put = {
        name: stack.enter_context(growing(file, parts[name][0], name, parts[name][1]))
        for name, file in files.items()
    }

    def put_all(rows: Rows) -> None:
        for name, values in rows.items():
            put[name](values)

    return put_all


def _mapped(file: Any, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array at the end of a file, memory-mapped."""
    size = dtype.itemsize * int(np.prod(shape))
    file.flush()
    start = file.seek(0, os.SEEK_END) - size
    return np.memmap(file, dtype.newbyteorder("<"), "r", start, shape)


@contextlib.contextmanager
def _mat_hdf5(path: Path, parts: Parts, beside: Whole) -> Iterator[Callable[[Rows], None]]:
    """MATLAB v7.3, where a dataset grows by whole cubes."""
    from hud_fast.scenes.writers import hdf5_array, hdf5_errors, hdf5_file, hdf5_whole

    with hdf5_file(path) as file:
        for name, values in beside.items():
            hdf5_whole(file, name, values)

        def grows(name: str) -> Any:
            of, dtype = parts[name]
            _, h, w, *channels = of
            few = [min(count, max(1, CHUNK // (4 * h * w))) for count in channels]
            return hdf5_array(file, name, of, dtype, chunks=(*few, w, h, 1))

        items, done = {name: grows(name) for name in parts}, dict.fromkeys(parts, 0)

        def put(rows: Rows) -> None:
            with hdf5_errors():
                for name, values in rows.items():
                    for one in values:
                        items[name][..., done[name]] = one.T
                        done[name] += 1

        yield put
        for name, count in done.items():
            if count != parts[name][0][0]:
                raise RuntimeError(f"{name}: {count} of {parts[name][0][0]} cubes were written")


def refuse_other_stack(target: Path) -> None:
    """Refuse to replace what is there, unless an earlier call wrote it.

    Raises
    ------
    InputError
    """
    if os.path.lexists(target) and not _is_our_stack(target):
        raise InputError(f"{target} is no stack of cubes that hud-fast wrote: choose another --out")


def _is_our_stack(path: Path) -> bool:
    from hud_fast.scenes.mat import VariableFile, open_mat
    from hud_fast.scenes.numpy_files import Npz

    if path.is_symlink() or not path.is_file():
        return False
    with contextlib.suppress(
        OSError, ValueError, MemoryError
    ):  # a broken file, or none of that kind
        file: VariableFile = Npz(path) if path.suffix.lower() == ".npz" else open_mat(path)
        names = {*file.shapes, *file.others}
        ours = {CUBES, ABUNDANCES, ENDMEMBERS}
        more = {WAVELENGTHS, LABELS, NAMES}
        return ours <= names <= ours | more and len(file.shapes.get(CUBES, ())) == 4
    return False
