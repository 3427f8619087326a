"""Where `hud-fast sample` writes, by the name: a folder, or a file of the kind that its suffix says.

A stack of all cubes (.npz, .mat, see `stack_files`) also holds their abundances, the endmembers, the wavelengths and
the class maps of a model with classes. ENVI and GeoTIFF hold one cube a file; its map lies beside it, as the maps of a
.npy file do. Everything is written under a temporary name, as the cubes come, and appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hud_fast.pipeline.cubes import (
    SUFFIX,
    Array,
    Labels,
    Write,
    beside,
    in_order,
    names_of,
    refuse_foreign,
    writing_array,
)
from hud_fast.pipeline.errors import InputError, one_line
from hud_fast.pipeline.options import SampleOptions
from hud_fast.pipeline.places import check_free
from hud_fast.pipeline.stack_files import STACKS, refuse_other_stack
from hud_fast.pipeline.zarr_cubes import refuse_other_group

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD
    from hud_fast.scenes import Scene

Shape: TypeAlias = tuple[int, int, int, int]

SINGLE = (".hdr", ".tif")
KNOWN = (".npy", *STACKS, ".zarr", *SINGLE)
MAPS = ".labels.npy"  # ends the name of the maps of a .npy file
MADE = b"generated cube"  # in the name of each, which ENVI headers and GeoTIFFs keep


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
        refuse_other_stack(target)
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


def maps_beside(target: Path) -> list[Path]:
    """The files of class maps that go with a .npy, .hdr or .tif file; of other kinds none."""
    from hud_fast.scenes.label_writers import files_of

    suffix = target.suffix.lower()
    if suffix == ".npy":
        return [target.with_name(target.stem + MAPS)]
    return files_of(beside(target)) if suffix in SINGLE else []


def check_maps(target: Path, overwrite: bool) -> None:
    """Refuse to write class maps where others lie, but for those of an earlier call where `overwrite` is given.

    Raises
    ------
    InputError
    """
    for path in maps_beside(target):
        if os.path.lexists(path):
            check_free(path, overwrite)
            if not _is_our_map(path):
                raise InputError(f"{path} is no map of generated cubes: choose another --out")


def remove_maps(target: Path) -> None:
    """Remove the class maps of the cubes in `target`, which are replaced by cubes without."""
    for path in reversed(maps_beside(target)):
        if os.path.lexists(target) and _is_our_map(path):
            path.unlink()


def _is_our_map(path: Path) -> bool:
    """By what we write; of an image's numbers, by what lies beside them."""
    if path.is_symlink() or not path.is_file():
        return False
    if path.suffix == ".npy":
        with contextlib.suppress(Exception):  # a broken header raises what its parser likes
            array = np.lib.format.open_memmap(path, mode="r")
            return array.ndim == 3 and array.dtype.kind == "u"
        return False
    if path.suffix == ".hdr":
        return b"ENVI Classification" in path.read_bytes()[:4096]
    return (
        path.with_name(path.name.removesuffix(".aux.xml"))
        .with_suffix(".hdr" if path.suffix == ".img" else ".tif")
        .is_file()
    )


@contextlib.contextmanager
def writing_npy(target: Path, model: HUD, shape: Shape) -> Iterator[Write]:
    """Yield a function that writes the next cubes into a .npy file, and their class maps into one beside it."""
    from hud_fast.scenes.label_writers import smallest_type

    scale, classes = np.float32(model.scene.scale), model.classes
    with contextlib.ExitStack() as stack:
        put = stack.enter_context(writing_array(target, shape))
        put_labels: Callable[[Labels], None] | None = None
        if classes is not None:
            (path,), kept = maps_beside(target), smallest_type(max(classes.numbers))
            put_labels = stack.enter_context(writing_array(path, shape[:-1], kept))

        def write(cubes: Array, _: Array | None, labels: Labels | None = None) -> None:
            put(cubes * scale)
            if put_labels is not None and labels is not None:
                put_labels(labels)

        yield write


@contextlib.contextmanager
def writing_single(target: Path, model: HUD, scene: Scene) -> Iterator[Write]:
    """Yield a function that takes the one cube, which is written at the end, with its class map beside it."""
    from hud_fast.scenes import save_scene
    from hud_fast.scenes.label_writers import write_labels

    made: list[Array] = []
    maps: list[Labels] = []

    def write(cubes: Array, _: Array | None, labels: Labels | None = None) -> None:
        made.extend(cubes)
        maps.extend(() if labels is None else labels)

    yield write
    if len(made) != 1:
        raise RuntimeError(f"{target.name}: {len(made)} cubes came for one file")
    refuse_other(target)  # what came while the cube was made
    name = f"{scene.name}, {MADE.decode()} 0"
    save_scene(scene.replace(cube=made[0], name=name, dtype=np.float32), target)
    if (classes := names_of(model.classes)) is not None:
        write_labels(maps[0], beside(target), in_order(classes))


def _is_our_cube(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(MADE) >= 0
