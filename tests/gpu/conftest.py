"""Tests that say what must hold on a GPU. Those that need one skip, visibly, where there is none."""

from __future__ import annotations

import pytest
import torch

from hud_fast.kernels import _window_cuda


@pytest.fixture
def gpu() -> torch.device:
    """A GPU, or the test is skipped."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device("cuda")


@pytest.fixture
def force(monkeypatch):
    """Force the block search's way, tile and length of a list; None leaves them to the plan."""

    def choose(way=None, tile=None, capacity=None):
        monkeypatch.setattr(_window_cuda, "FORCED_PATH", way)
        monkeypatch.setattr(_window_cuda, "FORCED_TILE", tile)
        monkeypatch.setattr(_window_cuda, "FORCED_CAPACITY", capacity)

    return choose
