r"""All distances of feature rows at once, with intervals: over whole blocks, and over the seeds of the classifier.

The rows of a generated block (of its windows, or its pixels) resemble each other, so blocks are drawn again with
replacement, never rows (`bootstrap`). A classifier trained again is another feature space, in which all values are
others: several are given. The value is the mean over the spaces; the 95 % interval holds the resampled values of all
spaces together, so it tells of both.

Everything a resample needs is summed up once for each block, or each pair of blocks:

    FID               count, mean and products of each block; a resample is one symmetric eigenvalue problem
    FD-infinity       the same, for subsets of a resample's blocks; of `LINES` resamples only
    KID               sums of the kernel over pairs of blocks; pairs inside a block are left out, also where a block
                      is drawn twice (it is the same rows again)
    PRDC              the balls of the sample itself stay; precision and density are means over blocks; recall and
                      coverage ask which real rows any of the drawn blocks is near to
    inception score   means of two sums over each block

Drawn again with replacement a sample holds 63 % of its blocks, some of them twice: distances come out larger, recall,
coverage and the inception score smaller than of the sample itself. As in `bootstrap.estimate` (centred), the resamples
of each space are moved by one number, such that their median falls on the space's own value. Precision and density,
means over blocks, need none of this. Ends lie within what a value can be.

Real rows are not resampled: the scene is what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import as_numpy, check_count, check_seed
from hud_fast.metrics._rows import check_probabilities, finite, read_rows
from hud_fast.metrics.bootstrap import Estimate, estimate, means, resampling_weights
from hud_fast.metrics.frechet import FEWEST, Moments, frechet_of_moments, intercept, subsets
from hud_fast.metrics.inception import negentropy, score_of_means
from hud_fast.metrics.kernel_distance import PolynomialKernel
from hud_fast.metrics.manifold import distances, reach

Array = NDArray[np.float64]

NEIGHBOURS = 5  # of precision, recall, density and coverage
LINES = 24  # resamples of FD-infinity: each takes as many distances as a line has points
_ROOM = 1 << 21  # values of covariances at once


@dataclass(frozen=True)
class FeatureValues:
    """Values with their intervals; what is undefined is None."""

    fid: Estimate
    fid_infinity: Estimate | None  # of fewer than 8 blocks: None
    kid: Estimate
    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    inception: Estimate | None  # without probabilities: None

    def to_dict(self) -> dict[str, Any]:
        """Each value with its interval, JSON-able."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: None if one is None else one.to_dict() for key, one in values.items()}


def block_estimates(
    generated: Sequence[Any],  # S times (B, m, F)
    real: Sequence[Any],  # S times (N, F)
    *,
    bootstrap: int = 200,
    seed: int = 0,
    probabilities: Sequence[Any] | None = None,  # S times (B, m, K)
) -> FeatureValues:
    """FID, FD-infinity, KID, precision, recall, density, coverage and inception score of generated blocks.

    Parameters
    ----------
    generated : list of arrays or tensors, each (B, m, F)
        Features of the m rows of each of B >= 2 blocks, in each of S feature spaces. F may differ between spaces.
    real : list of arrays or tensors, each (N, F)
        Features of real rows in the same spaces, N >= 2.
    bootstrap : int
        Resamples of the blocks; 0 gives no intervals (NaN).
    seed : int
        Of the resamples and of the subsets for FD-infinity.
    probabilities : list of arrays or tensors, each (B, m, K), optional
        Of the classes, for the inception score (the ordinary one, between 1 and K).

    Returns
    -------
    FeatureValues

    Raises
    ------
    TypeError
        Input that is not numeric, or no list over the spaces.
    ValueError
        Shapes that do not fit, values that are not finite, probabilities that are none.

    References
    ----------
    Those of `frechet`, `kernel_distance`, `manifold`, `inception` and `bootstrap`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = block_estimates([rng.normal(size=(8, 5, 3)) + 2], [rng.normal(size=(60, 3))], bootstrap=50)
    >>> 0 < found.kid.low < found.kid.value, found.inception
    (True, None)
    """
    name = "block_estimates"
    bootstrap = check_count(name, "bootstrap", bootstrap, least=0)
    seed = check_seed(name, seed)
    blocks, rows, likely = _read(name, generated, real, probabilities)
    B = len(blocks[0])
    weights = resampling_weights(B, bootstrap, seed)
    counts = np.rint(weights * B)
    sets = [
        subsets(drawn, np.random.default_rng([seed, k]))
        for k, drawn in enumerate(counts[: 1 + LINES] if B >= FEWEST else [])
    ]
    found: dict[str, list[Array]] = {}
    for own, fixed in zip(blocks, rows, strict=True):
        values = {
            **_frechet(own, fixed, counts, sets),
            "kid": _kernel(own, fixed, counts),
            **_manifold(own, fixed, weights),
        }
        for key, one in values.items():
            found.setdefault(key, []).append(one)
    found["inception"] = [_inception(one, weights) for one in likely]
    return FeatureValues(
        **{
            key: _pooled(found[key], centred, least, most) if found.get(key) else None  # type: ignore[arg-type]
            for key, (centred, least, most) in _ENDS.items()
        }
    )


# Whether resamples are biased, and the least and the largest value there is.
_ENDS = {
    "fid": (True, 0.0, np.inf),
    "fid_infinity": (True, -np.inf, np.inf),
    "kid": (True, -np.inf, np.inf),
    "precision": (False, 0.0, 1.0),
    "recall": (True, 0.0, 1.0),
    "density": (False, 0.0, np.inf),
    "coverage": (True, 0.0, 1.0),
    "inception": (True, 1.0, np.inf),
}


def _pooled(values: list[Array], centred: bool, least: float, most: float) -> Estimate:
    """Of each space's own value and its resampled ones; resamples without a value are NaN."""
    resampled = []
    for one in values:
        rest = one[1:][~np.isnan(one[1:])]
        shift = np.median(rest) - one[0] if centred and len(rest) else 0.0
        resampled.append(rest - shift)
    value = float(np.mean([one[0] for one in values]))
    ends = estimate(np.concatenate([[value], *resampled]))
    low, high = np.clip([ends.low, ends.high], least, most).tolist()
    return Estimate(value, low, high)


def _frechet(
    own: Array,  # (B, m, F)
    fixed: Array,  # (N, F)
    counts: Array,  # (1 + R, B)
    sets: list[Array],  # each (n, B)
) -> dict[str, Array]:
    blocks, reference = Moments.of(own), Moments.of(fixed)
    step = max(1, _ROOM // fixed.shape[1] ** 2)
    parts = [
        frechet_of_moments(blocks.weighted(counts[first : first + step]), reference)
        for first in range(0, len(counts), step)
    ]
    found = {"fid": np.concatenate(parts)}
    if sets:
        lines = [intercept(blocks.weighted(drawn), reference) for drawn in sets]
        found["fid_infinity"] = np.array(lines)
    return found


def _kernel(own: Array, fixed: Array, counts: Array) -> Array:  # (1 + R,)
    B, m, F = own.shape
    kernel = PolynomialKernel(degree=3, gamma=1 / F, coef=1.0)
    flat = own.reshape(B * m, F)
    between = kernel.sums(flat, flat, np.repeat(np.arange(B), m), B).reshape(B, m, B).sum(axis=1)
    np.fill_diagonal(between, 0.0)
    across = kernel.sums(flat, fixed, np.zeros(len(fixed), np.intp), 1).reshape(B, m).sum(axis=1)
    pairs = np.square(counts.sum(axis=1)) - np.square(counts).sum(axis=1)
    total = ((counts @ between) * counts).sum(axis=1)
    # a resample of a single block has no pairs
    inner = np.divide(total, pairs * m**2, out=np.full(len(counts), np.nan), where=pairs > 0)
    outer = counts @ across / (counts.sum(axis=1) * m * len(fixed))
    distance: Array = inner + kernel.own_mean(fixed) - 2 * outer
    return distance


def _manifold(own: Array, fixed: Array, weights: Array) -> dict[str, Array]:  # each (1 + R,)
    B, m, F = own.shape
    flat = own.reshape(B * m, F)
    far, _ = reach(flat, NEIGHBOURS)
    balls, k = reach(fixed, NEIGHBOURS)
    inside = np.zeros(B * m)  # real balls that a generated row lies in
    near, covered = (np.empty((len(fixed), B), np.float32) for _ in range(2))
    for part, apart in distances(fixed, flat):
        within = apart <= balls[part, None]
        inside += within.sum(axis=0)
        covered[part] = within.reshape(-1, B, m).any(axis=2)
        near[part] = (apart <= far).reshape(-1, B, m).any(axis=2)
    rows = inside.reshape(B, m)
    drawn = (weights > 0).astype(np.float32)
    return {
        "precision": means((rows > 0).mean(axis=1), weights),
        "recall": (drawn @ near.T > 0).mean(axis=1),
        "density": means(rows.mean(axis=1) / k, weights),
        "coverage": (drawn @ covered.T > 0).mean(axis=1),
    }


def _inception(likely: Array, weights: Array) -> Array:  # (B, m, K) -> (1 + R,)
    sharpness = means(negentropy(likely).mean(axis=1), weights)
    return score_of_means(means(likely.mean(axis=1), weights), sharpness)


def _read(
    name: str, generated: Any, real: Any, probabilities: Any
) -> tuple[list[Array], list[Array], list[Array]]:
    blocks: list[Array] = []
    for value in _spaces(name, "generated", generated, None):
        blocks.append(_blocks(name, "generated", value, len(blocks[0]) if blocks else None))
    S, B = len(blocks), len(blocks[0])
    rows = [
        read_rows(name, "real", value, F=own.shape[2])
        for value, own in zip(_spaces(name, "real", real, S), blocks, strict=True)
    ]
    likely = [] if probabilities is None else _spaces(name, "probabilities", probabilities, S)
    return (
        blocks,
        rows,
        [
            check_probabilities(name, "probabilities", _blocks(name, "probabilities", one, B))
            for one in likely
        ],
    )


def _spaces(name: str, argument: str, value: Any, S: int | None) -> Sequence[Any]:
    """One array for each of S feature spaces; at least one where S is not known."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{name}: `{argument}` must be a list of arrays, one a feature space, got {type(value).__name__}"
        )
    if not value or S not in (None, len(value)):
        count = "at least 1 array" if S is None else f"{S} arrays as `generated` has"
        raise ValueError(f"{name}: `{argument}` must hold {count}, got {len(value)}")
    return value


def _blocks(name: str, argument: str, value: Any, B: int | None) -> Array:
    """(B, m, F) in float64."""
    rows = as_numpy(name, argument, value)
    if rows.ndim != 3 or len(rows) < 2 or 0 in rows.shape or B not in (None, len(rows)):
        least = "B >= 2" if B is None else f"B = {B}"
        raise ValueError(
            f"{name}: `{argument}` must hold arrays of shape (B, m, F) with {least}, m and F >= 1, got {rows.shape}"
        )
    return finite(name, argument, rows)
