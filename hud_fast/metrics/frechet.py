r"""Frechet distance of two sets of feature rows (FID, where the features are those of a classifier).

Gaussians are fitted to both sets, and the 2-Wasserstein distance of the Gaussians is squared (Dowson & Landau 1982;
Heusel et al. 2017, arXiv 1706.08500):

    FD = |m - m'|^2 + tr S + tr S' - 2 tr (S S')^1/2

The trace of the root is the sum of the roots of the eigenvalues of the symmetric S^1/2 S' S^1/2. The root of the plain
product, which many programs take, has complex leftovers and loses half of the digits where S is near singular.
Covariances have the divisor n - 1; eigenvalues that rounding alone can make (F eps of the largest) count as zero, so
fewer rows than features are no error.

Few rows make the distance too large, by about a constant over their number N (Chong & Forsyth 2020, arXiv 1911.07023).
`frechet_infinity` draws subsets of several sizes, fits a line over 1/N and gives its value at 1/N = 0.

Shapes: generated (n, F), real (m, F) -> float, in the square of the features' unit. Cost: O((n + m) F^2 + F^3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_flag, check_seed
from hud_fast.metrics._rows import check_seen, read_groups, read_rows, read_two
from hud_fast.metrics.streaming import Streaming

Array = NDArray[np.float64]

SIZES = 6  # of subsets, from a quarter of the rows to all of them
DRAWS = 4  # subsets of a size
FEWEST = 8  # rows or groups: the smallest subsets have two


@dataclass(frozen=True, eq=False)
class Moments:
    """What a Gaussian is fitted to, of one set or of each of several: sets add up without loss of digits."""

    count: Array  # (...)
    mean: Array  # (..., F)
    scatter: Array  # (..., F, F) sums of products of differences from the mean

    @classmethod
    def of(cls, rows: Array) -> Moments:  # (..., n, F)
        """Of each set of n rows."""
        mean = rows.mean(axis=-2)
        apart = rows - mean[..., None, :]
        return cls(
            np.full(mean.shape[:-1], float(rows.shape[-2])), mean, apart.swapaxes(-1, -2) @ apart
        )

    @classmethod
    def stack(cls, sets: list[Moments]) -> Moments:
        """Several sets as one object."""
        return cls(
            np.array([one.count for one in sets]),
            np.array([one.mean for one in sets]),
            np.array([one.scatter for one in sets]),
        )

    def merge(self, other: Moments) -> Moments:
        """Of both sets together (Chan, Golub & LeVeque 1979)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter
        scatter = scatter + np.multiply.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)

    def weighted(self, counts: Array) -> Moments:  # of B sets by (R, B) -> of R
        """Of R unions, in which set b counts as often as `counts` says."""
        B, F = self.mean.shape
        # differences from the mean of all keep their digits
        apart = self.mean - self.mean.mean(axis=0)
        own = self.scatter + self.count[:, None, None] * apart[:, :, None] * apart[:, None, :]
        count = counts @ self.count
        shift = (counts * self.count) @ apart / count[:, None]
        scatter = (counts @ own.reshape(B, F * F)).reshape(-1, F, F)
        scatter -= count[:, None, None] * shift[:, :, None] * shift[:, None, :]
        return Moments(count, self.mean.mean(axis=0) + shift, scatter)

    @property
    def covariance(self) -> Array:  # (..., F, F)
        """With the divisor n - 1."""
        covariance: Array = self.scatter / (self.count - 1)[..., None, None]
        return covariance


def frechet_of_moments(one: Moments, fixed: Moments) -> Array:  # of (...) and one set -> (...)
    """The distance of each of several sets from a fixed one, whose root is taken once."""
    T = fixed.covariance
    size, axes = np.linalg.eigh(T)
    size = _resolved(size)
    root = (axes * np.sqrt(size))[:, size > 0]  # T = root root'
    S = one.covariance
    between = _resolved(np.linalg.eigvalsh(root.T @ S @ root))
    shift = one.mean - fixed.mean
    trace = np.trace(S, axis1=-2, axis2=-1) + np.trace(T)
    distance: Array = np.square(shift).sum(axis=-1) + trace - 2 * np.sqrt(between).sum(axis=-1)
    return distance


def _resolved(eigenvalues: Array) -> Array:  # (..., F)
    """Zero where rounding alone can make the value."""
    if not eigenvalues.shape[-1]:
        return eigenvalues
    least = eigenvalues.shape[-1] * np.finfo(np.float64).eps * eigenvalues[..., -1:]
    return np.where(eigenvalues > least, eigenvalues, 0.0)


def frechet_distance(
    generated: Any,  # (n, F)
    real: Any,  # (m, F)
) -> float:
    """Between Gaussians fitted to the rows of two sets; 0 for the same set, up to rounding.

    Parameters
    ----------
    generated, real : array or tensor, (n, F) and (m, F)
        Features, n, m >= 2. The value falls with n and m: compare at equal numbers only, or see `frechet_infinity`.

    Returns
    -------
    float
        In the square of the features' unit.

    Raises
    ------
    TypeError
        Input that is not numeric.
    ValueError
        Fewer than two rows, numbers of features that differ, values that are not finite.

    References
    ----------
    Heusel et al. 2017, arXiv 1706.08500, eq. 6.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    >>> round(frechet_distance(rows + [3.0, 0.0], rows), 6)
    9.0
    """
    one, other = read_two("frechet_distance", generated, real)
    return float(frechet_of_moments(Moments.of(one), Moments.of(other)))


def frechet_infinity(
    generated: Any,  # (n, F)
    real: Any,  # (m, F)
    *,
    groups: Any = None,  # (n,) int
    seed: int = 0,
) -> float:
    """What the Frechet distance would be of infinitely many generated rows.

    The real rows are the same all along: their own number's part of the bias stays, alike for all generators.

    Parameters
    ----------
    generated, real : array or tensor, (n, F) and (m, F)
        Features; n much larger than F, else the distance is no line over 1/n.
    groups : array or tensor of int, (n,), optional
        Which block a generated row is of: whole blocks are drawn, since rows of one resemble each other.
    seed : int
        Of the subsets.

    Returns
    -------
    float
        Negative, a little, where both sets are of one law.

    Raises
    ------
    TypeError
        Input that is not numeric, groups that are not whole numbers.
    ValueError
        As `frechet_distance`, fewer than 8 rows or groups, groups of another number of rows.

    References
    ----------
    Chong & Forsyth 2020, arXiv 1911.07023: a line over 1/N; here by least squares over 6 sizes of 4 subsets each.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> generated, real = rng.normal(size=(200, 3)), rng.normal(size=(20000, 3))
    >>> abs(frechet_infinity(generated, real)) < frechet_distance(generated, real)
    True
    """
    name = "frechet_infinity"
    one, other = read_two(name, generated, real)
    seed = check_seed(name, seed)
    number = read_groups(name, groups, len(one))
    if number is None:
        number = np.arange(len(one))
    B = int(number.max()) + 1
    if B < FEWEST:
        raise ValueError(
            f"{name}: `generated` must have at least {FEWEST} rows, or groups of rows, got {B}"
        )
    chosen = subsets(np.ones(B), np.random.default_rng(seed))
    sets = [Moments.of(one[inside[number] > 0]) for inside in chosen]
    return intercept(Moments.stack(sets), Moments.of(other))


def subsets(drawn: Array, rng: np.random.Generator) -> Array:  # (B,) -> (SIZES DRAWS, B)
    """How often each block is in subsets of a sample that holds block b `drawn[b]` times."""
    members = np.repeat(np.arange(len(drawn)), drawn.astype(np.intp))
    B = len(members)
    chosen = [
        rng.permutation(members)[:size]
        for size in np.linspace(B / 4, B, SIZES).round().astype(np.intp)
        for _ in range(DRAWS)
    ]
    return np.array([np.bincount(one, minlength=len(drawn)) for one in chosen], dtype=np.float64)


def intercept(sets: Moments, fixed: Moments) -> float:
    """Of the line over 1/N through the distances of sets of N rows each."""
    line = np.polynomial.polynomial.polyfit(1 / sets.count, frechet_of_moments(sets, fixed), 1)
    return float(line[0])


class FrechetDistance(Streaming[float]):
    """`frechet_distance` of rows that come in parts: of each set its number, mean and products of differences.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    >>> distance = FrechetDistance()
    >>> distance.update(rows, real=True)
    >>> for part in (rows[:1], rows[1:]):
    ...     distance.update(part + [3.0, 0.0], real=False)
    >>> round(distance.compute(), 6)
    9.0
    """

    reductions: ClassVar = {"generated": Moments.merge, "real": Moments.merge}

    def update(self, rows: Any, real: bool) -> None:  # (n, F)
        """Add rows, one or more, of the real or the generated set."""
        name = "FrechetDistance.update"
        real = check_flag(name, "real", real)
        F = next((len(seen.mean) for seen in self.states.values()), None)
        found = Moments.of(read_rows(name, "rows", rows, least=1, F=F))
        self.add(**{"real" if real else "generated": found})

    def value(self, states: dict[str, Any]) -> float:
        for key in ("generated", "real"):
            check_seen("FrechetDistance.compute", key, float(states[key].count))
        return float(frechet_of_moments(states["generated"], states["real"]))
