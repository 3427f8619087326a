"""Where a job works: the check of a GPU's kernels made once, and cubes that find no room there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from hud_fast.kernels import gpu_check
from hud_fast.pipeline.device import ROOM, chosen_device, to_measure
from hud_fast.pipeline.progress import Progress, Reporter


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        self.lines.append(name)
        yield lambda *numbers: self.lines.append(numbers)


@pytest.mark.parametrize("needed", [True, False])
def test_a_job_has_the_gpu_checked_where_nobody_has(
    needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, told = torch.device("cuda"), Told()
    monkeypatch.setattr("hud_fast.diffusion.checks.available_device", lambda *_: gpu)
    monkeypatch.setattr(gpu_check, "needed", lambda device: needed and device == gpu)

    def ensure(device: torch.device, progress: Progress, say: Any) -> None:
        progress(1, 13)
        say(f"{device}: all proven")

    monkeypatch.setattr(gpu_check, "ensure", ensure)
    assert chosen_device("run", None, told) == gpu
    lines = ["Checking the GPU's kernels, once for this machine", (1, 13), "  cuda: all proven"]
    assert told.lines == (lines if needed else [])
    told.lines.clear()
    assert chosen_device("sample", None) == gpu
    assert told.lines == []


def test_a_cpu_is_asked_nothing() -> None:
    told = Told()
    assert chosen_device("run", "cpu", told) == torch.device("cpu")
    assert told.lines == []


def test_cubes_without_room_on_a_gpu_are_measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    cubes = np.zeros((4, 8, 8, 5), np.float32)
    free = ROOM * cubes.nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free - 1, 10 * free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 100)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    (found,) = to_measure(torch.device("cuda"), cubes)
    assert found is cubes
    sent: list[Any] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: sent.append(device) or tensor)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 99)
    (found,) = to_measure(torch.device("cuda"), cubes)
    assert sent == [torch.device("cuda")]
    assert isinstance(found, torch.Tensor)
