"""The search of vertex component analysis over pixels that are read in parts, all runs in the same few passes.

A run takes D times the pixel farthest along a direction that depends on those before: D passes over all pixels a run,
of a projection that has to be kept. The farthest pixels of all directions are corners of the same cloud, though, of
which there are few. So the runs search among the corners that are known, and one pass tells for all their directions
whether any pixel lies farther out. If one does it becomes a corner, and the runs start again: each pass makes at
least one more step of every run final, mostly all of them. The result is that of the search among all pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.blocks import Part
from hud_fast.unmixing.pixels import Moments, Pixels, beside, flat_nonzero, space_of, to_host

Floats = NDArray[np.float64]
FIRST_DIRECTIONS = 48  # whose farthest pixels, of groups of pixels, are the first corners
GROUPS, SMALLEST_GROUP = 64, 256


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
class Run:
    """What one search found, and the directions along which it looked, without the lifted coordinate."""

    places: NDArray[np.int64]  # (D - k,) among all pixels
    directions: Floats  # (D - k, K)


class _Corners:
    """Pixels that may lie farthest along some direction, in one projection."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.places = np.empty(0, np.int64)  # ascending
        self.points = np.empty((0, projection.axes.shape[1]))
        self.radius2, self.count = (
            0.0,
            0,
        )  # of all pixels: largest squared length, how many have a projection

    def add(self, ends: list[_Ends]) -> None:
        """Note the ends of all parts."""
        places = np.stack([end.places for end in ends])  # (N, 2, R)
        points = np.stack([end.points for end in ends])
        some = places >= 0
        places = np.concatenate([self.places, places[some]])
        self.places, kept = np.unique(places, return_index=True)
        self.points = np.concatenate([self.points, points[some]])[kept]

    def search(self, D: int, known: Floats, generator: np.random.Generator) -> Run:
        """The corner farthest along a random direction orthogonal to those before, until there are D vertices.

        The first k are `known` (k, C), spectra over the scale.
        """
        points = self.points
        lifted = self.projection.kind == "affine"
        if lifted:
            points = np.column_stack([points, np.full(len(points), self.radius2**0.5)])
        k = len(known)
        found, directions = np.zeros((D, D)), np.empty((D - k, D))
        found[D - 1, 0] = (
            1.0  # the paper's start: keeps the first direction off the lifted coordinate
        )
        if D == 1:
            found[0, 0] = 0.0
        first = self.projection(known * self.projection.scale)[0]
        found[: first.shape[1], :k] = first.T
        if lifted:
            found[-1, :k] = self.radius2**0.5
        chosen = np.empty(D - k, dtype=np.int64)
        for i in range(D - k):
            direction = generator.random(D)
            direction -= found @ (np.linalg.pinv(found) @ direction)
            directions[i] = direction / np.linalg.norm(direction)
            extent = abs(points @ directions[i])
            extent[chosen[:i]] = -1.0  # never the same pixel twice, whatever the rounding
            chosen[i] = extent.argmax()
            found[:, k + i] = points[chosen[i]]
        return Run(self.places[chosen], directions[:, :-1] if lifted else directions)


def extreme_runs(
    reader: Pixels,
    stats: Moments,
    projections: list[Projection],
    known: Floats,  # (k, C) over the scale
    D: int,
    count: int,
    seed: int,
    step: int,
) -> tuple[list[Run], Any]:
    """`count` runs, which take the projections in turn; beside them every `step`-th valid pixel (n, C) over the scale.

    Raises
    ------
    ValueError
        Fewer than D pixels have a projection.
    """
    corners = [_Corners(projection) for projection in projections]
    generator = np.random.default_rng(seed)
    looks = [
        generator.standard_normal((FIRST_DIRECTIONS, projection.axes.shape[1]))
        for projection in projections
    ]
    taboo: list[list[list[int]]] = [[[] for _ in look] for look in looks]
    group = max(SMALLEST_GROUP, -(-stats.count // GROUPS))
    sample = _pass(reader, stats, corners, looks, taboo, step, group)
    for corner in corners:
        if corner.count < D:
            raise ValueError(
                f"vca: `pixels` must have at least D = {D} spectra on the side of their mean for the "
                f"projective projection, got {corner.count}; snr_db=-inf takes the affine one"
            )
    looked: list[set[bytes]] = [set() for _ in corners]
    while True:
        runs = [
            corners[run % len(corners)].search(D, known, np.random.default_rng([seed, run]))
            for run in range(count)
        ]
        looks, taboo = [], []
        for number, done in enumerate(looked):
            own = [
                (direction, run.places[:i].tolist())
                for run in runs[number :: len(corners)]
                for i, direction in enumerate(run.directions)
                if direction.tobytes() not in done
            ]
            done.update(direction.tobytes() for direction, _ in own)
            looks.append(np.reshape([d for d, _ in own], (-1, projections[number].axes.shape[1])))
            taboo.append([before for _, before in own])
        if not any(map(len, looks)):  # the farthest pixels of all directions are corners
            return runs, sample
        _pass(reader, stats, corners, looks, taboo)


def _pass(
    reader: Pixels,
    stats: Moments,
    corners: list[_Corners],
    looks: list[Floats],  # of each projection, (R, K)
    taboo: list[list[list[int]]],  # of each direction, pixels that do not count
    step: int = 0,
    group: int = 0,
) -> Any:
    """Look along all directions for further corners; return the sample."""
    valid, before = stats.valid, 0
    projections = [corner.projection for corner in corners]

    def more(part: Part) -> tuple[Any, ...]:
        nonlocal before
        good = valid[reader.places(part)]
        first = -before % step if step else 0
        before += int(good.sum())
        return good, stats.scale, projections, looks, taboo, group, first, step

    samples: list[Any] = []
    ends: list[list[_Ends]] = [[] for _ in corners]
    for found, some in reader.each(_look, more):
        for corner, all_ends, (radius2, count, own) in zip(corners, ends, found, strict=True):
            corner.radius2 = max(corner.radius2, radius2)
            corner.count += count
            all_ends += own
        samples.append(some)
    for corner, own in zip(corners, ends, strict=True):
        if own:
            corner.add(own)
    return space_of(valid).concatenate(samples) if step else None


@dataclass(frozen=True, eq=False)
class _Ends:
    """The farthest of some pixels along each of R directions, and against it."""

    places: NDArray[np.int64]  # (2, R), -1 where there is none
    points: Floats  # (2, R, K)


def _look(
    reader: Pixels,
    part: Part,
    good: Any,  # (n,) bool
    scale: float,
    projections: list[Projection],
    looks: list[Floats],
    taboo: list[list[list[int]]],
    group: int,
    first: int,
    step: int,
) -> tuple[list[tuple[float, int, list[_Ends]]], Any]:
    """Of one part: for each projection the largest squared length, the count, the ends; and the part's sample."""
    places, block = reader.block(part)
    kept = block if bool(good.all()) else block[good]
    flat = flat_nonzero(good)
    where = flat + places.start if isinstance(places, slice) else places[flat]
    sample = kept[first::step] / scale if step else None
    found = []
    for projection, look, never in zip(projections, looks, taboo, strict=True):
        points, own = projection(kept)
        mine = where[own]
        ends = []
        for start in range(0, len(mine) if len(look) else 0, group or max(1, len(mine))):
            some = slice(start, start + (group or len(mine)))
            ends.append(_ends(points[some], mine[some], look, never))
        radius2 = float((points**2).sum(axis=1).max()) if len(points) else 0.0
        found.append((radius2, len(points), ends))
    return found, sample


def _ends(
    points: Any,  # (m, K)
    mine: Any,  # (m,)
    look: Floats,  # (R, K)
    never: list[list[int]],
) -> _Ends:
    values = beside(points, look) @ points.T  # (R, m): a direction's lie together
    barred = _places_in(mine, never)
    directions = beside(points, np.arange(len(look)))
    found = []
    for limit in (-np.inf, np.inf):
        for at, r in barred:
            values[r, at] = limit
        row = values.argmax(axis=1) if limit < 0 else values.argmin(axis=1)
        there = np.isfinite(to_host(values[directions, row]))
        found.append((np.where(there, to_host(mine[row]), -1), to_host(points[row])))
    return _Ends(np.stack([place for place, _ in found]), np.stack([point for _, point in found]))


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
