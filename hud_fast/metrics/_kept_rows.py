"""What measures of pairs of rows keep: all of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

import numpy as np

from hud_fast._checks import check_flag
from hud_fast.metrics._rows import check_seen, read_rows
from hud_fast.metrics.streaming import Streaming

T = TypeVar("T")


class KeptRows(Streaming[T]):
    """Two sets of rows, kept as they come."""

    reductions: ClassVar = {"generated": "cat", "real": "cat"}

    def update(self, rows: Any, real: bool) -> None:  # (n, F)
        """Add rows, one or more, of the real or the generated set."""
        name = f"{type(self).__name__}.update"
        real = check_flag(name, "real", real)
        F = next((kept[0].shape[1] for kept in self.states.values()), None)
        self.add(**{"real" if real else "generated": read_rows(name, "rows", rows, least=1, F=F)})

    def value(self, states: dict[str, Any]) -> T:
        sets = {key: np.concatenate(states[key]) for key in ("generated", "real")}
        for key, rows in sets.items():
            check_seen(f"{type(self).__name__}.compute", key, len(rows))
        return self.of_sets(**sets)

    @abstractmethod
    def of_sets(self, generated: Any, real: Any) -> T:  # (n, F), (m, F)
        """The value of all rows."""
