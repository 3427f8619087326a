"""Tests that say what must hold on a GPU. Those that need one skip, visibly, where there is none."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def gpu() -> torch.device:
    """A GPU, or the test is skipped."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device("cuda")
