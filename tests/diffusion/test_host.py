"""Batches on their way to the host: in order, and one is made while the one before it travels."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hud_fast.diffusion import host


def test_from_the_cpu_a_batch_comes_at_once() -> None:
    made = []

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        for k in range(3):
            made.append(k)
            yield torch.full((2,), k), torch.full((1, 2), -k)

    for k, (one, other) in enumerate(host.on_host(batches())):
        assert made == list(range(k + 1))
        np.testing.assert_array_equal(one, [k, k])
        np.testing.assert_array_equal(other, [[-k, -k]])


def test_from_a_gpu_a_batch_travels_while_the_next_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []

    class Leaving:
        def __init__(self, batch: Any) -> None:
            self.number = batch[0].number
            log.append(f"{self.number} leaves")

        def arrived(self) -> tuple[int]:
            log.append(f"{self.number} arrives")
            return (self.number,)

    def batches() -> Iterator[Any]:
        for number in range(3):
            log.append(f"{number} is made")
            yield (SimpleNamespace(device=torch.device("cuda"), number=number),)

    monkeypatch.setattr(host, "_Leaving", Leaving)
    assert list(host.on_host(batches())) == [(0,), (1,), (2,)]
    assert log == [
        "0 is made", "0 leaves",
        "1 is made", "1 leaves", "0 arrives",
        "2 is made", "2 leaves", "1 arrives",
        "2 arrives",
    ]  # fmt: skip
    assert list(host.on_host(iter(()))) == []
