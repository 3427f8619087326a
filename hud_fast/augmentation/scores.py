"""What a classifier got right, and how sure a mean over draws is.

With N the confusion matrix (rows the truth, columns what was said), n its sum:

    OA = tr N / n        AA = mean_k N_kk / N_k.        kappa = (OA - e) / (1 - e),   e = sum_k N_k. N_.k / n^2
    F1_k = 2 N_kk / (N_k. + N_.k)

kappa is Cohen's (1960). Intervals over draws are Student's t at 95 %: of a row's mean, or of the mean of the paired
differences of two rows, which were trained and tested on the same draws. Draws of one scene share its fields, so the
intervals tell what other draws of labels and fields of this scene would give, not what another scene would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
MEASURES = ("oa", "aa", "kappa")


@dataclass(frozen=True, eq=False)
class Score:
    """Of one classifier on the test pixels of one draw; NaN where nothing tells.

    Attributes
    ----------
    oa, aa, kappa : float
    f1 : (K,) float64
    confusion : (K, K) int64
    """

    oa: float
    aa: float
    kappa: float
    f1: NDArray[np.float64]
    confusion: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        truth: NDArray[np.integer],  # (n,)
        said: NDArray[np.integer],  # (n,)
        numbers: Sequence[int],
    ) -> Score:
        """Both of `numbers` alone.

        Examples
        --------
        >>> score = Score.of(np.array([1, 1, 2, 2]), np.array([1, 2, 2, 2]), (1, 2))
        >>> score.oa, score.aa, score.kappa, score.confusion.tolist()
        (0.75, 0.75, 0.5, [[1, 1], [0, 2]])
        """
        K = len(numbers)
        pairs = np.searchsorted(numbers, truth) * K + np.searchsorted(numbers, said)
        confusion = np.bincount(pairs, minlength=K * K).reshape(K, K).astype(np.int64)
        n, right = confusion.sum(), np.diag(confusion).astype(np.float64)
        of_truth, of_said = confusion.sum(axis=1), confusion.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, f1 = right / of_truth, 2 * right / (of_truth + of_said)
            oa = right.sum() / n
            chance = (of_truth / n * (of_said / n)).sum()
            kappa = (oa - chance) / (1 - chance)
            known = of_truth > 0
            aa = recall[known].mean() if known.any() else np.nan
        return cls(float(oa), float(aa), float(kappa), f1, confusion)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, but for NaN."""
        return {
            "oa": self.oa,
            "aa": self.aa,
            "kappa": self.kappa,
            "f1": self.f1.tolist(),
            "confusion": self.confusion.tolist(),
        }


def mean_of(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, 95 % t interval (None for less than two values) and standard deviation of the values that are known.

    Examples
    --------
    >>> mean_of([1.0, 2.0, 3.0])
    {'value': 2.0, 'interval': [-0.48..., 4.48...], 'sd': 1.0}
    >>> mean_of([1.0])
    {'value': 1.0, 'interval': None, 'sd': None}
    """
    known = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not len(known):
        return {"value": None, "interval": None, "sd": None}
    mean = float(known.mean())
    if len(known) == 1:
        return {"value": mean, "interval": None, "sd": None}
    from scipy.stats import t

    sd = float(known.std(ddof=1))
    half = float(t.ppf(0.5 + LEVEL / 2, len(known) - 1)) * sd / float(np.sqrt(len(known)))
    return {"value": mean, "interval": [mean - half, mean + half], "sd": sd}


def difference(one: Sequence[float | None], other: Sequence[float | None]) -> dict[str, Any]:
    """`mean_of` the paired differences, of the draws in which both are known."""
    return mean_of(
        [None if a is None or b is None else a - b for a, b in zip(one, other, strict=True)]
    )
