"""Work on the parts of something large, side by side and in order: by threads of this process, or by a cluster."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
AHEAD = 2  # parts for each worker that may be done and wait to be taken


class Pool:
    """Workers, and how many of them there are."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self.executor, self.workers = executor, workers

    @property
    def here(self) -> bool:
        """Do they share this process's memory?"""
        return isinstance(self.executor, ThreadPoolExecutor)

    def in_order(self, work: Callable[..., T], calls: Iterable[tuple[Any, ...]]) -> Iterator[T]:
        """Yield ``work(*call)`` of each call in turn; only a few are in work or wait at a time."""
        waiting: deque[Any] = deque()
        try:
            for call in calls:
                waiting.append(self.executor.submit(work, *call))
                if len(waiting) > AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextlib.contextmanager
def pool_of(workers: int, scheduler: str | None = None) -> Iterator[Pool]:
    """Threads of this process, or the workers of the dask cluster whose scheduler is at this address.

    Raises
    ------
    ImportError
        A scheduler, and no dask.distributed.
    OSError
        No answer from the scheduler.
    """
    if scheduler is None:
        with ThreadPoolExecutor(workers) as threads:
            yield Pool(threads, workers)
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(
            '--scheduler needs dask.distributed: pip install "hud-fast[dask]"'
        ) from error
    with Client(scheduler, timeout="10s") as client:  # type: ignore[no-untyped-call]
        threads_there = sum(client.nthreads().values())
        if not threads_there:
            raise OSError(
                f"the scheduler at {scheduler} has no workers: start some by `dask worker {scheduler}`"
            )
        yield Pool(client.get_executor(pure=False), threads_there)
