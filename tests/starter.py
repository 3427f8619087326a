"""Starts Python programs as `python` would, but with the slow imports done: a fork of this process runs each.

Importing torch and diffusers costs more than what the tests of several processes then do. `launch.py` holds one of
these for each rank, so that two ranks differ as two processes do (addresses, hashes of strings). A request is a line of
JSON on standard input, its answer one on standard output: the exit code, or null for a program that took too long.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any


def import_all() -> None:
    """What a command, a training and a sampling import, some of it at the first use only."""
    os.environ.setdefault(
        "DIFFUSERS_VERBOSITY", "error"
    )  # as the command line does before it imports diffusers
    import torch._dynamo  # by the first optimiser
    import torch.distributed  # noqa: F401
    from diffusers import UNet2DModel  # noqa: F401
    from diffusers.training_utils import EMAModel  # noqa: F401

    import hud_fast.cli
    import hud_fast.diffusion
    import hud_fast.pipeline  # noqa: F401

    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"a fork would lose {threads - 1} threads that an import has started")


def ended(child: int, seconds: float) -> int | None:
    """The exit code of a child as `subprocess` gives it; None if it had to be killed."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.01)


def become(told: dict[str, Any]) -> None:
    """In the child: the streams, the folder, the environment and the arguments of the program."""
    for number, name, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, told["out"], os.O_WRONLY),
        (2, told["err"], os.O_WRONLY),
    ):
        opened = os.open(name, how)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])


def wait_for_a_program() -> list[str]:
    """Answer requests; come back, in a child, with the arguments of a program that it is to run."""
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if not child:
            become(told)
            return list(told["arguments"])
        print(json.dumps(ended(child, told["seconds"])), flush=True)
    sys.exit()


if __name__ == "__main__":
    import_all()
    kind, *rest = wait_for_a_program()
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [kind, *rest]
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")
