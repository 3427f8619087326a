r"""Precision, recall, density, coverage: do generated rows lie where real ones do, and real ones where generated do?

Around each row of a set lies a ball that reaches to its k-th neighbour in the set.

    precision   share of generated rows inside some real row's ball        (Kynkaanniemi et al. 2019, arXiv 1904.06991)
    recall      share of real rows inside some generated row's ball        (the same)
    density     real balls that a generated row lies in, over k, its mean  (Naeem et al. 2020, arXiv 2002.09797)
    coverage    share of real rows with a generated row in their own ball  (the same)

Density is about 1 where both sets are of one law, and is not bounded by it. Coverage is about 1 - 2^-k there, where
both have as many rows; it and recall grow with the number of generated rows: compare at equal numbers only. An outlier
has a large ball: a real one fools precision, a generated one recall; density and coverage hardly notice.

Shapes: generated (n, F), real (m, F). Cost: O((n + m)^2 F), a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_count
from hud_fast.metrics._kept_rows import KeptRows
from hud_fast.metrics._rows import read_two

Array = NDArray[np.float64]

_ROOM = 1 << 22  # distances at once


@dataclass(frozen=True)
class Manifold:
    """The four values."""

    precision: float
    recall: float
    density: float
    coverage: float

    def to_dict(self) -> dict[str, float]:
        """The values by name, JSON-able."""
        return asdict(self)


def reach(rows: Array, neighbours: int) -> tuple[Array, int]:  # (n, F) -> (n,), k
    """Distance from each row to its k-th neighbour, and k: fewer than `neighbours` where there are not as many."""
    k = min(neighbours, len(rows) - 1)
    parts = [
        # 0 is the row itself
        np.partition(apart, k, axis=1)[:, k]
        for _, apart in distances(rows, rows)
    ]
    return np.concatenate(parts), k


def distances(rows: Array, others: Array) -> Iterator[tuple[slice, Array]]:
    """A few rows at a time, their distances from all the others."""
    from scipy.spatial.distance import cdist

    step = max(1, _ROOM // len(others))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        yield part, cdist(rows[part], others)


def precision_recall_density_coverage(
    generated: Any,  # (n, F)
    real: Any,  # (m, F)
    *,
    neighbours: int = 5,
) -> Manifold:
    """Fidelity (precision, density) and diversity (recall, coverage) of generated rows, apart.

    Parameters
    ----------
    generated, real : array or tensor, (n, F) and (m, F)
        Features, n, m >= 2.
    neighbours : int
        k; as many as there are in a set that has fewer.

    Returns
    -------
    Manifold

    Raises
    ------
    TypeError
        Input that is not numeric, `neighbours` not an int.
    ValueError
        Fewer than two rows, numbers of features that differ, values that are not finite, no neighbours.

    References
    ----------
    Naeem et al. 2020, arXiv 2002.09797, eq. 3 to 6.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.arange(10.0)[:, None]
    >>> precision_recall_density_coverage(real[:4] + 0.5, real, neighbours=1)
    Manifold(precision=1.0, recall=0.5, density=2.0, coverage=0.5)
    """
    name = "precision_recall_density_coverage"
    one, other = read_two(name, generated, real)
    neighbours = check_count(name, "neighbours", neighbours)
    own, _ = reach(one, neighbours)
    balls, k = reach(other, neighbours)
    inside = np.zeros(len(one), np.int64)  # real balls that a generated row lies in
    near, covered = 0, 0
    for part, apart in distances(other, one):
        within = apart <= balls[part, None]
        inside += within.sum(axis=0)
        covered += int(within.any(axis=1).sum())
        near += int((apart <= own).any(axis=1).sum())
    return Manifold(
        precision=float((inside > 0).mean()),
        recall=near / len(other),
        density=float(inside.mean()) / k,
        coverage=covered / len(other),
    )


class ManifoldValues(KeptRows[Manifold]):
    """`precision_recall_density_coverage` of rows that come in parts; all are kept.

    Examples
    --------
    >>> import numpy as np
    >>> values = ManifoldValues(neighbours=1)
    >>> for row in np.arange(10.0)[:, None, None]:
    ...     values.update(row, real=True)
    >>> values.update(np.arange(4.0)[:, None] + 0.5, real=False)
    >>> values.compute()
    Manifold(precision=1.0, recall=0.5, density=2.0, coverage=0.5)
    """

    def __init__(self, *, neighbours: int = 5) -> None:
        self.neighbours = check_count("ManifoldValues", "neighbours", neighbours)
        super().__init__()

    def settings(self) -> dict[str, Any]:
        return {"neighbours": self.neighbours}

    def of_sets(self, generated: Any, real: Any) -> Manifold:
        return precision_recall_density_coverage(generated, real, neighbours=self.neighbours)
