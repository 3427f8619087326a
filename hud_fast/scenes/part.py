"""A part of an open scene: a window, or every n-th row and column, for a first look at a large file.

No more of the file is read than the part needs; all that has a place on the image goes along.
"""

from __future__ import annotations

import dataclasses
import operator
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes import checks, georeference
from hud_fast.scenes.raw import RawScene, Rows, file_values
from hud_fast.scenes.scene import Truth

Bounds = slice | tuple[int | None, int | None]
Window = tuple[Bounds, Bounds]  # rows, columns
Piece = tuple[slice, slice]  # of the file, and which lines of that


@dataclass(eq=False)
class PartRows:
    """Some rows and columns of a cube in a file, as a cube. Can be pickled where the cube can."""

    whole: Rows
    down: range  # rows of it
    across: range  # columns of it

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return len(self.down), len(self.across), self.whole.shape[2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read."""
        return self.whole.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows and columns of the part, about, that the file keeps together."""
        tall, wide = self._packed
        return -(-tall // self.down.step), min(-(-wide // self.across.step), len(self.across))

    def __getitem__(self, rows: slice) -> NDArray[Any]:  # (n, W, C)
        return self.window(rows, slice(None))

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:  # (n, m, C)
        """A rectangle of the part."""
        tall, wide = self._packed
        down, across = self.down[rows], self.across[columns]
        bands = [
            [
                file_values(self.whole, above, left)[inner, own]
                for left, own in _pieces(across, wide)
            ]
            for above, inner in _pieces(down, tall, apart=True)
        ]
        if not (bands and bands[0]):
            return np.empty((len(down), len(across), self.shape[2]), self.dtype)
        lines = [band[0] if len(band) == 1 else np.concatenate(band, axis=1) for band in bands]
        return lines[0] if len(lines) == 1 else np.concatenate(lines)

    @property
    def _packed(self) -> tuple[int, int]:
        found: tuple[int, int] = getattr(self.whole, "chunks", (1, self.whole.shape[1]))
        return found


def _pieces(lines: range, chunk: int, apart: bool = False) -> list[Piece]:
    """Runs of the file that hold these lines; chunks without one are in none.

    `apart`: each chunk by itself, so that the lines between are not all in memory at once.
    """
    if not lines:
        return []
    if lines.step < 0:
        raise ValueError(f"PartRows: rows and columns must go forwards, got {lines}")
    if lines.step == 1:
        return [(slice(lines.start, lines.stop), slice(None))]
    numbers = np.asarray(lines)
    far = np.diff(numbers // chunk) > (0 if apart else 1)
    return [
        (slice(int(some[0]), int(some[-1]) + 1), slice(None, None, lines.step))
        for some in np.split(numbers, np.flatnonzero(far) + 1)
    ]


def part_of(raw: RawScene, window: Window | None, every: int) -> RawScene:
    """The scene's part in `window`, and of that every n-th row and column.

    Raises
    ------
    ValueError, TypeError
        If the window is none, or not inside the scene; what `checks` says of mask and labels.

    Warns
    -----
    UserWarning
        If the part's place is not known.
    """
    every = checks.whole_number("load_scene", "every", every)
    H, W = size = raw.cube.shape[:2]
    rows, columns = _sides(window, H, W)
    if every == 1 and (len(rows), len(columns)) == size:
        return raw
    down, across = rows[::every], columns[::every]
    part = tuple(slice(one.start, one.stop, every) for one in (rows, columns))
    mask = checks.flags("load_scene", "mask", raw.mask, (H, W))
    labels = checks.labels("load_scene", raw.labels, (H, W))
    fields = dict(raw.fields)
    if (truth := fields.get("truth")) is not None:
        fields["truth"] = Truth(truth.endmembers, truth.abundances[part])
    cut = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
    lookup = None if raw.lookup is None else raw.lookup.crop(*cut)
    words = f"rows {rows.start}:{rows.stop}, columns {columns.start}:{columns.stop} of {H} x {W}"
    given, in_file = raw.cube, PartRows(raw.cube, down, across)
    return dataclasses.replace(
        raw,
        cube=given[part] if isinstance(given, np.ndarray) else in_file,
        mask=None if mask is None else mask[part],
        labels=None if labels is None else labels[part],
        geo=_place(raw, cut, every),
        lookup=None if lookup is None else lookup.thinned(every),
        details={**raw.details, "part": words + (f", every {every}" if every > 1 else "")},
        fields=fields,
    )


def _place(raw: RawScene, cut: Piece, every: int) -> dict[str, str] | None:
    H, W, _ = raw.cube.shape
    geo = georeference.thinned(georeference.crop(raw.geo, *cut, H, W), every)
    placed = ("map info", "geo points")
    if any(key in (raw.geo or {}) for key in placed) and not any(
        key in (geo or {}) for key in placed
    ):
        warnings.warn(
            "load_scene: the place of the part (`window`, `every`) is left out: the file's map info cannot be read, or "
            "it has none",
            UserWarning,
            stacklevel=4,
        )
    return geo


def _sides(window: Window | None, H: int, W: int) -> tuple[range, range]:
    """Rows and columns of the scene."""
    if window is None:
        return range(H), range(W)
    if not isinstance(window, (tuple, list)) or len(window) != 2:
        raise _no_window(window)
    bounds: list[range] = []
    for name, part, size in zip(("rows", "columns"), window, (H, W), strict=True):
        if isinstance(part, slice):
            if part.step not in (None, 1):
                raise ValueError(
                    f"load_scene: `window` must have no step (`every` is one), got {part.step} for its {name}"
                )
            ends = [part.start, part.stop]
        elif isinstance(part, (tuple, list)) and len(part) == 2:
            ends = list(part)
        else:
            raise _no_window(window)
        try:
            first = 0 if ends[0] is None else operator.index(ends[0])
            last = size if ends[1] is None else operator.index(ends[1])
        except TypeError:
            raise _no_window(window) from None
        if not 0 <= first < last <= size:
            raise ValueError(
                f"load_scene: `window` must keep a pixel and lie inside {H} x {W}, got {name} {first}:{last}"
            )
        bounds.append(range(first, last))
    return bounds[0], bounds[1]


def _no_window(given: Any) -> TypeError:
    return TypeError(
        "load_scene: `window` must be (rows, columns), each a slice or (start, stop) of whole numbers or None, got "
        f"{given!r:.80}"
    )
