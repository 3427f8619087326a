"""Several Python processes that work together, started as torchrun starts them, but with all they say kept apart."""

from __future__ import annotations

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent


class Done(NamedTuple):
    code: int
    out: str
    err: str


@functools.cache
def starter(rank: int) -> subprocess.Popen[str]:
    """The process whose forks run the programs of one rank: see `starter.py`."""
    del rank
    made = subprocess.Popen(
        [sys.executable, "-P", str(TESTS / "starter.py")],
        env=around(),
        cwd=TESTS.root,  # not the project's: a source tree without a compiled _C would be imported
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(made.communicate)  # at the end of its input it ends
    return made


def around() -> dict[str, str]:
    """The environment of every process that is started: one thread, no GPU, and the tests can be imported."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "CUDA_VISIBLE_DEVICES": "",
    }


def launch(*arguments: str, count: int = 2, seconds: float = 500) -> list[Done]:
    """Run ``python ARGUMENTS`` in `count` processes of one thread; what each returned and printed.

    Processes that are still there after `seconds` are killed, and the test fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **around(),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    with tempfile.TemporaryDirectory() as folder:
        for rank in range(count):
            for name in ("out", "err"):
                Path(folder, f"{name}-{rank}").touch()
            program = {
                "arguments": arguments,
                "env": {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                "cwd": folder,
                "out": str(Path(folder, f"out-{rank}")),
                "err": str(Path(folder, f"err-{rank}")),
                "seconds": seconds,
            }
            stdin = starter(rank).stdin
            assert stdin
            stdin.write(json.dumps(program) + "\n")
            stdin.flush()
        done = []
        for rank in range(
            count
        ):  # all answers are read, whatever they are: the next launch wants its own
            stdout = starter(rank).stdout
            assert stdout
            out, err = (Path(folder, f"{name}-{rank}").read_text for name in ("out", "err"))
            done.append((json.loads(stdout.readline()), out(), err()))
    late = [rank for rank, (code, _, _) in enumerate(done) if code is None]
    assert not late, f"{arguments}: not done within {seconds} s: {late}"
    return [Done(*one) for one in done]


def own_pytest() -> dict[str, str]:
    """The environment of a pytest that a test starts: without options and worker of the one around it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
