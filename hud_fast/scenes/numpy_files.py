"""NumPy files: .npy holds the cube alone, .npz named arrays. Ours also hold every field of the scene.

An .npz of ours carries the key ``hud_fast_scene`` (its version) and comes back with all fields; any other
.npz is searched for its cube as a .mat file is. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import layout as axes
from hud_fast.scenes.raw import RawScene

OURS = "hud_fast_scene"
VERSION = 1


def read_npy(
    path: Path, layout: str | None, shape: tuple[int, int] | None, bands: int | None
) -> RawScene:
    """The cube of a .npy file, memory-mapped."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _broken(path, ".npy", error) from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"load_scene: `path` must hold real numbers, got {array.dtype} in {path}")
    if layout is None:
        if array.ndim != 3:
            raise ValueError(
                f"load_scene: `path` must hold a cube of three axes, or of two with layout= and shape=, "
                f"got shape {array.shape} in {path}"
            )
        layout = axes.guess_layout("load_scene", array, bands)
    cube = axes.band_last("load_scene", array, layout, shape, column_major=False)
    return RawScene(cube=cube, format="npy", dtype=array.dtype, details={"layout": layout})


class Npz:
    """The arrays of a .npz file."""

    format = "npz"
    version = ""
    column_major = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.others: dict[str, str] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".npy"):
                        self._note(name[: -len(".npy")], archive.open(name))
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            raise _broken(path, ".npz", error) from error

    def _note(self, name: str, file: Any) -> None:
        """Read the array's own header, a hundred bytes."""
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        with file:
            version = np.lib.format.read_magic(file)
            if version not in read_header:
                raise ValueError(f"array {name} is of an unknown version {version}")
            shape, _, dtype = read_header[version](file)
        if dtype.kind in "fiub":
            self.shapes[name] = tuple(shape)
        else:
            self.others[name] = str(dtype)

    def read(self, name: str) -> NDArray[Any]:
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                array: NDArray[Any] = archive[name]
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            raise _broken(self.path, ".npz", error) from error
        return array

    @property
    def is_ours(self) -> bool:
        """Written by `save_scene`?"""
        return OURS in self.shapes


def read_own_npz(file: Npz) -> RawScene:
    """A scene as `save_scene` wrote it, with every field."""
    facts = json.loads(str(file.read("facts")))
    arrays = {name: file.read(name) for name in file.shapes if name not in (OURS, "cube")}
    cube = file.read("cube")
    raw = RawScene(cube=cube, format="npz", dtype=cube.dtype, details={"layout": "HWC"})
    raw.variable = facts.pop("variable", None)
    raw.ignore_value = facts.pop("ignore_value", None)
    raw.geo = facts.pop("geo", None)
    raw.wavelengths, raw.fwhm = arrays.get("wavelengths"), arrays.get("fwhm")
    raw.good_bands, raw.mask = arrays.get("good_bands"), arrays.get("mask")
    raw.labels = arrays.get("labels")
    rgb = facts.pop("rgb_bands", None)
    raw.rgb_bands = None if rgb is None else (rgb[0], rgb[1], rgb[2])
    if facts.get("label_names") is not None:
        facts["label_names"] = tuple(facts["label_names"])
    raw.fields = facts
    if "truth_endmembers" in arrays:
        from hud_fast.scenes.scene import Truth

        raw.fields["truth"] = Truth(arrays["truth_endmembers"], arrays["truth_abundances"])
    return raw


def _broken(path: Path, kind: str, error: Exception) -> OSError:
    return OSError(
        f"load_scene: `path` must be a whole {kind} file, got a broken one, {path}: {error}"
    )
