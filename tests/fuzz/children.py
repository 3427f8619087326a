"""Inputs in forked processes: a fault ends the child, not the run, and the input that did it is known."""

from __future__ import annotations

import faulthandler
import gc
import json
import mmap
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.arguments import ArgumentTarget
from fuzz.guard import ALLOWED, HANG, OUTCOMES, ROOM, SIGNAL, Guard
from fuzz.targets import FileTarget

FAILED = 97  # exit status of a child that failed by a fault of the fuzzer
STUCK = 90  # seconds without processor time: a read that waits for ever (libhdf5 in its own process may take 10)
ROOM_OF_ARGUMENTS = 1 << 30  # a quarter of a million bands are an honest 50 MB, several times over
Target = FileTarget | ArgumentTarget
Make = Callable[[int], Any]  # an input by its number


def try_one(target: Target, case: Any, guard: Guard) -> tuple[str, str, str]:
    """One input under the guard."""
    folder = Path(guard.folder)
    empty(folder)
    call = target.run(case, folder)
    if isinstance(target, ArgumentTarget):
        return guard.run(call, target.words(case))
    size = sum(map(len, case.values()))
    names = {part for name in case for part in Path(name).parts} - {"checkpoints"}
    return guard.run(call, tuple(names), size)


def empty(folder: Path) -> None:
    """Remove what lies in a folder; the folder itself stays, a process stands in it."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def child(
    target: Target, make: Make, indices: range, shared: mmap.mmap, log: Any, work: Path
) -> None:
    """The forked process: every input in turn, its outcome into shared memory, faults into the log."""
    os.chdir(work / "input")
    sys.stderr = os.fdopen(
        os.dup(2), "w", 1
    )  # for the fuzzer's own; the libraries' words go nowhere
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()
    room = ROOM if isinstance(target, FileTarget) else ROOM_OF_ARGUMENTS
    guard = Guard(work / "input", work / "outside", room)
    for at, index in enumerate(indices):
        shared[0:8] = at.to_bytes(8, "little")
        outcome, why, where = try_one(target, make(index), guard)
        shared[8 + at] = OUTCOMES.index(outcome)
        if outcome not in ALLOWED:
            log.write(json.dumps([index, outcome, why, where]) + "\n")
            log.flush()


def batch(
    target: Target, make: Make, indices: range, work: Path
) -> tuple[list[str], list[list[Any]]]:
    """Outcomes of inputs in order, up to the first that ends the process, and the faults among them."""
    shared = mmap.mmap(-1, 8 + len(indices))
    with (work / "log").open("w+") as log:
        pid = os.fork()
        if pid == 0:
            status = FAILED
            try:
                child(target, make, indices, shared, log, work)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(watch(pid, shared))
        log.seek(0)
        faults = [json.loads(line) for line in log]
    tried = [OUTCOMES[code] for code in shared[8:]]
    if status == 0:
        return tried, faults
    if status == FAILED:
        raise SystemExit(f"{target.name}: the fuzzer itself failed, see above")
    why = (
        f"exit {status}" if status > 0 else signal.Signals(-status).name
    )  # libgomp exits by itself
    outcome = HANG if why in ("SIGPROF", "SIGKILL") else SIGNAL
    at = int.from_bytes(shared[0:8], "little")
    return [*tried[:at], outcome], [*faults, [indices[at], outcome, why, ""]]


def watch(pid: int, shared: mmap.mmap) -> int:
    """Wait for a child; one that sleeps over the same input is killed (processor time it limits itself)."""
    last, asleep, pause = b"", 0.0, 0.002
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(pause)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        position = bytes(shared[0:8])
        asleep = asleep + pause if state in "SD" and position == last else 0.0
        last, pause = position, min(0.25, pause * 1.5)
        if asleep > STUCK:
            os.kill(pid, signal.SIGKILL)
