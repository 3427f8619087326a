"""Small things that make results readable by a program: distributions as five numbers, shared progress."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.metrics._search import Progress


def distribution(values: NDArray[np.float64]) -> dict[str, float]:
    """Minimum, 5 %, median, 95 % and maximum of the finite values."""
    finite = values[np.isfinite(values)]
    low, p05, median, p95, high = np.quantile(finite, [0, 0.05, 0.5, 0.95, 1]).tolist()
    return {"min": low, "p05": p05, "median": median, "p95": p95, "max": high}


class Stages:
    """One progress over several stages of given weights, in thousandths of the whole."""

    def __init__(self, progress: Progress | None, weights: dict[str, float]) -> None:
        self._progress = progress
        total = sum(weights.values())
        self._span: dict[str, tuple[float, float]] = {}
        done = 0.0
        for name, weight in weights.items():
            self._span[name] = (1000 * done / total, 1000 * (done + weight) / total)
            done += weight

    def __getitem__(self, name: str) -> Progress | None:
        """The progress function of one stage."""
        progress = self._progress
        if progress is None:
            return None
        first, last = self._span[name]

        def advance(done: int, total: int) -> None:
            progress(round(first + (last - first) * done / max(total, 1)), 1000)

        return advance


def plain(value: Any) -> Any:
    """`value` with every float that JSON cannot hold (NaN, infinities) turned to None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
