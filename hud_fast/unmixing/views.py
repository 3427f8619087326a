"""What the search of vertex component analysis sees of pixels that are read in parts: the ends of the cloud.

The first look reads all pixels and projects them. Their coordinates, D numbers for C bands, are kept where there is
room: each further look then reads those, not the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.blocks import Part
from hud_fast.unmixing.moments import Moments
from hud_fast.unmixing.pixels import (
    Pixels,
    beside,
    chunks,
    flat_nonzero,
    on_device,
    space_of,
    to_host,
    widened,
)

Floats = NDArray[np.float64]
KEPT_BYTES = 1 << 28  # of coordinates, and never more than the pixels take
NEAR = 1 << 16  # extents that are looked through at a time: half a MiB, which a core has near


@dataclass(frozen=True, eq=False)
class Projection:
    """The K coordinates in which a search looks at pixels."""

    kind: str  # "affine": less the mean; "projective": over the length along the mean; "mean": along the mean
    axes: Floats  # (C, K)
    mean: Floats  # (C,) over the scale
    scale: float

    @classmethod
    def of(cls, stats: Moments, D: int, principal: Floats, affine: bool) -> Projection:
        """Of a search for D vertices; `principal` are the D - 1 axes of largest variance."""
        if D == 1:
            # One vertex: no simplex to search. The axis of the mean makes it the pixel brightest along
            # the mean.
            axis = (stats.mean / np.linalg.norm(stats.mean))[:, None]
            return cls("mean", axis, stats.mean, stats.scale)
        if affine:
            return cls("affine", principal, stats.mean, stats.scale)
        leading = np.linalg.eigh(stats.correlation)[1][:, ::-1][:, :D]
        return cls("projective", leading, stats.mean, stats.scale)

    def __call__(self, pixels: Any) -> tuple[Any, Any]:  # (n, C) -> (m, K), (m,) places among the n
        """The coordinates, and whose they are."""
        xp = space_of(pixels)
        points = pixels @ beside(pixels, self.axes / self.scale)
        if self.kind == "affine":  # moved after: D - 1 numbers a pixel instead of C
            points = points - beside(pixels, self.mean @ self.axes)
        places = (
            xp.arange(len(points)) if xp is np else xp.arange(len(points), device=points.device)
        )
        if self.kind != "projective":
            return points, places
        centre = self.axes.T @ self.mean
        along = points @ beside(points, centre)
        # The projection divides by <x, mean>: a pixel at or behind that plane has no projection.
        ahead = along > 1e-9 * float(centre @ centre)
        return points[ahead] / along[ahead, None], places[ahead]

    def reaches(self, spectra: Floats) -> bool:  # (k, C) over the scale
        """Do they all have coordinates?"""
        return len(self(spectra * self.scale)[0]) == len(spectra)


@dataclass(frozen=True, eq=False)
class Ends:
    """The farthest of some pixels along each of R directions, and against it."""

    places: NDArray[np.int64]  # (2, R), -1 where there is none
    points: Floats  # (2, R, K)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Pixels of a part in one projection."""

    points: Any  # (m, K)
    places: Any  # (m,) among all pixels, ascending

    @property
    def bytes(self) -> int:
        m, K = self.points.shape
        return 8 * int(m) * (int(K) + 1)


class Views:
    """The valid pixels in each projection, looked at as often as it takes.

    Attributes
    ----------
    counts : list of int
        After the first look: how many pixels have coordinates in each projection.
    radii2 : list of float
        And the largest squared length of them.
    """

    def __init__(self, reader: Pixels, stats: Moments, projections: list[Projection]) -> None:
        self.reader, self.stats, self.projections = reader, stats, projections
        self.counts, self.radii2 = [0] * len(projections), [0.0] * len(projections)
        self._seen: list[list[_Seen] | None] = []  # of each part
        self._here = reader.pool is None or reader.pool.here
        self._room = min(KEPT_BYTES, reader.P * reader.C * reader.array.dtype.itemsize)

    def first(self, looks: list[Floats], group: int, step: int) -> tuple[list[list[Ends]], Any]:
        """The ends of each group of so many pixels along the directions (R, K) of each projection.

        Beside them every `step`-th valid pixel (n, C) over the scale.
        """
        valid, before = self.stats.valid, 0

        def more(part: Part) -> tuple[Any, ...]:
            nonlocal before
            good = valid[self.reader.places(part)]
            first = -before % step if step else 0
            before += int(good.sum())
            return good, self.stats.scale, self.projections, looks, group, first, step, self._here

        samples: list[Any] = []
        ends: list[list[Ends]] = [[] for _ in looks]
        for found, sizes, sample, seen in self.reader.each(_first, more):
            for number, (own, (count, radius2)) in enumerate(zip(found, sizes, strict=True)):
                ends[number] += own
                self.counts[number] += count
                self.radii2[number] = max(self.radii2[number], radius2)
            samples.append(sample)
            self._keep(seen)
        return ends, space_of(valid).concatenate(samples) if step else None

    def _keep(self, seen: list[_Seen] | None) -> None:
        size = sum(one.bytes for one in seen or ())
        if seen is None or size > self._room:
            self._seen.append(None)
            return
        self._room -= size
        self._seen.append(seen)

    def look(self, looks: list[Floats], taboo: list[list[list[int]]]) -> list[list[Ends]]:
        """The ends of each part; `taboo` are each direction's pixels that do not count."""
        known, valid = iter(self._seen), self.stats.valid

        def more(part: Part) -> tuple[Any, ...]:
            seen = next(known)
            good = valid[self.reader.places(part)] if seen is None else None
            return seen, good, self.projections, looks, taboo

        ends: list[list[Ends]] = [[] for _ in looks]
        for found in self.reader.each(_again, more):
            for all_ends, own in zip(ends, found, strict=True):
                all_ends += own
        return ends


def _first(
    reader: Pixels,
    part: Part,
    good: Any,  # (n,) bool
    scale: float,
    projections: list[Projection],
    looks: list[Floats],
    group: int,
    first: int,
    step: int,
    give: bool,
) -> tuple[list[list[Ends]], list[tuple[int, float]], Any, list[_Seen] | None]:
    """Of one part: the ends, how many have coordinates and their largest squared length, the sample, what was seen."""
    values = reader.values(part)
    seen = _project(reader, part, values, good, projections)
    ends, sizes = [], []
    for one, look in zip(seen, looks, strict=True):
        starts = range(0, len(one.points), group)
        pieces = [_Seen(one.points[s : s + group], one.places[s : s + group]) for s in starts]
        ends.append([_ends(piece, look, []) for piece in pieces])
        radius2 = float((one.points**2).sum(axis=1).max()) if len(one.points) else 0.0
        sizes.append((len(one.points), radius2))
    sample = widened(values[flat_nonzero(good)[first::step]]) / scale if step else None
    return ends, sizes, sample, seen if give else None


def _again(
    reader: Pixels,
    part: Part,
    seen: list[_Seen] | None,
    good: Any,  # (n,) bool
    projections: list[Projection],
    looks: list[Floats],
    taboo: list[list[list[int]]],
) -> list[list[Ends]]:
    """The ends of one part: of what was seen of it, or of what is read again."""
    wanted = [number for number, look in enumerate(looks) if len(look)]
    if seen is None:
        some = [projections[number] for number in wanted]
        again = _project(reader, part, reader.values(part), good, some)
    else:
        again = [seen[number] for number in wanted]
    ends: list[list[Ends]] = [[] for _ in looks]
    for number, one in zip(wanted, again, strict=True):
        if len(one.points):
            ends[number].append(_ends(one, looks[number], taboo[number]))
    return ends


def _project(
    reader: Pixels,
    part: Part,
    values: Any,  # (n, C)
    good: Any,  # (n,) bool
    projections: list[Projection],
) -> list[_Seen]:
    """The good pixels of a part in each projection."""
    places, flat = reader.places(part), flat_nonzero(good)
    where = flat + places.start if isinstance(places, slice) else places[flat]
    found: list[list[_Seen]] = [[] for _ in projections]
    before = 0
    for rows in chunks(values):
        own = good[rows]
        kept = widened(values[rows] if own.all() else values[rows][own])
        for projection, some in zip(projections, found, strict=True):
            points, mine = projection(kept)
            some.append(_Seen(points, where[before : before + len(kept)][mine]))
        before += len(kept)
    join = space_of(where).concatenate
    return [
        _Seen(join([one.points for one in some]), join([one.places for one in some]))
        for some in found
    ]


def _ends(
    seen: _Seen,
    look: Floats,  # (R, K)
    never: list[list[int]],
) -> Ends:
    points, mine = seen.points, seen.places
    R, directions = beside(points, look), beside(points, np.arange(len(look)))
    barred = _places_in(mine, never)
    step = len(points) if on_device(points) else max(1, NEAR // len(look))
    extents: tuple[list[Any], list[Any]] = [], []
    rows: tuple[list[Any], list[Any]] = [], []
    for start in range(0, len(points), step):
        values = R @ points[start : start + step].T  # (R, m): a direction's lie together
        own = [(at - start, r) for at, r in barred if start <= at < start + step]
        for side, limit in enumerate((-np.inf, np.inf)):
            for at, r in own:
                values[r, at] = limit
            row = values.argmin(axis=1) if side else values.argmax(axis=1)
            extents[side].append(values[directions, row])
            rows[side].append(row + start)
    space = space_of(points)
    found = []
    for side in range(2):
        extent, row = space.stack(extents[side]), space.stack(rows[side])
        best = extent.argmin(axis=0) if side else extent.argmax(axis=0)
        row = row[best, directions]
        there = np.isfinite(to_host(extent[best, directions]))
        found.append((np.where(there, to_host(mine[row]), -1), to_host(points[row])))
    return Ends(np.stack([place for place, _ in found]), np.stack([point for _, point in found]))


def _places_in(mine: Any, never: list[list[int]]) -> list[tuple[int, int]]:
    """Where in `mine`, which ascends, each direction's pixels stand, with the direction."""
    pairs = [(pixel, r) for r, pixels in enumerate(never) for pixel in pixels]
    if not pairs or not len(mine):
        return []
    wanted = np.array([pixel for pixel, _ in pairs])
    at = space_of(mine).searchsorted(mine, beside(mine, wanted)).clip(max=len(mine) - 1)
    there = to_host(mine[at]) == wanted
    places = to_host(at)
    return [(int(i), r) for i, (_, r), is_it in zip(places, pairs, there, strict=True) if is_it]
