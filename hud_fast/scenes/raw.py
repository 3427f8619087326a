"""RawScene: what a reader found in a file, before scaling and checking. One shape for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from hud_fast.scenes.georeference import Lookup

ROWS_A_BLOCK = 32  # a block of a column-major cube reads whole cache lines of 32 rows


class Rows(Protocol):
    """A cube's values, (H, W, C) in file units, read some rows at a time: an array, or a file behind it."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...  # (n, W, C)


@dataclass(frozen=True)
class Request:
    """How the user wants the file read."""

    variable: str | None = None
    layout: str | None = None
    shape: tuple[int, int] | None = None  # (H, W)
    bands: int | None = None  # how many there are, if known


@dataclass(frozen=True)
class Reader:
    """One kind of file: how it is known and read. `scenes.readers` lists them, the most particular first."""

    name: str
    matches: Callable[
        [Path, bytes], bool
    ]  # of a path and the first bytes (512, or all) of its file
    read: Callable[[Path, Request], RawScene]  # values unread where the kind of file allows it
    takes: frozenset[str] = frozenset()  # what it can use of variable, layout, shape
    suffixes: tuple[str, ...] = ()  # for those who ask what there is


@dataclass
class RawScene:
    """File values (any strides, any real dtype) and the side information that came with them.

    Values mean `file value * gains + offsets`, where a file says so.
    """

    cube: Rows  # (H, W, C) in file units
    format: str
    dtype: np.dtype[Any]
    variable: str | None = None
    wavelengths: NDArray[np.float64] | None = None  # (C,) nm
    fwhm: NDArray[np.float64] | None = None  # (C,) nm
    good_bands: ArrayLike | None = None  # (C,)
    mask: ArrayLike | None = None  # (H, W)
    labels: ArrayLike | None = None  # (H, W)
    rgb_bands: tuple[int, int, int] | None = None
    reflectance_factor: float | None = None  # file value = reflectance * factor
    ignore_value: float | None = None  # file units
    geo: dict[str, str] | None = None
    lookup: Lookup | None = None  # from the sensor's rows and columns to a map's
    gains: NDArray[np.float64] | None = None  # (C,)
    offsets: NDArray[np.float64] | None = None  # (C,)
    band_names: tuple[str, ...] | None = None
    details: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)  # further fields of Scene, by name


def file_values(cube: Rows, rows: slice, columns: slice | None = None) -> NDArray[Any]:
    """A rectangle of the cube as it is in the file; only its own bytes are read where the cube has a `window`."""
    W = cube.shape[1]
    if columns is None or columns.indices(W)[:2] == (0, W):
        return cube[rows]
    if isinstance(cube, np.ndarray):
        return cube[rows, columns]
    window = getattr(cube, "window", None)
    found: NDArray[Any] = cube[rows][:, columns] if window is None else window(rows, columns)
    return found


def float_rows(
    raw: RawScene,
    rows: slice,
    columns: slice | None = None,
) -> NDArray[np.float32]:  # (n, W, C), C-contiguous
    """The meaning of these rows' file values."""
    return meaning(raw, file_values(raw.cube, rows, columns))


def meaning(
    raw: RawScene,
    values: NDArray[Any],  # (n, W, C)
) -> NDArray[np.float32]:  # (n, W, C), C-contiguous
    """What file values mean; what is beyond float32 becomes infinite (missing)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if raw.gains is not None:
            values = values * raw.gains
        if raw.offsets is not None:
            values = values + raw.offsets
        return np.ascontiguousarray(values, dtype=np.float32)
