"""The parent of a check's child process: asks it for one operation after the other, and ends it where no answer comes.

A child that has fallen or hung takes the blame for the operation it was at; the others are asked of a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from hud_fast.kernels._backend import GPU_KERNELS

SUITE = "hud_fast.kernels.gpu_check.examine:examine"
LIMIT = 60.0  # seconds for one operation, compiling its kernels included
_END = 10.0  # seconds for a process that has ended or been killed to go
START = 180.0  # seconds until torch is imported and the card answers, from a slow disk
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1])['path']; "
    "from hud_fast.kernels.gpu_check.child import main; main()"
)


class Answer(NamedTuple):
    """What is known of one operation."""

    operation: str
    why: str  # what was wrong; "" where nothing was
    seconds: float
    lasting: bool = True  # False where another day may say otherwise: no memory, no start


def ask(
    device: str,
    operations: Sequence[str],
    *,
    suite: str = SUITE,
    limit: float = LIMIT,
    start: float = START,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Answer]:
    """Answers for all operations, in their order, each as soon as it is known."""
    left = list(operations)
    while left:
        with _child(device, left, suite, environment or {}) as child:
            line = child.line(start)
            if line is None:
                for operation in left:
                    yield Answer(
                        operation, f"the check did not start: {child.fate(start)}", 0.0, False
                    )
                return
            while left:
                begin = time.monotonic()
                line = child.line(limit)
                operation = left.pop(0)
                if line is None:
                    yield Answer(operation, child.fate(limit), time.monotonic() - begin)
                    break
                yield Answer(operation, line["why"], line["seconds"], line["lasting"])
                if line["leaving"]:
                    break


class _Child:
    """A running child and what it says."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process, self._errors = process, errors
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._ended = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said:
            for text in said:
                with contextlib.suppress(ValueError):  # a library's own words
                    line = json.loads(text)
                    if isinstance(line, dict):
                        self._lines.put(line)
        self._lines.put(None)

    def line(self, seconds: float) -> dict[str, Any] | None:
        """What it says next; None where it has ended, or says nothing for so long."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        self._ended = line is None
        return line

    def fate(self, seconds: float) -> str:
        """Why there was no line: a word on how it ended, and the last one of its own."""
        if not self._ended:
            return f"no answer within {seconds:g} s"
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_END)
        self._errors.seek(0)
        last = ([line.strip() for line in self._errors if line.strip()] or [""])[-1]
        how = f"exit code {code}" if code is None or code >= 0 else signal.Signals(-code).name
        return f"the process ended ({how}){': ' if last else ''}{last}"

    def end(self) -> None:
        """Kill it and what it has started. One that waits for a hung card may outlive that; nobody waits for it."""
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        self._listener.join(_END)


@contextlib.contextmanager
def _child(
    device: str, operations: list[str], suite: str, environment: Mapping[str, str]
) -> Iterator[_Child]:
    job = {
        "device": device,
        "operations": operations,
        "suite": suite,
        "path": [entry for entry in sys.path if isinstance(entry, str)],
    }
    around = {**os.environ, GPU_KERNELS: "0", **environment}
    around.pop("HUD_FAST_BACKEND", None)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=around,
            start_new_session=True,  # so that its own children end with it
        )
        child = _Child(process, errors)
        try:
            yield child
        finally:
            child.end()
