"""Workers that use one core each.

Threads that meet at the end of every operation (torch's own) wait for the slowest of them hundreds of times a training
step: beside a busy process, for one that the system has set aside. A `Crew` does whole pieces of work instead, one
torch thread a worker, and meets once when all are done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from hud_fast._limits import available_cores

T = TypeVar("T")
R = TypeVar("R")


def cores_for(items: int) -> int:
    """How many workers may share `items`: no more than torch is to use, or than there are cores.

    Examples
    --------
    >>> cores_for(1), cores_for(0)
    (1, 1)
    """
    import torch

    return max(1, min(items, torch.get_num_threads(), available_cores()))


class Crew:
    """Workers, each with `threads` torch threads of its own.

    Parameters
    ----------
    count : int
        How many.
    threads : int or None
        Torch threads of each. One worker that would have those of the caller, or None, is the caller himself.

    Examples
    --------
    >>> list(Crew(2).map(lambda x: x * x, [1, 2, 3]))
    [1, 4, 9]
    """

    def __init__(self, count: int, threads: int | None = 1) -> None:
        import torch

        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        if threads is not None and (count, threads) != (1, torch.get_num_threads()):
            self._pool = ThreadPoolExecutor(count, "hud_fast")
            self._hire(self._pool, threads)

    def _hire(self, pool: ThreadPoolExecutor, threads: int) -> None:
        import torch

        here = threading.Barrier(self.count)

        def begin() -> None:
            # A thread's number of threads is the process's last one until it has asked for it once.
            torch.set_num_threads(threads)
            torch.get_num_threads()
            here.wait()

        before = torch.get_num_threads()
        for one in [pool.submit(begin) for _ in range(self.count)]:
            one.result()
        torch.set_num_threads(before)

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """What `work` gives for each item, in order; whoever is free takes the next item.

        What one item raises is raised here, when nobody works any more.
        """
        if self._pool is None:
            yield from map(work, items)
            return
        import torch

        grad = torch.is_grad_enabled()  # a thread's own

        def with_grad(item: T) -> R:
            with torch.set_grad_enabled(grad):
                return work(item)

        asked = [self._pool.submit(with_grad, item) for item in items]
        try:
            while asked:
                yield asked.pop(0).result()
        finally:
            for one in asked:
                one.cancel()
            wait(asked)
