r"""Kernel distance (KID): the squared maximum mean discrepancy of two sets of feature rows, without a bias.

    k(x, y) = (gamma <x, y> + coef)^degree
    MMD^2   = mean of k(g_i, g_j) over i != j  +  mean of k(r_i, r_j) over i != j  -  2 mean of k(g_i, r_j)

(Gretton et al. 2012; Binkowski et al. 2018, arXiv 1801.01401: degree 3, gamma = 1 / F, coef 1.) All pairs are taken,
not random subsets. Its expectation is 0 where both sets are of one law, at any number of rows, so it is as often below
zero as above. Rows of one block resemble each other and make the first mean too large: with `groups` pairs inside of
one group are left out there.

Shapes: generated (n, F), real (m, F) -> float. Cost: O((n + m)^2 F), a few rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._checks import check_count, check_number
from hud_fast.metrics._kept_rows import KeptRows
from hud_fast.metrics._rows import read_groups, read_two

Array = NDArray[np.float64]

_ROOM = 1 << 22  # values of the kernel at once


@dataclass(frozen=True)
class PolynomialKernel:
    """(gamma <x, y> + coef)^degree."""

    degree: int
    gamma: float
    coef: float

    def sums(self, rows: Array, others: Array, number: NDArray[np.intp], B: int) -> Array:
        """Of each of `rows` with all of `others` that have one `number`: (n, B)."""
        order = np.argsort(number, kind="stable")
        columns = np.ascontiguousarray(others[order].T)
        first = np.searchsorted(number[order], np.arange(B))
        step = max(1, _ROOM // len(others))
        parts = []
        for start in range(0, len(rows), step):
            inner = rows[start : start + step] @ columns
            inner *= self.gamma
            inner += self.coef
            value = inner.copy()
            for _ in range(self.degree - 1):  # several times faster than a power
                value *= inner
            parts.append(np.add.reduceat(value, first, axis=1))
        return np.concatenate(parts)

    def diagonal(self, rows: Array) -> Array:  # (n, F) -> (n,)
        """Of each row with itself."""
        values: Array = (self.gamma * np.square(rows).sum(axis=1) + self.coef) ** self.degree
        return values

    def own_mean(self, rows: Array) -> float:
        """Over all pairs of two rows of a set."""
        n = len(rows)
        total = self.sums(rows, rows, np.zeros(n, np.intp), 1).sum() - self.diagonal(rows).sum()
        return float(total / (n * (n - 1)))


def kernel_distance(
    generated: Any,  # (n, F)
    real: Any,  # (m, F)
    *,
    degree: int = 3,
    gamma: float | None = None,
    coef: float = 1,
    groups: Any = None,  # (n,) int
) -> float:
    """Unbiased MMD^2 of two sets of rows with a polynomial kernel, over all pairs.

    Parameters
    ----------
    generated, real : array or tensor, (n, F) and (m, F)
        Features, n, m >= 2.
    degree, gamma, coef : int, float, float
        Of the kernel; gamma is 1 / F by default.
    groups : array or tensor of int, (n,), optional
        Which block a generated row is of: pairs of one block are left out.

    Returns
    -------
    float
        Negative, a little, where both sets are of one law.

    Raises
    ------
    TypeError
        Input that is not numeric, groups that are not whole numbers.
    ValueError
        Fewer than two rows or groups, numbers of features that differ, values that are not finite, groups of another
        number of rows, a degree below 1.

    References
    ----------
    Binkowski et al. 2018, arXiv 1801.01401, eq. 4.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.array([[1.0], [-1.0]])
    >>> kernel_distance(rows, rows, degree=1)
    -2.0
    """
    name = "kernel_distance"
    one, other = read_two(name, generated, real)
    kernel = PolynomialKernel(
        check_count(name, "degree", degree),
        1 / one.shape[1] if gamma is None else check_number(name, "gamma", gamma),
        check_number(name, "coef", coef),
    )
    number = read_groups(name, groups, len(one))
    if number is None:
        own = kernel.own_mean(one)
    else:
        size = np.bincount(number)
        sums = kernel.sums(one, one, number, len(size))
        apart = sums.sum() - sums[np.arange(len(one)), number].sum()
        own = float(apart / (len(one) ** 2 - np.square(size).sum()))
    between = kernel.sums(one, other, np.zeros(len(other), np.intp), 1).sum()
    return own + kernel.own_mean(other) - 2 * float(between) / (len(one) * len(other))


class KernelDistance(KeptRows[float]):
    """`kernel_distance` of rows that come in parts; all are kept.

    Examples
    --------
    >>> import numpy as np
    >>> distance = KernelDistance(degree=1)
    >>> for row in np.array([[[1.0]], [[-1.0]]]):
    ...     distance.update(row, real=True)
    ...     distance.update(row, real=False)
    >>> distance.compute()
    -2.0
    """

    def __init__(self, *, degree: int = 3, gamma: float | None = None, coef: float = 1) -> None:
        name = "KernelDistance"
        self.degree = check_count(name, "degree", degree)
        self.gamma = None if gamma is None else check_number(name, "gamma", gamma)
        self.coef = check_number(name, "coef", coef)
        super().__init__()

    def settings(self) -> dict[str, Any]:
        return {"degree": self.degree, "gamma": self.gamma, "coef": self.coef}

    def of_sets(self, generated: Any, real: Any) -> float:
        return kernel_distance(generated, real, **self.settings())
