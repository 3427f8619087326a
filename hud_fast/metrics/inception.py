r"""Inception score: are single rows of class probabilities sharp, and all classes there? (Salimans et al. 2016,
arXiv 1606.03498)

    IS = exp( mean over rows i of  KL(p_i || q) ),     q = mean over rows of p_i,     KL = sum_k p_ik log(p_ik / q_k)

1 where all rows are alike, K at most. The mean KL is the mutual information of row and class,

    mean_i sum_k p_ik log p_ik  -  sum_k q_k log q_k,

so two sums over the rows are all that is kept of them. Nothing here looks at real data: a real scene's own rows are
what to read it against.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_flag
from hud_fast.metrics._rows import check_probabilities, check_seen, read_rows
from hud_fast.metrics.streaming import Streaming

Array = NDArray[np.float64]


def inception_score(
    probabilities: Any,  # (n, K)
    *,
    per_class: bool = False,
) -> float:
    """exp of the mean divergence of a row's class probabilities from their mean.

    Parameters
    ----------
    probabilities : array or tensor, (n, K)
        A classifier's, n >= 2; each row sums to one.
    per_class : bool
        Divide the divergence by K before exp is taken, as the code of HUD's authors does (and its printed IS, 1.00 to
        1.08): between 1 and K^(1/K), which is 1.18 for 17 classes.

    Returns
    -------
    float
        In [1, K].

    Raises
    ------
    TypeError
        Input that is not numeric, `per_class` not a bool.
    ValueError
        Fewer than two rows, values that are not finite or no probabilities.

    References
    ----------
    Salimans et al. 2016, arXiv 1606.03498, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> round(inception_score(np.eye(4)), 6), round(inception_score(np.eye(4), per_class=True), 6)
    (4.0, 1.414214)
    """
    name = "inception_score"
    per_class = check_flag(name, "per_class", per_class)
    rows = check_probabilities(
        name, "probabilities", read_rows(name, "probabilities", probabilities)
    )
    divisor = rows.shape[1] if per_class else 1
    return float(score_of_means(rows.mean(axis=0), negentropy(rows).mean(), divisor))


def negentropy(rows: Array) -> Array:  # (..., K) -> (...)
    """sum_k p_k log p_k of each row."""
    from scipy.special import xlogy

    terms: Array = xlogy(rows, rows).sum(axis=-1)
    return terms


def score_of_means(q: Array, sharpness: Any, divisor: int = 1) -> Array:  # (..., K), (...) -> (...)
    """IS from the means of the rows and of their `negentropy`."""
    divergence = np.maximum(sharpness - negentropy(q), 0)  # rounding may take it below
    score: Array = np.exp(divergence / divisor)
    return score


class InceptionScore(Streaming[float]):
    """`inception_score` of rows that come in parts: exact, from two sums.

    Examples
    --------
    >>> import numpy as np
    >>> score = InceptionScore()
    >>> score.update(np.eye(4)[:1])
    >>> score.update(np.eye(4)[1:])
    >>> round(score.compute(), 6)
    4.0
    """

    reductions: ClassVar = {"total": "sum", "sharpness": "sum", "count": "sum"}

    def __init__(self, *, per_class: bool = False) -> None:
        self.per_class = check_flag("InceptionScore", "per_class", per_class)
        super().__init__()

    def settings(self) -> dict[str, Any]:
        return {"per_class": self.per_class}

    def update(self, probabilities: Any) -> None:  # (n, K)
        """Add rows of class probabilities, one or more."""
        name = "InceptionScore.update"
        K = len(self.states["total"]) if self.states else None
        rows = read_rows(name, "probabilities", probabilities, least=1, F=K)
        check_probabilities(name, "probabilities", rows)
        self.add(total=rows.sum(axis=0), sharpness=negentropy(rows).sum(), count=len(rows))

    def value(self, states: dict[str, Any]) -> float:
        check_seen("InceptionScore.compute", "probabilities", states["count"])
        q = states["total"] / states["count"]
        divisor = len(q) if self.per_class else 1
        return float(score_of_means(q, states["sharpness"] / states["count"], divisor))
