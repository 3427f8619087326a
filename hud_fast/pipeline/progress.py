"""How the pipeline tells its caller what it is doing, without knowing how that is shown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]  # progress(done, total)


class Reporter:
    """Silent reporter, the default for callers from Python. The command line subclasses it."""

    def say(self, text: str) -> None:
        """Show one line."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Announce a stage; the block calls the yielded function as progress(done, total)."""
        del name
        yield _ignore


def _ignore(done: int, total: int) -> None:
    del done, total
