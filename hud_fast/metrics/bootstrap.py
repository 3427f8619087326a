"""How far a value could have come out otherwise: bootstrap intervals over whole blocks.

The blocks of a row are drawn again with replacement, as many as there are, R times (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, ch. 13). A block is never broken up: its pixels resemble each other, so pixels
drawn one by one would give intervals far too narrow. Every statistic here is a function of means over blocks, so a
resample is a row of weights and costs one product with the blocks' own numbers:

    weights (1 + R, n):  row 0 is the sample itself, 1/n each;  the others count / n, count ~ multinomial(n, 1/n)

The 95 % interval lies between the 2.5 % and 97.5 % quantiles of the resampled values (the percentile interval). A
distance needs more care. It is a norm of a difference, and a resample adds its own noise to that difference: near
zero all resampled distances exceed the value, and the percentile interval would lie above it. There (`centred`)
the quantiles are moved by one number, such that the resamples' median falls on the value, and the lower end is not
below 0. The width is the bootstrap's own.

What no bootstrap tells: the blocks of one half of a scene overlap, hence are fewer than they look; and a value that
is the same in all blocks (no near copy in 64) gets an interval of no width, although 3/64 would not be surprising.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_count

Array = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its interval; the ends are NaN where nothing was resampled."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """``value`` and ``interval`` ([low, high] or None), JSON-able."""
        known = bool(np.isfinite([self.low, self.high]).all())
        return {"value": self.value, "interval": [self.low, self.high] if known else None}


def resampling_weights(
    n: int,
    count: int,
    seed: int | Sequence[int],
) -> Array:  # (1 + count, n)
    """Weights of the sample itself (row 0) and of `count` resamples; each row sums to one.

    Examples
    --------
    >>> weights = resampling_weights(4, 2, seed=0)
    >>> weights.shape, weights[0].tolist(), weights.sum(axis=1).tolist()
    ((3, 4), [0.25, 0.25, 0.25, 0.25], [1.0, 1.0, 1.0])
    """
    n = check_count("resampling_weights", "n", n)
    count = check_count("resampling_weights", "count", count, least=0)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=count)
    return np.concatenate([np.full((1, n), 1 / n), drawn / n])


def means(
    statistics: Array,  # (n, ...)
    weights: Array,  # (1 + R, n)
) -> Array:  # (1 + R, ...)
    """The weighted means over the blocks, one for each row of `weights`."""
    flat = weights @ statistics.reshape(len(statistics), -1)
    return flat.reshape(len(weights), *statistics.shape[1:])


def estimate(
    values: Array,  # (1 + R,)
    *,
    centred: bool = False,
) -> Estimate:
    """The value (row 0) with the percentile interval of the resampled ones.

    Parameters
    ----------
    values : (1 + R,) array
        A statistic of each row of `resampling_weights`.
    centred : bool
        For distances: see the module's docstring.

    Examples
    --------
    >>> estimate(np.array([0.0, 1.0, 2.0, 3.0]), centred=True)
    Estimate(value=0.0, low=0.0, high=0.95...)
    """
    value = float(values[0])
    if len(values) == 1:
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low, median, high = np.quantile(values[1:], [tail, 0.5, 1 - tail]).tolist()
    if not centred:
        return Estimate(value, low, high)
    shift = median - value
    return Estimate(value, max(0.0, low - shift), high - shift)
