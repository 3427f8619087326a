"""MATLAB v7.3 files, which are HDF5: read by a process of their own, `hdf5_child`, which says why.

MATLAB stores arrays column by column, HDF5 row by row, so a (H, W, C) array of MATLAB lies in a v7.3 file as
(C, W, H). Arrays that MATLAB (or we) wrote carry the attribute MATLAB_class and are turned round; arrays
that another program put into an HDF5 file named .mat are left as they are.
"""

from __future__ import annotations

import atexit
import io
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.scenes.trust import MOST_VARIABLES, check_claim, whole

MATLAB_ATTRIBUTE = "MATLAB_class"
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Is the signature where HDF5 looks for it: at 0, or at 512 bytes (after MATLAB's header), 1024, ...?"""
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            place = max(512, 2 * place)
    return False


class MatHDF5:
    """The variables of a MATLAB v7.3 file."""

    format = "mat"
    version = "7.3"
    column_major = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with whole(path), _child() as child:
            found = child.ask(path, None)
        self._turned = set(found["turned"])
        self._inside: dict[str, str] = found["inside"]  # where it lies, of what a structure holds
        self.nested = set(self._inside)
        self.others: dict[str, str] = found["others"]
        self.shapes = {
            name: tuple(shape[::-1] if name in self._turned else shape)
            for name, shape in found["shapes"].items()
        }

    def read(self, name: str) -> NDArray[Any]:
        """The values of a numeric variable."""
        with whole(self.path), _child() as child:
            asked = child.ask(self.path, self._inside.get(name, name))
            dtype = np.dtype(asked["dtype"])
            check_claim(self.path, name, math.prod(asked["shape"]), dtype.itemsize)
            check_claim(self.path, f"a chunk of {name}", asked["chunk"], dtype.itemsize)
            array = np.empty(asked["shape"], dtype)
            child.fill(array)
        return array.T if name in self._turned else array


class _ToldError(ValueError):
    """What the child says of a file; it goes on with the next request."""


class _Child:
    """The process that reads: started when it is first needed, and anew after it ended or was interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Child:
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
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is not None and not isinstance(error, _ToldError):
                self.end()
        finally:
            self._lock.release()

    def end(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def ask(self, path: Path, name: str | None) -> dict[str, Any]:
        """The variables of a file, or what an array of it asks for."""
        return self._answer({"path": str(path.absolute()), "read": name, "most": MOST_VARIABLES})

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
            raise _ToldError(answer["error"])
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


_CHILDREN: dict[int, _Child] = {}  # by process: after a fork, another one's is not ours


def _child() -> _Child:
    return _CHILDREN.setdefault(os.getpid(), _Child())


@atexit.register
def _end() -> None:
    _child().end()
