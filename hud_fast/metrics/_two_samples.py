"""Two sets of feature rows: can a linear rule tell them apart?

AUC of a ridge classifier trained on one part of both sets and asked about the other part (classifier two-sample test,
Lopez-Paz & Oquab 2017, arXiv 1610.06545): 0.5 = cannot, 1 = always.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
    if not (np.isfinite(generated).all() and np.isfinite(real).all()):
        return float("nan")
    n, m = len(generated), len(real)
    ordered = np.sort(real)
    below, up_to = (ordered.searchsorted(generated, side) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * n * m))  # ties count half
