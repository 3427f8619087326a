"""Where `hud-fast sample` writes, by the name: a folder, or a file of the kind that its suffix says.

A stack of all cubes (.npz, .mat) also holds their abundances, the endmembers and the wavelengths; ENVI and GeoTIFF hold
one cube a file. Everything is written under a temporary name, as the cubes come, and appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_path
from hud_fast.pipeline.cubes import SUFFIX, growing, refuse_foreign
from hud_fast.pipeline.errors import InputError, one_line
from hud_fast.pipeline.options import SampleOptions
from hud_fast.pipeline.zarr_cubes import refuse_other_group

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene

Array: TypeAlias = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int, int]
Write: TypeAlias = Callable[
    [Array, Array], None
]  # of cubes (b, h, w, C) and abundances (b, h, w, D)

STACKS = (".npz", ".mat")
SINGLE = (".hdr", ".tif")
KNOWN = (".npy", *STACKS, ".zarr", *SINGLE)
CUBES, ABUNDANCES, ENDMEMBERS, WAVELENGTHS = "cubes", "abundances", "endmembers", "wavelengths"
MADE = b"generated cube"  # in the name of each, which ENVI headers and GeoTIFFs keep
CHUNK = 1 << 24  # bytes of an HDF5 file that are packed together, at most


def check_target(target: Path, options: SampleOptions) -> None:
    """Refuse, before any work, a name that no cubes can be written to.

    Raises
    ------
    InputError
        A suffix that is of no kind of file here, or of one that holds one cube where more are asked for.
    """
    suffix = target.suffix.lower()
    if suffix not in KNOWN:
        # "v1.5" and "2026-11-28.2" are names of folders, and one that is there may be called as it likes.
        if re.fullmatch(r"\.[a-z][a-z0-9]*", suffix) and not target.is_dir():
            raise InputError(
                f"--out must end in one of {', '.join(KNOWN)}, or be a folder, a name without a suffix; got {target}"
            )
        return
    if suffix in (*STACKS, *SINGLE) and target.is_dir():
        raise InputError(f"{target} is a folder: choose another --out")
    kinds = {end: kind for kind, end in SUFFIX.items()} | {".npy": "npy", ".zarr": "zarr"}
    if options.format not in ("auto", kinds.get(suffix)):
        raise InputError(f"--format {options.format} needs a folder as --out, got {target}")
    if suffix in SINGLE and options.samples != 1:
        beside = f" with --format {kinds[suffix]}" if suffix in kinds else ""
        raise InputError(
            f"a {suffix} file holds one cube, and {options.samples} are asked for: give --count 1, or as --out a "
            f"folder{beside}, or one file of all (.npy, .npz, .mat, .zarr); got {target}"
        )


def refuse_other(target: Path) -> None:
    """Refuse to replace what is there, unless it is what an earlier call wrote under such a name.

    Raises
    ------
    InputError
    """
    suffix = target.suffix.lower()
    if suffix == ".zarr":
        refuse_other_group(target)
    elif suffix in STACKS:
        if os.path.lexists(target) and not _is_our_stack(target):
            raise InputError(
                f"{target} is no stack of cubes that hud-fast wrote: choose another --out"
            )
    elif suffix in SINGLE:
        if os.path.lexists(target) and not _is_our_cube(target):
            raise InputError(f"{target} is no cube that hud-fast generated: choose another --out")
    else:
        refuse_foreign(target)


def check_single(target: Path, scene: Scene) -> None:
    """Refuse, before any work, what `save_scene` could not write: try it with a scene of one pixel.

    Raises
    ------
    InputError
        What it says, of `target`.
    """
    if target.suffix.lower() not in SINGLE:
        return
    from hud_fast.scenes import save_scene

    if target.suffix.lower() == ".hdr" and not os.path.lexists(target):
        from hud_fast.scenes.raw_numbers import candidates

        for data in candidates(target)[:1]:
            raise InputError(
                f"{data} lies beside {target.name} and would be read instead: choose another --out"
            )
    with tempfile.TemporaryDirectory() as folder:
        try:
            save_scene(scene, Path(folder) / f"scene{target.suffix}")
        except (OSError, ValueError, TypeError, ImportError) as error:
            text = one_line(error).replace(str(Path(folder) / f"scene{target.suffix}"), str(target))
            raise InputError(text) from error


@contextlib.contextmanager
def writing_single(target: Path, scene: Scene) -> Iterator[Write]:
    """Yield a function that takes the one cube, which is written at the end."""
    from hud_fast.scenes import save_scene

    made: list[Array] = []
    yield lambda cubes, _: made.extend(cubes)
    if len(made) != 1:
        raise RuntimeError(f"{target.name}: {len(made)} cubes came for one file")
    refuse_other(target)  # what came while the cube was made
    name = f"{scene.name}, {MADE.decode()} 0"
    save_scene(scene.replace(cube=made[0], name=name, dtype=np.float32), target)


@contextlib.contextmanager
def writing_stack(target: Path, model: HUD, shape: Shape) -> Iterator[Write]:
    """Yield a function that writes the next cubes and abundance maps into one .npz or .mat file.

    ``write(cubes, abundances)`` takes (b, h, w, C) in the unit of the model and (b, h, w, D).

    Raises
    ------
    InputError
        `target` is something that no earlier call wrote.
    RuntimeError
        The block ends before all of `shape` was written.
    """
    from hud_fast.scenes.writers import V5_LARGEST

    refuse_other(target)
    scale, maps_shape = np.float32(model.scene.scale), (*shape[:3], model.D)
    beside: dict[str, NDArray[Any]] = {ENDMEMBERS: np.asarray(model.endmembers * scale)}
    if model.wavelengths is not None:
        beside[WAVELENGTHS] = np.asarray(model.wavelengths, np.float64)
    matlab = _mat_v5 if 4 * int(np.prod(shape)) <= V5_LARGEST else _mat_hdf5
    how = _npz if target.suffix.lower() == ".npz" else matlab
    with atomic_path(target) as temporary:
        with how(temporary, shape, maps_shape, beside) as write:
            yield lambda cubes, maps: write(cubes * scale, maps)
        refuse_other(target)  # what came while the cubes were made


@contextlib.contextmanager
def _npz(
    path: Path, shape: Shape, maps_shape: Shape, beside: dict[str, NDArray[Any]]
) -> Iterator[Write]:
    """The cubes go into the archive as they come; their maps wait beside it, as an archive takes one file at a time."""
    with (
        tempfile.TemporaryFile(dir=path.parent) as waiting,
        zipfile.ZipFile(path, "w", allowZip64=True) as archive,
    ):
        with (
            growing(waiting, maps_shape, ABUNDANCES) as put_maps,
            archive.open(f"{CUBES}.npy", "w", force_zip64=True) as file,
            growing(file, shape, CUBES) as put,
        ):

            def write(cubes: Array, maps: Array) -> None:
                put(cubes)
                put_maps(maps)

            yield write
        waiting.seek(0)
        with archive.open(f"{ABUNDANCES}.npy", "w", force_zip64=True) as file:
            while block := waiting.read(CHUNK):
                file.write(block)
        for name, values in beside.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, values)


@contextlib.contextmanager
def _mat_v5(
    path: Path, shape: Shape, maps_shape: Shape, beside: dict[str, NDArray[Any]]
) -> Iterator[Write]:
    """All wait beside the file: there the number of the cube runs fastest, so that no cube is whole before the last."""
    from hud_fast.scenes.mat_v5 import write_v5

    with (
        tempfile.TemporaryFile(dir=path.parent) as cubes_file,
        tempfile.TemporaryFile(dir=path.parent) as maps_file,
    ):
        with (
            growing(cubes_file, shape, CUBES) as put,
            growing(maps_file, maps_shape, ABUNDANCES) as put_maps,
        ):

            def write(cubes: Array, maps: Array) -> None:
                put(cubes)
                put_maps(maps)

            yield write
        content: dict[str, NDArray[Any]] = {
            CUBES: _mapped(cubes_file, shape),
            ABUNDANCES: _mapped(maps_file, maps_shape),
        }
        write_v5(path, content | beside)


def _mapped(file: Any, shape: Shape) -> Array:
    """The array at the end of a file, memory-mapped."""
    size = 4 * int(np.prod(shape))
    file.flush()
    start = file.seek(0, os.SEEK_END) - size
    return np.memmap(file, "<f4", "r", start, shape)


@contextlib.contextmanager
def _mat_hdf5(
    path: Path, shape: Shape, maps_shape: Shape, beside: dict[str, NDArray[Any]]
) -> Iterator[Write]:
    """MATLAB v7.3, where a dataset grows by whole cubes."""
    from hud_fast.scenes.writers import hdf5_array, hdf5_errors, hdf5_file

    with hdf5_file(path) as file:
        for name, values in beside.items():
            whole = np.atleast_2d(values)
            hdf5_array(file, name, whole.shape, whole.dtype, data=whole.T)

        def grows(name: str, of: Shape) -> Any:
            _, h, w, channels = of
            few = min(channels, max(1, CHUNK // (4 * h * w)))
            return hdf5_array(file, name, of, np.dtype(np.float32), chunks=(few, w, h, 1))

        generated, abundances = grows(CUBES, shape), grows(ABUNDANCES, maps_shape)
        done = 0

        def write(cubes: Array, maps: Array) -> None:
            nonlocal done
            with hdf5_errors():
                for cube, of in zip(cubes, maps, strict=True):
                    generated[..., done], abundances[..., done] = cube.T, of.T
                    done += 1

        yield write
        if done != shape[0]:
            raise RuntimeError(f"{path.name}: {done} of {shape[0]} cubes were written")


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
        return ours <= names <= ours | {WAVELENGTHS} and len(file.shapes.get(CUBES, ())) == 4
    return False


def _is_our_cube(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(MADE) >= 0
