"""How the metrics tell how far they are: progress(done, total), and one progress shared by several stages."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


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
