"""The search of vertex component analysis over pixels that are read in parts, all runs in the same few looks.

A run takes D times the pixel farthest along a direction that depends on those before: D passes over all pixels a run,
of a projection that has to be kept. The farthest pixels of all directions are corners of the same cloud, though, of
which there are few. So the runs search among the corners that are known, and one look tells for all their directions
whether any pixel lies farther out. If one does it becomes a corner, and the runs start again: each look makes at
least one more step of every run final, mostly all of them. The result is that of the search among all pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.unmixing.moments import Moments
from hud_fast.unmixing.pixels import Pixels
from hud_fast.unmixing.views import Ends, Projection, Views

Floats = NDArray[np.float64]
FIRST_DIRECTIONS = 48  # whose farthest pixels, of groups of pixels, are the first corners
GROUPS, SMALLEST_GROUP = 64, 256


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
        self.radius2 = 0.0  # largest squared length of all pixels

    def add(self, ends: list[Ends]) -> None:
        """Note the ends of all parts."""
        if not ends:
            return
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
    group = max(SMALLEST_GROUP, -(-stats.count // GROUPS))
    views = Views(reader, stats, projections)
    ends, sample = views.first(looks, group, step)
    for number, corner in enumerate(corners):
        if views.counts[number] < D:
            raise ValueError(
                f"vca: `pixels` must have at least D = {D} spectra on the side of their mean for the "
                f"projective projection, got {views.counts[number]}; snr_db=-inf takes the affine one"
            )
        corner.radius2 = views.radii2[number]
        corner.add(ends[number])
    looked: list[set[bytes]] = [set() for _ in corners]
    while True:
        runs = [
            corners[run % len(corners)].search(D, known, np.random.default_rng([seed, run]))
            for run in range(count)
        ]
        looks, taboo = [], []  # taboo: of each direction, pixels that do not count
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
        for corner, further in zip(corners, views.look(looks, taboo), strict=True):
            corner.add(further)
