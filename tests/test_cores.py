"""What this process may use, and workers that share it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hud_fast._cores import Crew


@pytest.fixture(params=[1, 2])
def caller_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_workers_have_their_threads_and_the_caller_keeps_his(caller_threads: int) -> None:
    for count, threads in ((1, 1), (2, 1), (3, 2)):
        crew = Crew(count, threads)
        assert set(crew.map(lambda _: torch.get_num_threads(), range(9))) == {threads}
        assert torch.get_num_threads() == caller_threads
    assert list(Crew(1, None).map(lambda _: torch.get_num_threads(), [0])) == [caller_threads]
    others: list[int] = []
    other = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert others == [caller_threads]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_are_in_order_and_failures_arrive(count: int) -> None:
    crew = Crew(count)
    done: list[int] = []

    def slow_first(k: int) -> int:
        time.sleep(0.02 if k == 0 else 0)
        if k == 3:
            raise ValueError("three")
        done.append(k)
        return k

    assert list(crew.map(slow_first, [0, 1, 2])) == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        list(crew.map(slow_first, range(8)))
    working = len(done)
    time.sleep(0.03)
    assert len(done) == working  # nobody works on for a caller that has been told


def test_no_gradients_where_the_caller_wants_none() -> None:
    crew = Crew(2)
    with torch.no_grad():
        assert list(crew.map(lambda _: torch.is_grad_enabled(), range(4))) == [False] * 4
    assert list(crew.map(lambda _: torch.is_grad_enabled(), range(4))) == [True] * 4


# More threads asked for than cores allowed; then children after a fork, which has only the thread that forked.
SCRIPT = """
import os, signal, sys
import numpy as np, torch, hud_fast as hud
torch.set_num_threads(8)
rng = np.random.default_rng(0)
E = rng.random((5, 40)).astype("f4"); Y = rng.dirichlet(np.ones(5), 20000).astype("f4") @ E
before = len(os.listdir("/proc/self/task"))
x = hud.fcls(Y, E)
helpers = len(os.listdir("/proc/self/task")) - before
assert helpers < len(os.sched_getaffinity(0)), helpers
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if (hud.fcls(Y, E) == x).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells its threads there")
def test_no_more_threads_than_cores_and_none_lost_by_a_fork() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "64"}
    subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", SCRIPT],
        env=environment,
        check=True,
        timeout=120,
    )
