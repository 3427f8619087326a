"""Which pixels of a file hold no data: the one rule for all readers, on file values, some rows at a time.

Declared (by the file, or by the user as `no_data`): a pixel is missing where any good band has the value, if it is
one that cannot be data (NaN, -9999, an integer type's extreme, 1e34 ...), and where all have it otherwise: single
bands have 0 by chance. A band that has nothing else in any pixel is a bad one.

Not declared: a pixel that holds one and the same number in every good band is missing where the number is 0; and where
several pixels hold it that cannot be data, or that is the only number held so. What is found is told.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.scene import FEWEST_BANDS

Choice = float | Literal["auto", "none"]

FEWEST = 8  # pixels of one number, to be more than chance
ENOUGH_BANDS = 8  # for a number that might be data
ALONE = 0.9  # its share of all pixels of one number
LOWEST = -999.0  # noise about zero does not reach below it
HUGE = 1e30
TOLERANCE = 1e-5  # of a huge value: headers print fewer digits than float32 has
LARGEST = float(np.finfo(np.float32).max)


def check(choice: Any) -> Choice:
    """A number, "auto" or "none"."""
    if isinstance(choice, str) and choice in ("auto", "none"):
        return "auto" if choice == "auto" else "none"
    number = isinstance(choice, (int, float, np.integer, np.floating))
    if not number or isinstance(choice, bool):
        raise TypeError(f"load_scene: `no_data` must be a number, 'auto' or 'none', got {choice!r}")
    return float(choice)


def cannot_be_data(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether no sensor's value is this one.

    Examples
    --------
    >>> [cannot_be_data(v, np.dtype("int16")) for v in (-9999, -32768, 32767, 0, -1, 55)]
    [True, True, True, False, False, False]
    """
    if not np.isfinite(value) or abs(value) >= HUGE or value <= LOWEST:
        return True
    if dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return value != 0 and value in (limits.min, limits.max)


@dataclass(frozen=True)
class NoData:
    """What a scan found."""

    missing: NDArray[np.bool_] | None  # (H, W), None = no pixel
    empty: NDArray[np.bool_]  # (C,) bands without a value in any pixel
    found: dict[float, int] = field(default_factory=dict)  # pixels of each number not declared
    declared: int = 0  # pixels that are missing by the value declared

    def tell(self, stacklevel: int = 2) -> None:
        """Warn of what nobody had declared."""
        for value, count in self.found.items():
            hold = "1 pixel holds" if count == 1 else f"{count:,} pixels hold"
            keep = "keeps it" if count == 1 else "keeps them"
            warnings.warn(
                f"{hold} {value:.10g} in every band: taken as no data; `--no-data none` {keep} (in Python: "
                "no_data='none')",
                UserWarning,
                stacklevel=stacklevel + 1,
            )


class Scan:
    """Fed a file's values once, some rows at a time.

    Parameters
    ----------
    shape : (H, W, C)
    dtype : of the file's values
    good_bands : (C,) bool, optional
    mask : (H, W) bool, optional
        False = left out already: not counted.
    declared : float, optional
        The no-data value, in file units.
    search : bool
        Whether to look for what is not declared.

    Examples
    --------
    >>> values = np.arange(1, 61, dtype=np.int16).reshape(4, 5, 3)
    >>> values[0], values[1, 1, 1] = 0, -9999
    >>> scan = Scan(values.shape, values.dtype, declared=-9999.0)
    >>> for row in range(4):
    ...     scan.feed(row, values[row : row + 1])
    >>> found = scan.result()
    >>> int(found.missing.sum()), found.found
    (6, {0: 5})
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        *,
        good_bands: NDArray[np.bool_] | None = None,  # (C,)
        mask: NDArray[np.bool_] | None = None,  # (H, W)
        declared: float | None = None,
        search: bool = True,
    ) -> None:
        height, width, bands = shape
        self.dtype, self.mask, self.declared = dtype, mask, declared
        self.bands = np.arange(bands)
        if good_bands is not None and good_bands.any():
            self.bands = np.flatnonzero(good_bands)
        self.alive = np.zeros(bands, bool)  # has some value
        self.hits = None if declared is None else np.zeros((height, width), np.int32)
        self.one = None  # (H, W): the same number in all good bands
        if search and len(self.bands) >= FEWEST_BANDS:
            self.one = np.zeros((height, width), bool)
        self.numbers: list[NDArray[Any]] = []  # of those, row by row

    def feed(self, start: int, values: NDArray[Any]) -> None:  # (n, W, C)
        """The file values of the rows from `start` on; rows come in order."""
        rows = slice(start, start + len(values))
        if self.hits is not None:
            none = self._is_declared(values) | ~self._usable(values)
            self.hits[rows] = none[..., self.bands].sum(axis=-1)
            self.alive |= ~none.all(axis=(0, 1))
        elif not self.alive.all():
            self.alive |= self._usable(values).any(axis=(0, 1))
        if self.one is not None:
            self._note_single_numbers(rows, values)

    def result(self) -> NoData:
        """What the rows fed so far hold."""
        height, width = self._size()
        missing = np.zeros((height, width), bool)
        empty = ~self.alive
        if empty.all():
            empty = np.zeros_like(empty)
        if self.hits is not None and self.declared is not None:
            dead = int(empty[self.bands].sum())  # counted in every pixel
            least = len(self.bands)
            if cannot_be_data(self.declared, self.dtype):
                least = min(dead + 1, least)
            missing |= self.hits >= least
        declared = int(missing.sum())
        found: dict[float, int] = {}
        if self.one is not None:
            numbers = np.concatenate([*self.numbers, np.empty(0, self.dtype)])
            kept = self.one & ~missing
            numbers = numbers[kept[self.one]]
            others = missing.size - int((missing | kept).sum())
            if self.mask is not None:
                others = int((self.mask & ~missing & ~kept).sum())
            found = self._chosen(numbers, others)
            taken = np.array(list(found), self.dtype)
            missing[kept] = np.isin(numbers, taken)
        return NoData(missing if missing.any() else None, empty, found, declared)

    def _size(self) -> tuple[int, int]:
        for known in (self.hits, self.one):
            if known is not None:
                return known.shape[0], known.shape[1]
        return 0, 0

    def _usable(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Finite, as float32 too."""
        if self.dtype.kind != "f":
            return np.ones(values.shape, bool)
        if self.dtype.itemsize <= 4:
            return np.asarray(np.isfinite(values))
        return np.asarray(np.abs(values) <= LARGEST)

    def _is_declared(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        value = self.declared
        assert value is not None
        if self.dtype.kind != "f":
            if not np.isfinite(value) or not float(value).is_integer():
                return np.zeros(values.shape, bool)
            return np.asarray(values == int(value))
        if abs(value) >= HUGE and np.isfinite(value):
            with np.errstate(over="ignore", invalid="ignore"):
                apart = np.abs(values.astype(np.float64) - value)
            return np.asarray(apart <= TOLERANCE * abs(value))
        with np.errstate(over="ignore"):
            return np.asarray(values == np.asarray(value).astype(self.dtype))

    def _note_single_numbers(self, rows: slice, values: NDArray[Any]) -> None:
        """Pixels of one number, found by three bands and looked at in all; a missing band does not count."""
        assert self.one is not None
        first, middle, last = (values[..., self.bands[i]] for i in (0, len(self.bands) // 2, -1))
        same = (first == middle) & (middle == last)
        if self.dtype.kind == "f":
            gap = ~(self._usable(first) & self._usable(middle) & self._usable(last))
            same |= gap
        if self.mask is not None:
            same &= self.mask[rows]
        at = np.flatnonzero(same)
        if not len(at):
            return
        i, j = np.divmod(at, values.shape[1])
        spectra = values[i, j][:, self.bands]
        number = spectra[:, 0]
        alike: NDArray[np.bool_] = spectra == number[:, None]
        if self.dtype.kind == "f":
            usable = self._usable(spectra)
            # the first that is there; a pixel with less than half of its bands is lost anyway
            number = spectra[np.arange(len(at)), usable.argmax(axis=1)]
            alike = (spectra == number[:, None]) | ~usable
            alike &= (2 * usable.sum(axis=1) > len(self.bands))[:, None]
        whole = alike.all(axis=1)
        self.one[rows].reshape(-1)[at[whole]] = True
        self.numbers.append(number[whole])

    def _chosen(self, numbers: NDArray[Any], others: int) -> dict[float, int]:
        """Which numbers are no data, the most frequent first; `others` pixels hold more than one number."""
        values, counts = np.unique(numbers, return_counts=True)
        held = dict(zip(values.tolist(), counts.tolist(), strict=True))
        sure = {
            value: count
            for value, count in held.items()
            if value == 0 or (count >= FEWEST and cannot_be_data(value, self.dtype))
        }
        rest = {value: count for value, count in held.items() if value not in sure}
        if rest and others and len(self.bands) >= ENOUGH_BANDS:
            value, count = max(rest.items(), key=lambda one: one[1])
            # coarse numbers of dark ground are alike by chance, and then several are
            if count >= FEWEST and count >= ALONE * sum(rest.values()):
                sure[value] = count
        return dict(sorted(sure.items(), key=lambda one: -one[1]))
