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
from hud_fast.unmixing.pixels import Moments, Pixels, beside, space_of, to_host

Floats = NDArray[np.float64]
FIRST_DIRECTIONS = 48  # whose farthest pixels are the first corners


@dataclass(frozen=True, eq=False)
class Projection:
    """The K coordinates in which a search looks at pixels, already divided by the scene's scale."""

    kind: str  # "affine": less the mean; "projective": over the length along the mean; "mean": along the mean
    axes: Floats  # (C, K)
    mean: Floats  # (C,)

    @classmethod
    def of(cls, stats: Moments, D: int, principal: Floats, affine: bool) -> Projection:
        """Of a search for D vertices; `principal` are the D - 1 axes of largest variance."""
        if D == 1:
            # One vertex: no simplex to search. The axis of the mean makes it the pixel brightest along
            # the mean.
            axis = (stats.mean / np.linalg.norm(stats.mean))[:, None]
            return cls("mean", axis, stats.mean)
        if affine:
            return cls("affine", principal, stats.mean)
        leading = np.linalg.eigh(stats.correlation)[1][:, ::-1][:, :D]
        return cls("projective", leading, stats.mean)

    def __call__(self, pixels: Any) -> tuple[Any, Any]:  # (n, C) -> (m, K), (m,) places among the n
        """The coordinates, and whose they are."""
        xp = space_of(pixels)
        axes = beside(pixels, self.axes)
        points = pixels @ axes
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


@dataclass(frozen=True, eq=False)
class Run:
    """What one search found, and the directions (D, K) along which it looked; `shift` is the lifted coordinate's."""

    places: NDArray[np.int64]  # (D,) among all pixels
    directions: Floats
    shift: Floats  # (D,)


class _Corners:
    """The pixels that are known to lie farthest along some direction, in one projection."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.points: dict[int, Floats] = {}
        self.radius2, self.count = (
            0.0,
            0,
        )  # of all pixels: largest squared length, how many have a projection

    def add(self, places: NDArray[np.int64], points: Floats) -> int:
        """Note these, and return how many are new."""
        before = len(self.points)
        self.points.update((int(i), p) for i, p in zip(places, points, strict=True) if i >= 0)
        return len(self.points) - before

    def search(self, D: int, generator: np.random.Generator) -> Run:
        """D times the corner farthest along a random direction orthogonal to those before."""
        places = np.array(sorted(self.points), dtype=np.int64)
        points = np.array([self.points[i] for i in places])
        lifted = self.projection.kind == "affine"
        if lifted:
            points = np.column_stack([points, np.full(len(points), self.radius2**0.5)])
        found, directions = np.zeros((D, D)), np.empty((D, D))
        found[D - 1, 0] = (
            1.0  # the paper's start: keeps the first direction off the lifted coordinate
        )
        if D == 1:
            found[0, 0] = 0.0
        chosen = np.empty(D, dtype=np.int64)
        for i in range(D):
            direction = generator.random(D)
            direction -= found @ (np.linalg.pinv(found) @ direction)
            directions[i] = direction / np.linalg.norm(direction)
            extent = abs(points @ directions[i])
            extent[chosen[:i]] = -1.0  # never the same pixel twice, whatever the rounding
            chosen[i] = extent.argmax()
            found[:, i] = points[chosen[i]]
        shift = directions[:, -1] * self.radius2**0.5 if lifted else np.zeros(D)
        return Run(places[chosen], directions[:, :-1] if lifted else directions, shift)


def extreme_runs(
    reader: Pixels,
    stats: Moments,
    projections: list[Projection],
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
    sample = _pass(reader, stats, corners, looks, taboo, step)[1]
    for corner in corners:
        if corner.count < D:
            raise ValueError(
                f"vca: `pixels` must have at least D = {D} spectra on the side of their mean for the "
                f"projective projection, got {corner.count}; snr_db=-inf takes the affine one"
            )
    while True:
        runs = [
            corners[run % len(corners)].search(D, np.random.default_rng([seed, run]))
            for run in range(count)
        ]
        looks, taboo = [], []
        for number in range(len(corners)):
            own = runs[number :: len(corners)]
            looks.append(np.concatenate([run.directions for run in own]))
            taboo.append([r.places[:i].tolist() for r in own for i in range(D)])
        if not _pass(reader, stats, corners, looks, taboo)[0]:
            return runs, sample


def _pass(
    reader: Pixels,
    stats: Moments,
    corners: list[_Corners],
    looks: list[Floats],  # of each projection, (R, K)
    taboo: list[list[list[int]]],  # of each direction, pixels that do not count
    step: int = 0,
) -> tuple[int, Any]:
    """Look along all directions; how many corners are new, and the sample."""
    valid, xp = stats.valid, space_of(stats.valid)
    projections = [corner.projection for corner in corners]
    before = 0
    ends = [_Ends(len(look), look.shape[1]) for look in looks]
    radius2, counts = [0.0] * len(corners), [0] * len(corners)

    def more(part: Part) -> tuple[Any, ...]:
        nonlocal before
        places = reader.places(part)
        good = valid[places]
        first = -before % step if step else 0
        before += int(good.sum())
        return good, stats.scale, projections, looks, taboo, first, step

    samples = []
    for found, some in reader.each(_look, more):
        for number, (length2, count, top) in enumerate(found):
            radius2[number] = max(radius2[number], length2)
            counts[number] += count
            ends[number].join(*top)
        if step:
            samples.append(some)
    new = 0
    for corner, *seen, end in zip(corners, radius2, counts, ends, strict=True):
        corner.radius2, corner.count = seen
        for side in (0, 1):
            new += corner.add(end.places[side], end.points[side])
    return new, xp.concatenate(samples) if step else None


class _Ends:
    """The farthest pixels along each of R directions, on both sides."""

    def __init__(self, R: int, K: int) -> None:
        self.values = np.full((2, R), -np.inf)
        self.places = np.full((2, R), -1, dtype=np.int64)
        self.points = np.zeros((2, R, K))

    def join(self, values: Floats, places: NDArray[np.int64], points: Floats) -> None:
        """Take in those of further pixels; of equals the first stays."""
        # parts may be narrow: the first is the one with the lowest place
        farther = (values > self.values) | (
            (values == self.values) & (places < self.places) & (places >= 0)
        )
        self.values[farther] = values[farther]
        self.places[farther] = places[farther]
        self.points[farther] = points[farther]


def _look(
    reader: Pixels,
    part: Part,
    good: Any,  # (n,) bool
    scale: float,
    projections: list[Projection],
    looks: list[Floats],
    taboo: list[list[list[int]]],
    first: int,
    step: int,
) -> tuple[list[tuple[float, int, tuple[Any, ...]]], Any]:
    """Of one part: for each projection the largest squared length, the count and the ends; and its sample."""
    places, block = reader.block(part)
    xp = space_of(block)
    kept = (block if bool(good.all()) else block[good]) / scale
    flat = to_host(good).nonzero()[0]
    where = flat + places.start if isinstance(places, slice) else places[flat]
    sample = kept[first::step] if step else None
    found = []
    for projection, look, never in zip(projections, looks, taboo, strict=True):
        points, own = projection(kept)
        ends = _Ends(len(look), look.shape[1])
        if len(points) and len(look):
            values = points @ beside(points, np.ascontiguousarray(look.T))  # (m, R)
            mine = where[to_host(own)]
            for r, pixels in enumerate(never):
                for pixel in pixels:
                    at = int(np.searchsorted(mine, pixel))
                    if at < len(mine) and mine[at] == pixel:
                        values[at, r] = xp.nan
            for side, sign in ((0, 1), (1, -1)):
                signed = xp.nan_to_num(sign * values, nan=-xp.inf, posinf=xp.inf, neginf=-xp.inf)
                row = to_host(signed.argmax(axis=0))
                top = to_host(signed.max(axis=0)) if xp is np else to_host(signed.amax(dim=0))
                there = np.isfinite(top)
                ends.values[side] = top
                ends.places[side] = np.where(there, mine[row], -1)
                ends.points[side] = to_host(points[beside(points, row)])
        radius2 = float((points**2).sum(axis=1).max()) if len(points) else 0.0
        found.append((radius2, len(points), (ends.values, ends.places, ends.points)))
    return found, sample
