"""Tests that say what must hold on a GPU. Those that need one skip, visibly, where there is none.

For `benchmarks/gpu.sh`, whose minutes on a GPU are few:

* a worker of pytest-xdist whose GPU context is lost ends, and another takes its place: every call after an illegal
  address fails, so that it would fail all tests that it is given, in no time;
* HUD_FAST_TEST_LOG names a file that gets a line a test as soon as it is done; HUD_FAST_TEST_DONE one of an earlier
  run, whose tests that passed are left out.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
import torch

from hud_fast.kernels.windows import device as windows_device

LOST = 70  # exit code of a worker whose GPU context is lost
LOG, DONE = "HUD_FAST_TEST_LOG", "HUD_FAST_TEST_DONE"


@pytest.fixture
def gpu() -> torch.device:
    """A GPU, or the test is skipped."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device("cuda")


@pytest.fixture
def most_memory() -> Generator[None]:
    """One test at a time among all processes takes a good part of the GPU's memory, and gives it back.

    (Not pytest-xdist's groups: with --dist loadgroup a session waits for ever for a worker that fell.)
    """
    import fcntl

    with (Path(tempfile.gettempdir()) / f"hud-fast-most-memory-{os.getuid()}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        torch.cuda.empty_cache()


@pytest.fixture
def force(monkeypatch):
    """Force the block search's way, tile and length of a list; None leaves them to the plan."""

    def choose(way=None, tile=None, capacity=None):
        monkeypatch.setattr(windows_device, "FORCED_PATH", way)
        monkeypatch.setattr(windows_device, "FORCED_TILE", tile)
        monkeypatch.setattr(windows_device, "FORCED_CAPACITY", capacity)

    return choose


def note(**row: object) -> None:
    """A line for HUD_FAST_TEST_LOG: at once, whole lines whoever else writes."""
    path = os.environ.get(LOG)
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps(row) + "\n")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, object, None]:
    """End a worker whose GPU has failed for good; what it says of the test is noted before."""
    outcome = yield
    if call.excinfo is None or not torch.cuda.is_initialized():
        return
    try:
        torch.cuda.synchronize()
    except Exception as error:
        text = str(outcome.get_result().longrepr)  # type: ignore[attr-defined]
        note(test=item.nodeid, lost=f"{type(error).__name__}: {error}", text=text[-4000:])
        if "PYTEST_XDIST_WORKER" in os.environ:
            os._exit(LOST)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line a test; pytest-xdist hands all reports to its main process."""
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.passed):
        return
    text = {"text": str(report.longrepr)[-4000:]} if report.failed else {}
    seconds = round(report.duration, 2)
    note(test=report.nodeid, outcome=report.outcome, seconds=seconds, **text)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what an earlier run's log says has passed."""
    path = os.environ.get(DONE)
    if not path:
        return
    outcomes: dict[str, str] = {}
    for row in map(json.loads, Path(path).read_text().splitlines()):
        outcomes[row["test"]] = row.get("outcome", "failed")
    kept = [item for item in items if outcomes.get(item.nodeid) not in ("passed", "skipped")]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
