"""Files of raw numbers beside a header: which file it is, how the numbers lie in it, and a view of them.

The file's size is the one check that there is of what a header says, so it is told where it does not fit. A file
that is packed by gzip is unpacked into memory, up to the size that the header asks for.
"""

from __future__ import annotations

import gzip
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._text import listed, size_text
from hud_fast.scenes.trust import LARGEST_RATIO, broken, check_memory

DATA_SUFFIXES = (".img", ".dat", ".bil", ".bip", ".bsq", ".raw", ".bin", ".hyspex", ".sli")
GZIP = b"\x1f\x8b"
# Axes of the file, slowest first.
INTERLEAVES = {"bsq": "CHW", "bil": "HCW", "bip": "HWC"}
# What lies beside an image, but is none.
OTHER_SUFFIXES = (
    ".hdr", ".xml", ".txt", ".csv", ".prj", ".sta", ".stx", ".clr", ".enp", ".enl", ".ovr", ".evf", ".roi", ".gcp",
    ".pts", ".igm", ".glt", ".png", ".jpg", ".jpeg", ".bmp", ".pdf", ".md5", ".sha256", ".log", ".json", ".py", ".m",
    ".md", ".mat", ".npy", ".npz", ".kml", ".kmz", ".rtf", ".doc", ".blw", ".bqw", ".bpw", ".tfw", ".zip", ".h5", ".nc",
)  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """How the numbers of an image lie in a file."""

    shape: tuple[int, int, int]  # (H, W, C)
    dtype: np.dtype[Any]
    start: int  # bytes before the first
    strides: tuple[int, int, int]  # bytes from one to the next along (H, W, C)
    size: int  # bytes that the file must have
    framed: bool = False  # bytes between the numbers

    @property
    def least(self) -> int:
        """Bytes up to the last number: what lies behind it may be missing."""
        steps = zip(self.shape, self.strides, strict=True)
        return self.start + sum((n - 1) * step for n, step in steps) + self.dtype.itemsize

    @classmethod
    def of(
        cls,
        shape: tuple[int, int, int],  # (H, W, C)
        dtype: np.dtype[Any],
        interleave: str,
        offset: int,
        major: tuple[int, int] = (0, 0),
        minor: tuple[int, int] = (0, 0),
    ) -> Numbers:
        """Numbers of one interleave after `offset` bytes.

        Each of the slowest axis (bands of BSQ; lines of BIL, BIP) has `major` bytes before and behind it, each of
        the second (lines of BSQ, bands of BIL, pixels of BIP) `minor`.
        """
        axes = INTERLEAVES[interleave]
        first, second, third = (shape["HWC".index(axis)] for axis in axes)
        inner = sum(minor) + third * dtype.itemsize
        outer = sum(major) + second * inner
        steps = dict(zip(axes, (outer, inner, dtype.itemsize), strict=True))
        return cls(
            shape,
            dtype,
            offset + major[0] + minor[0],
            (steps["H"], steps["W"], steps["C"]),
            offset + first * outer,
            any((*major, *minor)),
        )

    def view(self, data: Path, *, packed: bool = False) -> NDArray[Any]:  # (H, W, C)
        """The numbers, mapped from the file.

        Raises
        ------
        OSError
            If the file is shorter, or so long that the header must be wrong.
        """
        count = int(np.prod([int(n) for n in self.shape], dtype=object))
        if packed:
            check_memory(data, self.size + 4 * count)
            return self._of_bytes(np.frombuffer(self._unpacked(data), np.uint8))
        have = data.stat().st_size
        self.check_size(data, have)
        check_memory(data, 4 * count)
        return self._of_bytes(np.memmap(data, np.uint8, mode="r"))

    def _of_bytes(self, values: NDArray[np.uint8]) -> NDArray[Any]:
        buffer: Any = values  # the view keeps the file's map alive
        return np.ndarray(self.shape, self.dtype, buffer, self.start, self.strides)

    def check_size(self, data: Path, have: int) -> None:
        """Compare the file's bytes with those that the header asks for."""
        if have == self.size or (self.framed and self.least <= have <= self.size):
            return
        height, width, bands = self.shape
        asked = (
            f"got {data} with {have} bytes where the header asks for {self.size} ({height} lines x {width} samples x "
            f"{bands} bands of {self.dtype.name})"
        )
        if not self.framed:
            offset = self.start
            other = [
                n for n in (1, 2, 4, 8, 16) if have - offset == height * width * bands * n
            ]  # 16: complex
            if other:
                raise OSError(
                    f"load_scene: `path` must have the header's data type, {asked}; it fits numbers of {other[0]} bytes"
                )
        if have < self.size:
            raise OSError(f"load_scene: `path` must have all its data, {asked}")
        if self.framed:
            raise OSError(f"load_scene: `path` must have the frames that its header says, {asked}")
        _warn(f"the last {have - self.size} bytes are left out, {asked}")

    def _unpacked(self, data: Path) -> bytes:
        have = data.stat().st_size
        if self.size > LARGEST_RATIO * have:
            raise broken(
                data, f"the header asks for {self.size} bytes, which {have} packed ones cannot hold"
            )
        with gzip.open(data) as file:
            values = file.read(self.size)
            more = file.read(1)
        if len(values) < self.size:
            self.check_size(data, len(values))
        if more:
            _warn(
                f"bytes behind the {size_text(self.size)} that the header asks for are left out of {data}"
            )
        return values


def is_packed(data: Path) -> bool:
    """Whether the file begins as gzip's do."""
    with data.open("rb") as file:
        return file.read(2) == GZIP


def candidates(header: Path) -> list[Path]:
    """The files beside a header that may be its data: its name without suffix, or with one of the usual ones."""
    stem = header.with_suffix("")
    if stem.suffix and stem.is_file():  # scene.img.hdr
        return [stem]
    suffixes = ["", *DATA_SUFFIXES, *(f"{suffix}.gz" for suffix in ("", *DATA_SUFFIXES))]
    tried = [stem.with_name(stem.name + s) for suffix in suffixes for s in (suffix, suffix.upper())]
    found: dict[tuple[int, int], Path] = {}  # a file system may not tell a from A
    for name in tried:
        if name.is_file():
            facts = name.stat()
            found.setdefault((facts.st_dev, facts.st_ino), name)
    return list(found.values())


def others_of_stem(header: Path) -> list[Path]:
    """Files of the header's stem with any other suffix that may be an image's."""
    stem = header.with_suffix("").name
    return sorted(
        entry
        for entry in header.parent.iterdir()
        if entry.stem == stem and entry.suffix.lower() not in OTHER_SUFFIXES and entry.is_file()
    )


def find_data(header: Path, size: int) -> Path:
    """The data file of a header that asks for `size` bytes.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If there are several, and their sizes do not tell which.
    """
    found = candidates(header) or others_of_stem(header)
    if not found:
        raise FileNotFoundError(
            f"load_scene: `path` must have its data file beside the header, got {header} alone; looked for "
            f"{header.stem} with the suffixes (none), {', '.join(DATA_SUFFIXES)}, and .gz behind them"
        )
    if len(found) == 1:
        return found[0]
    names = listed(path.name for path in found)
    fitting = [path for path in found if path.stat().st_size == size]
    if len(fitting) != 1:
        raise ValueError(
            f"load_scene: `path` must be the data file where several may belong to a header, got {header} with "
            f"{names} beside it ({'all' if len(fitting) == len(found) else len(fitting)} of the header's {size} bytes)"
        )
    _warn(f"{fitting[0].name} is read for {header}, of {names}: its size fits")
    return fitting[0]


def _warn(text: str) -> None:
    warnings.warn(f"load_scene: {text}", UserWarning, stacklevel=5)
