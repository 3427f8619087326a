"""What this process may use of its machine, cores and memory: the least that machine, container and shell leave it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")  # where /proc and /sys lie
_asked: int | None = None  # bytes, of `limit_memory`


def available_cores(root: Path = ROOT) -> int:
    """Cores: no more than the affinity mask and a container's share of time allow.

    Examples
    --------
    >>> 1 <= available_cores() <= os.cpu_count()
    True
    """
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()]
    for group, first_version in _groups("cpu", root):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if first_version else ("cpu.max",)
        share = [number for name in names for number in _numbers(group / name)]
        if len(share) == 2 and share[0] > 0:  # -1 and "max" set no limit
            found.append(-(-share[0] // share[1]))
    return max(1, min(cores or 1 for cores in found))


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process may still have; None where the system does not say."""
    found = [*_machine(root), *_containers(root), *_addresses(root)]
    if _asked is not None:
        found.append(_asked - resident_memory(root))
    return max(0, min(found)) if found else None


def limit_memory(most: int | None) -> None:
    """Let this process have no more than `most` bytes by its own account; None: what the machine leaves it."""
    global _asked
    _asked = most


def memory_limit() -> int | None:
    """What `limit_memory` was last given."""
    return _asked


def resident_memory(root: Path = ROOT) -> int:
    """Bytes that this process has in memory; 0 where the system does not say."""
    pages = _numbers(root / "proc/self/statm")
    return pages[1] * _page() if len(pages) > 1 else 0


def _machine(root: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, LookupError, ValueError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        facts = {
            name: int(rest.split()[0]) for name, _, rest in (li.partition(":") for li in lines)
        }
        yield 1024 * (facts["MemAvailable"] + facts.get("SwapFree", 0))


def _containers(root: Path) -> Iterator[int]:
    """A group's limit less what is used, files that may go not counted."""
    for group, first_version in _groups("memory", root):
        limit, used, idle = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if first_version
            else ("memory.max", "memory.current", "inactive_file")
        )
        most, now = _numbers(group / limit), _numbers(group / used)
        if most and now:
            yield most[0] - now[0] + _idle(group / "memory.stat", idle)


def _addresses(root: Path) -> Iterator[int]:
    """Of ``ulimit -v``, less the addresses that are used."""
    with contextlib.suppress(ImportError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        pages = _numbers(root / "proc/self/statm")
        if most != resource.RLIM_INFINITY and pages:
            yield most - pages[0] * _page()


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, bool]]:
    """Control groups of this process and all above them; whether they are of the first version."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    for line in lines:  # "0::/group", or "4:cpu,cpuacct:/group" of the first version
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        home = root / "sys/fs/cgroup" / controllers
        group = home / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder, bool(controllers)
            if folder == home:
                break


def _idle(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _numbers(path: Path) -> list[int]:
    """The numbers in a small file; none where it is missing or says "max"."""
    with contextlib.suppress(OSError, ValueError):
        return [int(word) for word in path.read_text().split()]
    return []


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
