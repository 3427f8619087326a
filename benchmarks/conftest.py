"""What every benchmark shares: inputs of stated size, and one place where error and bytes go beside the time.

    OMP_NUM_THREADS=1 pytest benchmarks --benchmark-enable --benchmark-json=results.json

No benchmark asserts a time; each asserts that the answer it timed is right.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hud_fast as hud


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    machine_info.update(
        processor_name=model,
        threads=torch.get_num_threads(),
        hud_fast=hud.__version__,
        torch=torch.__version__,
        numpy=np.__version__,
        isa=hud.build_config()["isa"],
    )


@pytest.fixture
def record(benchmark: Any) -> Any:
    """Call once with the run's error and size; they land in the JSON's extra_info."""

    def note(*, error: float, **facts: Any) -> None:
        benchmark.extra_info.update(error=float(error), threads=torch.get_num_threads(), **facts)

    return note
