"""What a command needs is told, and refused where the machine, a container or a limit leaves less."""

from __future__ import annotations

from pathlib import Path

import pytest

from hud_fast.diffusion.presets import PRESETS
from hud_fast.pipeline import memory
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.memory import (
    MIB,
    Need,
    available,
    of_job,
    of_measuring,
    of_samples,
    of_unmixing,
)
from hud_fast.pipeline.progress import Reporter


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


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
    assert available(write(tmp_path, files)) == free


def test_a_limit_on_addresses_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10 * MIB, 10 * MIB))
    pages = MIB // memory._page()
    root = write(tmp_path, {"proc/meminfo": "", "proc/self/statm": f"{4 * pages} {pages} 0\n"})
    assert available(root) == 6 * MIB
    assert memory.resident(root) == MIB


def test_too_little_is_told_with_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    need, lines = Need(1000 * MIB, "take a smaller scene", 300 * MIB), Lines()
    monkeypatch.setattr(memory, "resident", lambda: 100 * MIB)
    for free in (None, 900 * MIB, 701 * MIB):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        need.check("run", lines)
    assert set(lines.lines) == {"  needs about 1000.0 MiB of memory, 300.0 MiB of disk"}
    monkeypatch.setattr(memory, "available", lambda: 699 * MIB)
    with pytest.raises(
        InputError, match=r"run needs about 1000.0 MiB .* may have 799.0 MiB: take a smaller scene"
    ):
        need.check("run", lines)


def test_what_to_lower_is_what_needs_most() -> None:
    tiny, paper = PRESETS["tiny"], PRESETS["paper"]
    assert "scene" in of_job((3000, 3000, 200), tiny).lower
    assert "accumulate" in of_job((100, 100, 50), paper).lower
    assert "--samples" in of_job((100, 100, 50), tiny, (5000, 64, 64)).lower
    assert of_unmixing((400, 400, 100)).memory == pytest.approx(478 * MIB, rel=0.01)
    small, large = (of_samples((n, n), 200, 10**6, tiny).memory for n in (32, 512))
    assert small < large
    assert of_measuring((100, 100, 50), 0).memory < of_measuring((100, 100, 50), MIB).memory
