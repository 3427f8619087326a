"""The fuzzer sees every kind of fault; and a bounded part of it, with every input that ever failed (`corpus/`)."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fuzz import children, guard, run
from fuzz.targets import FileTarget


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    folder = run.workplace()
    yield folder
    shutil.rmtree(folder)


class Code:
    def __reduce__(self) -> Any:
        return os.getpid, ()


def refuse(error: Exception) -> None:
    raise error


def ends(by: int) -> None:
    os.kill(os.getpid(), by)


def spin() -> None:
    while True:
        pass


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "nothing": (lambda: None, guard.RESULT),
    "clear": (lambda: refuse(ValueError("fcls: `pixels` must be whole")), guard.REFUSED),
    "names the file": (lambda: refuse(OSError("HUD.load: nothing in a.bin")), guard.REFUSED),
    "raw": (lambda: refuse(ValueError("bad value")), guard.UNCLEAR),
    "another kind": (lambda: refuse(KeyError("fcls: `pixels`")), guard.UNCLEAR),
    "control": (lambda: refuse(ValueError("fcls: `pixels` \x1b[31m")), guard.UNCLEAR),
    "long": (lambda: refuse(ValueError("fcls: `pixels` " + 3000 * "x")), guard.UNCLEAR),
    "wrong": (lambda: refuse(guard.Wrong("no")), guard.WRONG),
    "memory": (lambda: bytearray(1 << 30), guard.MEMORY),
    "outside": (lambda: Path("/etc/hostname").read_bytes(), guard.OUTSIDE),
    "a new file": (lambda: Path("new").write_bytes(b""), guard.WRITTEN),
    "deleted": (lambda: Path("a.bin").unlink(), guard.WRITTEN),
    "code": (lambda: pickle.loads(pickle.dumps(Code())), guard.CODE),
    "a process": (lambda: os.system("true"), guard.CODE),
    "segfault": (partial(ends, signal.SIGSEGV), guard.SIGNAL),
    "exit": (lambda: os._exit(3), guard.SIGNAL),
    "spins": (spin, guard.HANG),
    "sleeps": (lambda: time.sleep(60), guard.HANG),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SECONDS", 0.2)
    monkeypatch.setattr(children, "STUCK", 0.5)
    call, expected = FAULTS[fault]
    target = FileTarget("planted", lambda: [], lambda _: call(), 1.0)
    tried, faults = children.batch(target, lambda _: {"a.bin": b"x"}, range(2), work)
    assert set(tried) == {expected}
    assert bool(faults) == (expected not in guard.ALLOWED)


def test_canaries_are_watched(work: Path) -> None:
    canary = work / "outside" / "canary.bin"
    cat = partial(os.posix_spawn, "/bin/cat", ["cat", str(canary)], {})  # opened unseen by Python
    watched = guard.Guard.__new__(guard.Guard)
    watched.watch_canaries(work / "outside")
    os.waitpid(cat(), 0)
    assert watched.canary_opened()


def test_an_input_follows_from_its_number(work: Path) -> None:
    for target in run.all_targets(work)[:9]:
        assert run.drawn(target, 1, 7) == run.drawn(target, 1, 7)


def test_few_inputs_and_the_corpus() -> None:
    """In a process of its own: it forks, which a process with threads should not."""
    inputs = 8 * int(os.environ.get("HUD_FAST_EXAMPLES", "25"))
    command = [sys.executable, run.__file__, "--inputs", str(inputs), "--seed", "1"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
