"""NumPy files: .npy holds the cube alone, .npz named arrays. Ours also hold every field of the scene.

An .npz of ours carries the key ``hud_fast_scene`` (its version) and comes back with all fields; any other
.npz is searched for its cube as a .mat file is. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed
from hud_fast.scenes import checks
from hud_fast.scenes import layout as axes
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.scene import Truth
from hud_fast.scenes.trust import check_claim, check_count, whole

OURS = "hud_fast_scene"
VERSION = 1
# What the facts of an .npz of ours may say, and how: whatever else stands there was not written by us.
FACTS: dict[str, type | tuple[type, ...]] = {
    "name": str, "variable": str, "scale": (int, float), "ignore_value": (int, float), "label_names": list,
    "rgb_bands": list, "geo": dict, "simulated": bool, "endmember_count": int, "zeros_are_data": bool,
    "band_names": list, "reflectance_factor": (int, float),
}  # fmt: skip


def read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file, memory-mapped."""
    with whole(path):
        with path.open("rb") as file:  # numpy reads as long a header as the file says
            start = file.read(12)
        length = int.from_bytes(start[8:10] if start[6:7] == b"\1" else start[8:12], "little")
        if length > path.stat().st_size:
            raise ValueError(f"its header would have {length} bytes")
        if not start.startswith(b"\x93NUMPY"):
            kind = ", but an .npz: call it so" if start.startswith(b"PK") else ""
            raise ValueError(f"it is not a .npy file{kind}")
        # Not np.load, which takes an .npz under this name, and advises to unpickle what is none.
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    return array


def read_npy(path: Path, request: Request) -> RawScene:
    """The cube of a .npy file, memory-mapped."""
    array, layout = read_array(path), request.layout
    if array.dtype.kind not in "fiu":
        raise TypeError(f"load_scene: `path` must hold real numbers, got {array.dtype} in {path}")
    if array.ndim == 4:
        raise ValueError(
            f"load_scene: `path` must hold one cube, got a stack of shape {array.shape} in {path}: save one of its "
            "cubes, or the stack as .npz, where `variable` names one"
        )
    if layout is None:
        if array.ndim != 3:
            raise ValueError(
                f"load_scene: `path` must hold a cube of three axes, or of two with layout= and shape=, "
                f"got shape {array.shape} in {path}"
            )
        layout = axes.guess_layout("load_scene", array, request.bands)
    cube = axes.band_last("load_scene", array, layout, request.shape, column_major=False)
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
        self.nested: set[str] = set()  # NumPy has no structures
        self._asked: dict[str, tuple[int, int]] = {}  # numbers, and bytes of each
        with whole(path), zipfile.ZipFile(path) as archive:
            check_count(len(archive.infolist()))
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    self._note(archive, entry)

    def _note(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        """Read the array's own header, a hundred bytes."""
        name = entry.filename.removesuffix(".npy")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # NumPy writes no other; of these, zipfile inflates without a limit.
            raise ValueError(f"array {name} is compressed by the method {entry.compress_type}")
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            if version not in read_header:
                raise ValueError(f"array {name} is of an unknown version {version}")
            shape, _, dtype = read_header[version](file)
            size, have = math.prod(shape) * dtype.itemsize, entry.file_size - file.tell()
        if dtype.hasobject:
            self.others[name] = "objects, which are not read"
            return
        if min(shape, default=0) < 0 or size != have:
            raise ValueError(f"array {name} has {have} bytes for {shape} of {dtype}")
        self._asked[name] = math.prod(shape), dtype.itemsize
        if dtype.kind in "fiub":
            self.shapes[name] = tuple(shape)
        else:
            self.others[name] = str(dtype)

    def read(self, name: str) -> NDArray[Any]:
        """The array of this name."""
        with whole(self.path), zipfile.ZipFile(self.path) as archive:
            check_claim(self.path, f"array {name}", *self._asked[name])
            with archive.open(f"{name}.npy") as file:
                array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array

    @property
    def is_ours(self) -> bool:
        """Written by `save_scene`?"""
        return OURS in self.shapes


def read_own_npz(file: Npz) -> RawScene:
    """A scene as `save_scene` wrote it, with every field."""
    with whole(file.path):
        facts = facts_of(file)
        arrays = {name: file.read(name) for name in file.shapes if name not in (OURS, "cube")}
        cube = file.read("cube")
        if cube.ndim != 3 or cube.dtype.kind not in "fiu":
            raise ValueError(f"its cube is {cube.shape} of {cube.dtype}")
        raw = RawScene(cube=cube, format="npz", dtype=cube.dtype, details={"layout": "HWC"})
        raw.variable = facts.pop("variable", None)
        raw.ignore_value = facts.pop("ignore_value", None)
        raw.geo = facts.pop("geo", None)
        names = facts.pop("band_names", None)
        raw.band_names = None if names is None else tuple(names)
        factor = facts.pop("reflectance_factor", None)
        if factor is not None:
            raw.reflectance_factor = checks.positive("load_scene", "reflectance_factor", factor)
            raw.details["reflectance scale factor"] = repr(raw.reflectance_factor)
        raw.wavelengths, raw.fwhm = arrays.get("wavelengths"), arrays.get("fwhm")
        raw.good_bands, raw.mask = arrays.get("good_bands"), arrays.get("mask")
        raw.labels = arrays.get("labels")
        rgb = facts.pop("rgb_bands", None)
        raw.rgb_bands = None if rgb is None else (int(rgb[0]), int(rgb[1]), int(rgb[2]))
        raw.fields = facts
        if "truth_endmembers" in arrays:
            raw.fields["truth"] = _truth(
                cube, arrays["truth_endmembers"], arrays["truth_abundances"]
            )
    return raw


def facts_of(file: Npz) -> dict[str, Any]:
    """What is no array, each of the type that we write."""
    version = file.read(OURS)
    if version.shape != () or version != VERSION:
        raise ValueError(f"it is of version {version}, known is {VERSION}")
    if not file.others.get("facts", "").startswith("<U"):
        raise ValueError(f"its facts are {file.others.get('facts', 'missing')}")
    text = file.read("facts")
    if text.reshape(-1).view(np.uint32).max(initial=0) > sys.maxunicode:
        raise ValueError(
            "its facts are no text"
        )  # Python would take it for a letter, and fail later
    facts = json.loads(str(text))
    known = {key: value for key, value in facts.items() if value is not None}
    wrong = [key for key, value in known.items() if not isinstance(value, FACTS.get(key, ()))]
    texts = ("label_names", "band_names")
    words = [] if wrong else [word for key in texts for word in known.get(key, ())]
    words += [] if wrong else known.get("geo", {}).values()
    if wrong or not all(isinstance(word, str) for word in words):
        raise ValueError(
            f"its facts are none of ours: {listed(wrong) or 'no words in geo or names'}"
        )
    return known


def _truth(
    cube: NDArray[Any],  # (H, W, C)
    endmembers: NDArray[Any],  # (D, C)
    abundances: NDArray[Any],  # (H, W, D)
) -> Truth:
    H, W, C = cube.shape
    D = len(endmembers)
    if endmembers.shape != (D, C) or abundances.shape != (H, W, D):
        raise ValueError(f"its truth has the shapes {endmembers.shape} and {abundances.shape}")
    return Truth(endmembers, abundances)
