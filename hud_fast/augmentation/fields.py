"""Two sides of a labelled scene that share no field and no border: one trains, the other tests.

A field is a connected region of one class (pixels that touch by an edge or a corner). Pixels of one field resemble
each other far more than pixels of two fields of a class, so a field lies on one side as a whole. Without that, the
neighbours of the test pixels train, and what is measured is how well a classifier interpolates.

A class that is one field is cut in two across its longest extent; who reads the results must know which ones were.
The rest of the scene goes to the side whose labelled pixels are nearer, and between the two sides lie pixels of none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

CRUMB = 0.1  # of its class: a field below is dealt by a coin
REST = 0.25  # of its class: with less beside its largest field, that one is cut
STRIP = 1  # pixels on each side of the border that belong to no side
_TOUCHING = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Sides:
    """Which pixels train and which test.

    Attributes
    ----------
    train, test : (H, W) int64
        Labels of each side, 0 = none.
    train_area, test_area : (H, W) bool
        All pixels of each side, unlabelled ones too. They never touch: `STRIP` pixels of each are of neither.
    fields : mapping of class to int
        In how many connected fields a class lies.
    cut : tuple of int
        The classes of one field, which was cut.
    """

    train: Labels
    test: Labels
    train_area: Flags
    test_area: Flags
    fields: Mapping[int, int]
    cut: tuple[int, ...]

    def without(self, pixels: Flags) -> Sides:
        """With some pixels tested no more."""
        return replace(self, test=np.where(pixels, 0, self.test))

    def of(self, classes: tuple[int, ...]) -> Sides:
        """With the labels of these classes alone. The areas stay."""
        train, test = (
            np.where(np.isin(side, classes), side, 0) for side in (self.train, self.test)
        )
        fields = {number: self.fields[number] for number in classes}
        cut = tuple(number for number in self.cut if number in classes)
        return replace(self, train=train, test=test, fields=fields, cut=cut)


def split_fields(
    labels: NDArray[np.integer],  # (H, W)
    seed: int,
    *,
    valid: Flags | None = None,  # (H, W)
) -> Sides:
    """Deal the fields of every class to train and test, about half of its pixels to each.

    Parameters
    ----------
    labels : (H, W) array of int
        0 = unlabelled.
    seed : int
        Of the order in which fields are dealt, and of which half of a cut field trains.
    valid : (H, W) bool array, optional
        Other pixels are on no side.

    Returns
    -------
    Sides
        A class of a single pixel is on one side alone.

    Raises
    ------
    ValueError
        If no valid pixel is labelled.

    Examples
    --------
    >>> labels = np.zeros((9, 20), int)
    >>> labels[1:4, 2:5], labels[1:4, 14:18] = 1, 1
    >>> sides = split_fields(labels, seed=0)
    >>> sides.fields, sides.cut, sorted([(sides.train == 1).sum().item(), (sides.test == 1).sum().item()])
    ({1: 2}, (), [9, 12])
    """
    known = np.asarray(labels).astype(np.int64)
    inside = np.ones(known.shape, bool) if valid is None else np.asarray(valid, bool)
    known = np.where(inside, known, 0)
    numbers = [int(number) for number in np.unique(known) if number > 0]
    if not numbers:
        raise ValueError("split_fields: `labels` must label a valid pixel, got none above 0")
    testing = np.zeros(known.shape, bool)
    fields, cut = {}, []
    for number in numbers:
        tested, fields[number], was_cut = _deal(
            known == number, np.random.default_rng([seed, 1, number])
        )
        testing |= tested
        cut += [number] if was_cut else []
    train, test = np.where(testing, 0, known), np.where(testing, known, 0)
    train_area, test_area = _areas(train > 0, test > 0)
    train_area, test_area = train_area & inside, test_area & inside
    return Sides(
        np.where(train_area, train, 0),
        np.where(test_area, test, 0),
        train_area,
        test_area,
        fields,
        tuple(cut),
    )


def _deal(pixels: Flags, rng: np.random.Generator) -> tuple[Flags, int, bool]:
    """Which pixels of a class test, in how many fields it lies, whether one was cut."""
    from scipy.ndimage import label

    numbered, n = label(pixels, structure=_TOUCHING)
    sizes = np.bincount(numbered.ravel(), minlength=n + 1)[1:]
    total, largest = sizes.sum(), int(sizes.argmax())
    large = np.flatnonzero(sizes >= CRUMB * total)
    if total - sizes[largest] < REST * total:
        tests = _half(numbered == largest + 1, rng)
        dealt = np.array([largest])
    else:
        # one field of half the class beside crumbs: these together are the other side
        dealt = large if len(large) >= 2 else np.arange(n)
        to_test: list[int] = []
        weight = [0, 0]
        first = int(rng.integers(2))
        for field in rng.permutation(dealt).tolist():
            side = first if weight[0] == weight[1] else int(weight[1] < weight[0])
            weight[side] += int(sizes[field])
            if side == 1:
                to_test.append(field + 1)
        tests = np.isin(numbered, to_test)
    for crumb in np.setdiff1d(np.arange(n), dealt).tolist():
        if rng.integers(2):
            tests |= numbered == crumb + 1
    return tests, n, len(dealt) == 1 and sizes[largest] > 1


def _half(field: Flags, rng: np.random.Generator) -> Flags:
    """One of the two halves of a field, cut at the median of its longest extent."""
    places = np.argwhere(field)
    centred = places - places.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])  # an axis has no direction: the coin decides
    # rounded: pixels of one row lie at one height
    along = np.round(centred @ axis, 6)
    far = along > np.median(along)
    if rng.integers(2):
        far = ~far
    half = np.zeros_like(field)
    half[tuple(places[far].T)] = True
    return half


def _areas(train: Flags, test: Flags) -> tuple[Flags, Flags]:
    """Every pixel to the side with the nearest labelled pixel, but for the strip and for ties."""
    from scipy.ndimage import binary_dilation, distance_transform_cdt

    def distance(labelled: Flags) -> NDArray[np.int64]:
        if not labelled.any():
            return np.full(labelled.shape, max(labelled.shape) + 1)
        far: NDArray[np.int64] = distance_transform_cdt(~labelled, "chessboard").astype(np.int64)
        return far

    to_train, to_test = distance(train), distance(test)

    def shrunk(area: Flags) -> Flags:
        outside: Flags = binary_dilation(~area, structure=_TOUCHING, iterations=STRIP)
        return ~outside

    return shrunk(to_train < to_test), shrunk(to_test < to_train)
