"""Sets of generated cubes as a Zarr group, which xarray opens: one chunk a cube, written as the cubes come.

``generated`` (sample, row, column, band) float32 in the units of the scene's file, ``abundances`` (sample, row, column,
endmember), ``endmembers`` (endmember, band), ``wavelength`` (band) in nm where it is known, and of a model with classes
``labels`` (sample, row, column), 0 = no class, whose attribute ``label_names`` lists the names of 1, 2, ...
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._files import atomic_dir
from hud_fast.pipeline.cubes import Array, Labels, Write, in_order, names_of
from hud_fast.pipeline.errors import InputError, user_input

if TYPE_CHECKING:
    from hud_fast.diffusion import HUD

GENERATED = "generated"
SPACE = ("sample", "row", "column")
SEED = "seed of the model"  # an attribute, by which a group of ours is known
_INSIDE = re.compile(
    rf"zarr\.json|({GENERATED}|abundances|endmembers|wavelength|labels)/(zarr\.json|c(/\d+)+)"
)


@contextlib.contextmanager
def writing_zarr(
    path: Path,
    model: HUD,
    shape: tuple[int, int, int, int],  # (B, h, w, C)
) -> Iterator[Write]:
    """Yield a function that writes the next cubes and maps; the group appears whole or not at all.

    ``write(cubes, abundances, labels)`` takes (b, h, w, C) in the unit of the model, (b, h, w, D) and, of a model with
    classes, (b, h, w).

    Raises
    ------
    InputError
        The package zarr is missing, or `path` is something that is no Zarr group.
    RuntimeError
        The block ends before all of `shape` was written.
    """
    from hud_fast.scenes.label_writers import smallest_type

    zarr = _zarr(path)
    refuse_other_group(path)
    B, h, w, C = shape
    scale, done = np.float32(model.scene.scale), 0
    with atomic_dir(path) as temporary:
        group = zarr.open_group(temporary, mode="w")
        group.attrs.update({"scene": model.scene.name, SEED: model.seed})

        def put_whole(name: str, values: NDArray[Any], axes: tuple[str, ...]) -> None:
            made = group.create_array(
                name, shape=values.shape, dtype=values.dtype, dimension_names=axes
            )
            made[:] = values

        def grows(name: str, channels: int, axis: str) -> Any:
            return group.create_array(
                name,
                shape=(B, h, w, channels),
                chunks=(1, h, w, channels),
                dtype=np.float32,
                dimension_names=(*SPACE, axis),
            )

        put_whole("endmembers", model.endmembers * scale, ("endmember", "band"))
        if model.wavelengths is not None:
            put_whole("wavelength", np.asarray(model.wavelengths, np.float64), ("band",))
            group["wavelength"].attrs["units"] = "nm"
        generated = grows(GENERATED, C, "band")
        maps = grows("abundances", model.D, "endmember")
        label_maps: Any = None
        if (classes := names_of(model.classes)) is not None:
            label_maps = group.create_array(
                "labels",
                shape=(B, h, w),
                chunks=(1, h, w),
                dtype=smallest_type(max(classes)),
                dimension_names=SPACE,
            )
            label_maps.attrs["label_names"] = list(in_order(classes))

        def write(cubes: Array, abundances: Array | None, labels: Labels | None = None) -> None:
            nonlocal done
            rows = slice(done, done + len(cubes))
            generated[rows] = cubes * scale
            maps[rows] = abundances
            if label_maps is not None:
                label_maps[rows] = labels
            done += len(cubes)

        yield write
        if done != B:
            raise RuntimeError(f"{path.name}: {done} of {B} cubes were written")
        refuse_other_group(path)  # what came while the cubes were made


def refuse_other_group(path: Path) -> None:
    """Refuse to replace what is no group that `writing_zarr` wrote, or holds a file of somebody else's.

    Raises
    ------
    InputError
    """
    if not os.path.lexists(path):
        return
    facts: Any = None
    with contextlib.suppress(OSError, ValueError):
        facts = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    if not isinstance(facts, dict) or SEED not in (facts.get("attributes") or {}):
        raise InputError(f"{path} is no Zarr group that hud-fast wrote: choose another --out")
    for entry in sorted(path.rglob("*")):
        name = entry.relative_to(path).as_posix()
        if entry.is_symlink() or not (entry.is_dir() or _INSIDE.fullmatch(name)):
            raise InputError(f"{path} holds other files ({name}): choose another --out")


def read_zarr(path: Path) -> Array:  # (B, h, w, C)
    """The cubes of a group that `writing_zarr` wrote.

    Raises
    ------
    InputError
        The package zarr is missing, or `path` holds no such group.
    """
    zarr = _zarr(path)
    with user_input(str(path)):
        group = zarr.open_group(path, mode="r")
    if GENERATED not in group or group[GENERATED].ndim != 4:
        raise InputError(
            f"{path} must hold cubes of shape (B, h, w, C) named {GENERATED}, got a group without"
        )
    return np.asarray(group[GENERATED][:], dtype=np.float32)


def _zarr(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            f"{path} needs the package zarr, 3 or newer: pip install 'hud-fast[zarr]'"
        ) from error
    return zarr
