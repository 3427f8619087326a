"""What makes results readable by a program: distributions as five numbers, floats that JSON can hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def distribution(values: NDArray[np.float64]) -> dict[str, float]:
    """Minimum, 5 %, median, 95 % and maximum of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return dict.fromkeys(("min", "p05", "median", "p95", "max"), float("nan"))
    low, p05, median, p95, high = np.quantile(finite, [0, 0.05, 0.5, 0.95, 1]).tolist()
    return {"min": low, "p05": p05, "median": median, "p95": p95, "max": high}


def plain(value: Any) -> Any:
    """`value` with every float that JSON cannot hold (NaN, infinities) turned to None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
