"""What a command needs is told, and refused where the machine, a container or a limit leaves less."""

from __future__ import annotations

import pytest

from hud_fast.diffusion.presets import PRESETS
from hud_fast.pipeline import memory
from hud_fast.pipeline.errors import InputError
from hud_fast.pipeline.memory import (
    MIB,
    Need,
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


def test_too_little_is_told_with_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    need, lines = Need(1000 * MIB, "take a smaller scene", 300 * MIB), Lines()
    monkeypatch.setattr(memory, "resident_memory", lambda: 100 * MIB)
    for free in (None, 900 * MIB, 701 * MIB):
        monkeypatch.setattr(memory, "available_memory", lambda free=free: free)
        need.check("run", lines)
    assert set(lines.lines) == {"  needs about 1000.0 MiB of memory, 300.0 MiB of disk"}
    monkeypatch.setattr(memory, "available_memory", lambda: 699 * MIB)
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
