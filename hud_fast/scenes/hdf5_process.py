"""The process that reads HDF5 files for this one: `hdf5_child` says why there is one. Here is what asks it."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.trust import MOST_VARIABLES

PIPE = 1 << 20  # bytes that may wait in the pipe: the usual 64 kB cost a third of the speed


class ToldError(ValueError):
    """What the child says of a file; it goes on with the next request."""


class Child:
    """The process that reads: started when it is first needed, and anew after it ended or was interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        self._lock.acquire()
        if self._process is not None and self._process.poll() is not None:  # it had nothing to do
            self.end()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(__file__).with_name("hdf5_child.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
            _widen(self._stdout)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None and not isinstance(error, ToldError):
                self.end()
        finally:
            self._lock.release()

    def end(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def ask(
        self, path: Path, name: str | None, part: Sequence[tuple[int, int]] | None = None
    ) -> dict[str, Any]:
        """The variables of a file, or what an array of it (or a part: from, to along each axis) asks for."""
        request: dict[str, Any] = {"path": str(path.absolute()), "read": name}
        if name is None:
            request["most"] = MOST_VARIABLES
        if part is not None:
            request["from"], request["to"] = zip(*part, strict=True)
        return self._answer(request)

    def tree(self, path: Path) -> dict[str, Any]:
        """All that a file holds, but for the numbers."""
        place = str(path.absolute())
        return self._answer({"path": place, "read": None, "tree": True, "most": MOST_VARIABLES})

    def fill(self, array: NDArray[Any]) -> None:
        """The values of the array that was asked for, block after block."""
        rest = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        answer = self._answer("go")
        while rest:
            size = answer["bytes"]
            if not 0 < size <= len(rest) or self._stdout.readinto(rest[:size]) != size:
                raise ValueError(self._ended())
            rest = rest[size:]
            answer = self._answer("on")

    def _answer(self, request: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise ValueError(self._ended())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ToldError(answer["error"])
        return answer

    @property
    def _stdout(self) -> io.BufferedReader:
        assert self._process is not None
        assert isinstance(self._process.stdout, io.BufferedReader)
        return self._process.stdout

    def _ended(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        return f"libhdf5 ended while it read it, or came to no end (exit code {code})"


def _widen(pipe: io.BufferedReader) -> None:
    """More room in the pipe, where the system knows how to give it."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


_CHILDREN: dict[int, Child] = {}  # by process: after a fork, another one's is not ours


def child() -> Child:
    return _CHILDREN.setdefault(os.getpid(), Child())


@atexit.register
def _end() -> None:
    child().end()
