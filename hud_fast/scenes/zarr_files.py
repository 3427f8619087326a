"""Zarr groups and arrays (versions 2 and 3), folders of chunks: read through the package zarr, which is an extra."""

from __future__ import annotations

import base64
import contextlib
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.array_files import Array, ChunkedRows
from hud_fast.scenes.array_scenes import read_arrays
from hud_fast.scenes.raw import RawScene, Request
from hud_fast.scenes.trust import broken, check_count, check_memory, whole

MARKS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")


def is_zarr(path: Path) -> bool:
    """Is this folder a Zarr group or array?"""
    return any((path / mark).is_file() for mark in MARKS)


class ZarrFile:
    """The arrays of a Zarr group; of an array alone, which has its folder's name."""

    format = "zarr"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attributes: dict[str, dict[str, Any]] = {}
        self.arrays: dict[str, Array] = {}
        self.texts: dict[str, list[str]] = {}
        self.others: dict[str, str] = {}
        self._alone = False
        zarr = _zarr(path)
        _refuse_links(path)
        with whole(path):
            node = zarr.open(path, mode="r")
            if isinstance(node, zarr.Array):
                self._alone = True
                self.attributes[""] = {}
                self._note(path.stem, node)
                return
            self.attributes[""] = dict(node.attrs)
            for name, member in node.members(max_depth=None):
                check_count(len(self.attributes) + len(self.arrays) + len(self.others))
                if isinstance(member, zarr.Array):
                    self._note(name, member)
                else:
                    self.attributes[name] = dict(member.attrs)

    def _note(self, name: str, array: Any) -> None:
        facts = dict(array.attrs)
        dims = (
            getattr(array.metadata, "dimension_names", None) or facts.get("_ARRAY_DIMENSIONS") or ()
        )
        if np.dtype(array.dtype).kind not in "fiub":
            self.attributes[name] = facts
            self.others[name] = "no numbers"
            return
        words = tuple("" if word is None else str(word) for word in dims)
        fill = _fill(array, facts.get("_FillValue"))
        facts.update({} if fill is None else {"_FillValue": fill})
        self.arrays[name] = Array(
            name,
            tuple(array.shape),
            np.dtype(array.dtype),
            facts,
            words if len(words) == array.ndim else (),
        )

    def _array(self, name: str) -> Any:
        return _open(self.path, "" if self._alone else name)

    def read(self, name: str) -> NDArray[Any]:
        """All values of an array."""
        array = self.arrays[name]
        with whole(self.path):
            check_memory(self.path, math.prod(array.shape) * (array.dtype.itemsize + 4))
            return np.asarray(self._array(name)[...])

    def rows(self, name: str, order: str) -> ZarrRows:
        """The cube that an array of three axes is, unread."""
        array = self.arrays[name]
        a, b, c = array.shape
        chunks = tuple(max(1, int(size)) for size in self._array(name).chunks)
        key = "" if self._alone else name
        return ZarrRows(self.path, key, order, (a, b, c), array.dtype, chunks)


@dataclass(eq=False)
class ZarrRows(ChunkedRows):
    """A cube in a Zarr group."""

    def part(self, box: Sequence[tuple[int, int]]) -> NDArray[Any]:
        """The values from, to along each axis of the file."""
        with whole(self.path):
            check_memory(self.path, math.prod(b - a for a, b in box) * self.dtype.itemsize)
            values = np.asarray(_open(self.path, self.name)[tuple(slice(a, b) for a, b in box)])
            if values.dtype != self.dtype:
                raise broken(self.path, f"{self.name} was changed while it was read")
            return values


def read_zarr(path: Path, request: Request) -> RawScene:
    """The cube of a Zarr group or array."""
    return read_arrays(ZarrFile(path), request)


def _open(path: Path, name: str) -> Any:
    node = _zarr(path).open(path, mode="r")
    return node[name] if name else node


def _fill(array: Any, written: Any) -> Any:
    """What stands for missing data: an attribute, in xarray's words for version 3; version 2 has a place for it."""
    if isinstance(written, str):
        with contextlib.suppress(ValueError, struct.error):
            return struct.unpack("<d", base64.b64decode(written, validate=True))[0]
    if written is not None or array.metadata.zarr_format != 2:
        return written
    return (
        array.fill_value.item() if array.fill_value else None
    )  # 0 is written where nobody has said anything


def _refuse_links(path: Path) -> None:
    """What a link leads to is not the group's."""
    folders = [os.fspath(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise ValueError(f"it holds a link, which is not followed: {entry.name}")
                if entry.is_dir():
                    folders.append(entry.path)


def _zarr(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(
            f'load_scene: `path_or_name` {path} needs the package zarr, 3 or newer: pip install "hud-fast[zarr]"'
        ) from error
    return zarr
