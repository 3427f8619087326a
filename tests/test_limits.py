"""What the machine, a container and the shell leave this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hud_fast import _limits
from hud_fast._limits import (
    available_cores,
    available_memory,
    limit_memory,
    memory_limit,
    resident_memory,
)

MEMINFO = "MemTotal: 9000 kB\nMemAvailable:   4000 kB\nSwapFree: 1000 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2, V1 = "sys/fs/cgroup/", "sys/fs/cgroup/memory/"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 5000 * 1024),
        ({"proc/meminfo": "nothing\n"}, None),
        ({"proc/self/cgroup": "0::/\n", V2 + "memory.max": "max\n"}, 5000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                V2 + "a/b/memory.max": "max\n",
                V2 + "a/memory.max": "3000\n",
                V2 + "a/memory.current": "2500\n",
                V2 + "a/memory.stat": "active_file 7\ninactive_file 100\n",
            },
            600,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n",
                V1 + "memory.limit_in_bytes": "3000\n",
                V1 + "memory.usage_in_bytes": "5000\n",
            },
            0,
        ),
    ],
)
def test_the_least_of_all_limits_counts(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    assert available_memory(write(tmp_path, files)) == free


def test_a_limit_on_addresses_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10 * (1 << 20), 10 * (1 << 20)))
    pages = (1 << 20) // _limits._page()
    root = write(tmp_path, {"proc/meminfo": "", "proc/self/statm": f"{4 * pages} {pages} 0\n"})
    assert available_memory(root) == 6 * (1 << 20)
    assert resident_memory(root) == (1 << 20)


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {}, 1 << 20),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000"}, 1 << 20),
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 1),
        ("0::/\n", {"cpu.max": "300000 100000"}, 3),
        (
            "4:cpu,cpuacct:/job\n3:memory:/job\n0::/\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "400000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 1 << 20),
        ("0::/a\n", {"a/cpu.max": "nonsense"}, 1 << 20),
    ],
)
def test_a_containers_share_of_time(
    tmp_path: Path, groups: str, files: dict[str, str], cores: int
) -> None:
    root = write(
        tmp_path, {"proc/self/cgroup": groups, **{V2 + name: text for name, text in files.items()}}
    )
    assert available_cores(root) == min(cores, len(os.sched_getaffinity(0)))
    plenty = pytest.MonkeyPatch()
    with plenty.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: range(1 << 20), raising=False)
        assert available_cores(root) == cores


def test_a_limit_of_ones_own_counts_what_is_held(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/statm": "900 200 100\n"})
    held = 200 * os.sysconf("SC_PAGE_SIZE")
    assert resident_memory(root) == held
    try:
        for most, free in (
            (held + 7, 7),
            (held - 1, 0),
            (1 << 40, 5000 * 1024),
            (None, 5000 * 1024),
        ):
            limit_memory(most)
            assert memory_limit() == most
            assert available_memory(root) == free
    finally:
        limit_memory(None)
