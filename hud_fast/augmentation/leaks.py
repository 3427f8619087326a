"""A check that fails when a test pixel has trained: by its place, or by its spectrum.

Places alone are not enough. A generator might hand out spectra that it was never to see, and a sensor gives the same
spectrum at two places (saturated pixels, resampled rows). So every spectrum that trains, generated ones included, is
held against every spectrum that tests. Test pixels which equal a real pixel of the train side are taken out of the
test before (`twins`), so that what is left must not occur in training at all.

Near means |a - b| <= t |b|. Then ||a| - |b|| <= t |b| too, so with the test spectra in order of their lengths, only a
few neighbours of each training spectrum are compared, and none is missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hud_fast.augmentation.fields import STRIP, Flags, Labels, Sides

Spectra = NDArray[np.float32]

TOLERANCE = 1e-6  # t: some roundings of float32; one count of a sensor in one of 200 bands is 20 times as much
_BLOCK = 1 << 14  # spectra
_PAIRS = 1 << 16


class Leak(RuntimeError):
    """A test pixel has trained."""


@dataclass(frozen=True)
class Found:
    """How many training spectra are those of a test pixel, to the bit or nearly."""

    looked_at: int = 0
    equal: int = 0
    near: int = 0  # and not equal


class TestSpectra:
    """The spectra that test, to be held against what trains."""

    __test__ = False  # no test of pytest's

    def __init__(self, spectra: Spectra) -> None:  # (m, C)
        lengths = _lengths(spectra)
        order = np.argsort(lengths, kind="stable")
        self.spectra, self.lengths = spectra[order], lengths[order]
        self.order = order

    def matches(self, training: Spectra) -> tuple[NDArray[np.int64], NDArray[np.int64], Flags]:
        """Pairs of a training and a test spectrum that are near, and whether they are equal."""
        given = training.reshape(-1, training.shape[-1])
        found = []
        for start in range(0, len(given), _BLOCK):
            some = given[start : start + _BLOCK]
            long = _lengths(some)
            # a little more than t, for the rounding of the lengths
            first = np.searchsorted(self.lengths, long * (1 - 2 * TOLERANCE), side="left")
            last = np.searchsorted(self.lengths, long * (1 + 2 * TOLERANCE), side="right")
            count = last - first
            mine = np.repeat(np.arange(len(some)), count)
            theirs = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
            theirs += np.repeat(first, count)
            for part in range(0, len(mine), _PAIRS):
                i, j = mine[part : part + _PAIRS], theirs[part : part + _PAIRS]
                a, b = some[i], self.spectra[j]
                apart = _lengths(a.astype(np.float64) - b)
                near = apart <= TOLERANCE * self.lengths[j]
                equal = (a[near] == b[near]).all(axis=1)
                found.append((i[near] + start, self.order[j[near]], equal))
        if not found:
            none = np.empty(0, np.int64)
            return none, none, np.empty(0, bool)
        pairs = tuple(zip(*found, strict=True))
        return np.concatenate(pairs[0]), np.concatenate(pairs[1]), np.concatenate(pairs[2])

    def check(self, row: str, training: Spectra) -> Found:
        """Look for test spectra in what a row trains on.

        Raises
        ------
        Leak
            If there is one, with how many.
        """
        given = training.reshape(-1, training.shape[-1])
        mine, theirs, equal = self.matches(given)
        found = Found(
            len(given),
            len(np.unique(mine[equal])),
            len(np.setdiff1d(mine, mine[equal])),
        )
        if found.equal or found.near:
            raise Leak(
                f"leak check: the row {row} trains on the spectra of {len(np.unique(theirs))} test pixels: "
                f"{found.equal} of its {found.looked_at} spectra are equal to one, {found.near} within {TOLERANCE:g}"
            )
        return found


def twins(cube: Spectra, sides: Sides) -> Flags:  # (H, W, C) -> (H, W)
    """Test pixels whose spectrum stands on the train side, too."""
    places = np.flatnonzero(sides.test)
    spectra = cube.reshape(-1, cube.shape[-1])
    _, theirs, _ = TestSpectra(spectra[places]).matches(cube[sides.train_area])
    found = np.zeros(sides.test.shape, bool)
    found.ravel()[places[theirs]] = True
    return found


def check_places(sides: Sides, drawn: Labels) -> None:
    """See that no test pixel lies on the train side or in the strip, and every label that trains on the train side.

    Raises
    ------
    Leak
        With how many do.
    """
    from scipy.ndimage import binary_dilation

    tested = sides.test > 0
    square = np.ones((3, 3), dtype=bool)
    # the strip is of both sides: two areas that are whole lie 2 STRIP + 1 pixels apart
    close = binary_dilation(sides.train_area, structure=square, iterations=2 * STRIP)
    for count, what in (
        ((tested & sides.train_area).sum(), "test pixels lie on the train side"),
        (
            (tested & close & ~sides.train_area).sum(),
            "test pixels lie in the strip between the sides",
        ),
        ((tested & ~sides.test_area).sum(), "test pixels lie outside the test side"),
        (((drawn > 0) & ~sides.train_area).sum(), "labels that train lie outside the train side"),
    ):
        if count:
            raise Leak(f"leak check: {int(count)} {what}")


def _lengths(spectra: NDArray[np.floating]) -> NDArray[np.float64]:  # (n, C) -> (n,)
    wide = spectra.astype(np.float64)
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return lengths
