"""What the GPU groups share: where their tensors lie, a clock that waits for the device, and the rehearsal.

On a machine without a GPU the groups can be rehearsed: small inputs on the CPU, our own providers through the emulation
that the tests use, the same checks of the answers. A rehearsal's times mean nothing.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

_compile = False  # torch.compile's versions take seconds to make


@contextlib.contextmanager
def compiling(wanted: bool) -> Iterator[None]:
    """Time torch.compile's versions, too, inside a with block."""
    global _compile
    before, _compile = _compile, wanted
    try:
        yield
    finally:
        _compile = before


def compiles() -> bool:
    """Whether torch.compile's versions are wanted; a rehearsal has none."""
    return _compile and not rehearsing()


def device() -> torch.device:
    """The GPU, or the CPU in a rehearsal."""
    return torch.device("cpu" if rehearsing() else "cuda")


def rehearsing() -> bool:
    """True on a machine without a GPU."""
    return not torch.cuda.is_available()


def clock() -> float:
    """Seconds, once everything that was launched has been done."""
    if not rehearsing():
        torch.cuda.synchronize()
    return time.perf_counter()


def card() -> dict[str, Any]:
    """What the GPU is: multiprocessors, memory, cache, driver."""
    if rehearsing():
        return {}
    found = torch.cuda.get_device_properties(0)
    return {
        "GPU": found.name,
        "GPU capability": f"{found.major}.{found.minor}",
        "GPU multiprocessors": found.multi_processor_count,
        "GPU memory": f"{found.total_memory / 2**30:.1f} GiB",
        "GPU cache": f"{getattr(found, 'L2_cache_size', 0) / 2**20:.0f} MiB",
        "GPU driver": _driver(),
    }


def gpu_versions() -> dict[str, str]:
    """Of what a GPU figure depends on beside torch."""
    from hud_fast.kernels import build_config

    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "not installed"
    return {
        "CUDA of torch": str(torch.version.cuda),
        "CUDA of the kernels": str(build_config()["cuda"]),
        "triton": triton,
    }


def _driver() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"
