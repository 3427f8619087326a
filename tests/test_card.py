"""Runs tests/on_card.py: in a process of its own, since torch counts its devices at a process' first backward."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from launch import own_pytest

STAGES = Path(__file__).with_name("on_card.py")


@pytest.mark.slow
def test_every_stage_leaves_the_data_on_the_device() -> None:
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(STAGES)]
    done = subprocess.run(
        command,
        env=own_pytest(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
