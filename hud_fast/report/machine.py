"""What a number was made on: versions, commit, processor, memory, threads, GPU."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hud_fast._limits import available_cores
from hud_fast._text import size_text

PACKAGES = ("hud-fast", "torch", "numpy", "scipy", "diffusers", "matplotlib")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the result.

    Examples
    --------
    >>> versions()["Python"].count(".")
    2
    """
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str | None:
    """The commit of the source tree that the package runs from, "+" if it has changes; None elsewhere."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None  # installed below somebody else's repository
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def machine() -> dict[str, Any]:
    """Return the machine in words: processor, cores, memory, torch threads, GPU, system."""
    import torch

    found: dict[str, Any] = {
        "processor": processor_name(),
        "cores available": available_cores(),
        "threads used": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    memory = total_memory()
    if memory:
        found["memory"] = size_text(memory)
    found["GPU"] = (
        ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        if torch.cuda.is_available()
        else "none"
    )
    return found


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def total_memory() -> int | None:
    """Return the machine's memory in bytes, or None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def peak_memory() -> dict[str, int]:
    """Return the largest memory this process has held so far, in bytes: ``cpu``, and ``gpu`` if used."""
    found: dict[str, int] = {}
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["cpu"] = int(peak if sys.platform == "darwin" else peak * 1024)
    except ImportError:  # Windows has no such module
        pass
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        found["gpu"] = int(torch.cuda.max_memory_allocated())
    return found


def forget_peak_memory() -> None:
    """Let `peak_memory` begin anew, where the system can: elsewhere it stays the largest of all before."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def time_text(seconds: float) -> str:
    """Return a duration in words.

    Examples
    --------
    >>> time_text(0.31), time_text(75), time_text(7300)
    ('0.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
