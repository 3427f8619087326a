"""Several Python processes that work together, started as torchrun starts them, but with all they say kept apart."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent


class Done(NamedTuple):
    code: int
    out: str
    err: str


def launch(*arguments: str, count: int = 2, seconds: float = 500) -> list[Done]:
    """Run ``python ARGUMENTS`` in `count` processes of one thread; what each returned and printed.

    Processes that are still there after `seconds` are killed, and the test fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "CUDA_VISIBLE_DEVICES": "",
    }
    running = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for rank in range(count):
                out, err = Path(folder, f"out-{rank}"), Path(folder, f"err-{rank}")
                with out.open("w") as stdout, err.open("w") as stderr:  # the child has its own
                    child = subprocess.Popen(
                        [sys.executable, "-P", *arguments],
                        env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                        cwd=folder,  # not the root: a source tree without a compiled _C would be imported
                        stdin=subprocess.DEVNULL,
                        stdout=stdout,
                        stderr=stderr,
                    )
                running.append((child, out, err))
            end = time.monotonic() + seconds
            return [
                Done(child.wait(max(0.0, end - time.monotonic())), out.read_text(), err.read_text())
                for child, out, err in running
            ]
        finally:
            for child, _, _ in running:
                child.kill()
                child.wait()


def own_pytest() -> dict[str, str]:
    """The environment of a pytest that a test starts: without options and worker of the one around it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
