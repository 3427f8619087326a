r"""Two sets of feature rows: can a linear rule tell them apart, how far apart do they lie, does one cover the other?

* **AUC** of a ridge classifier trained on one part of both sets and asked about the other part (classifier two-sample
  test, Lopez-Paz & Oquab 2017, arXiv 1610.06545): 0.5 = cannot, 1 = always.
* **Frechet distance** between Gaussians fitted to both (Dowson & Landau 1982; Heusel et al. 2017, arXiv 1706.08500):
  |m - m'|^2 + tr(S + S' - 2 (S S')^1/2). Biased upwards for few rows: compare at equal numbers only.
* **Recall** (Kynkaanniemi et al. 2019, arXiv 1904.06991): the share of real rows within a generated row's distance
  to its k-th neighbour; **coverage** (Naeem et al. 2020, arXiv 2002.09797): the share of real rows that have a
  generated row within their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

Array = NDArray[np.float64]

NEIGHBOURS = 5


def area_under_curve(
    train: tuple[Array, Array],  # (n, F) generated, (m, F) real
    test: tuple[Array, Array],
) -> float:
    """AUC on `test` of the ridge classifier learned from `train`."""
    rows = np.concatenate(train)
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    X = (rows - mean) / spread
    y = np.concatenate([np.ones(len(train[0])), -np.ones(len(train[1]))])
    # as much ridge as there are rows halves the weight of a direction of variance one
    w = X.T @ np.linalg.solve(X @ X.T + len(X) * np.eye(len(X)), y - y.mean())
    generated, real = ((part - mean) / spread @ w for part in test)
    ranks = rankdata(np.concatenate([generated, real]))[: len(generated)]
    n, m = len(generated), len(real)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def frechet_distance(one: Array, other: Array) -> float:  # (n, F), (m, F)
    """Between Gaussians fitted to the rows."""
    S, T = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (one, other))
    shift = one.mean(axis=0) - other.mean(axis=0)
    # eigenvalues of S T are those of the positive semidefinite S^1/2 T S^1/2
    roots = np.sqrt(np.clip(np.linalg.eigvals(S @ T).real, 0, None))
    return float(shift @ shift + np.trace(S) + np.trace(T) - 2 * roots.sum())


def recall_coverage(generated: Array, real: Array) -> tuple[float, float]:
    """Recall and coverage with `NEIGHBOURS` neighbours."""
    between = cdist(real, generated)  # (m, n)

    def reach(rows: Array) -> Array:
        k = min(NEIGHBOURS, len(rows) - 1)
        return np.partition(cdist(rows, rows), k, axis=1)[:, k]  # 0 is the row itself

    recall = (between <= reach(generated)[None, :]).any(axis=1).mean()
    coverage = (between.min(axis=1) <= reach(real)).mean()
    return float(recall), float(coverage)
