"""The suite under pytest-benchmark: the cases of ``hud_fast.bench``, one test a case and provider.

    OMP_NUM_THREADS=1 pytest benchmarks --benchmark-enable --benchmark-json=now.json
    OMP_NUM_THREADS=1 pytest benchmarks/test_fcls.py --benchmark-enable --benchmark-autosave --benchmark-compare

For work on one kernel: pytest-benchmark keeps runs and compares them. ``hud-fast bench`` times the same cases with the
providers in turns; README's table comes from there. Without ``--benchmark-enable`` each case of the short run is
called once on small inputs and its answer checked. No time is ever asserted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

# As the test suite does: one thread, unless the caller says otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from hud_fast.bench import GROUPS, Bench, Missing, Settings, cases_of
from hud_fast.bench.measure import plan
from hud_fast.bench.peers import kept_memory, threads
from hud_fast.bench.run import surroundings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Real scenes from ../shared/data where the variable names no other folder, as in the tests."""
    del config
    if SHARED.is_dir():
        os.environ.setdefault("HUD_FAST_DATA", str(SHARED))


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    found = surroundings(torch.get_num_threads())
    machine_info.update(
        found["machine"], versions=found["versions"], hud_fast_commit=found["commit"]
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Cases times providers of the group that a module is named after."""
    group = metafunc.module.__name__.rpartition("test_")[2]
    assert group in GROUPS, metafunc.module.__name__
    quick = not metafunc.config.getoption("benchmark_enable")
    found = [
        pytest.param(number, provider, id=f"{case.name}-{provider}")
        for number, case in enumerate(cases_of(group, quick))
        for provider in case.providers
    ]
    metafunc.parametrize(("number", "provider"), found)


@lru_cache(maxsize=1)  # inputs are made once a case: its providers follow each other
def _bench(group: str, number: int, quick: bool) -> Bench:
    return cases_of(group, quick)[number].build(quick)


@pytest.fixture
def one_case(
    benchmark: Any, request: pytest.FixtureRequest, number: int, provider: str
) -> Iterator[Callable[[], None]]:
    """Time one provider of one case, record its error, and check our own answers."""
    quick = not request.config.getoption("benchmark_enable")
    group = request.module.__name__.rpartition("test_")[2]
    case = cases_of(group, quick)[number]

    def go() -> None:
        bench = _bench(group, number, quick)
        if provider not in bench.runs:
            pytest.skip("not a part of this case")
        run = bench.runs[provider]
        if isinstance(run, Missing):
            pytest.skip(run.why)
        benchmark.group = f"{group}: {case.name}"
        settings = Settings(quick=quick)
        rounds = repeats = 1
        try:
            if quick:
                count = min(int(run.items), max(run.step, 1024)) if run.step else 1
            else:
                made = plan(run, settings, clock=time.perf_counter, once=bench.unit == "peak")
                count, rounds, repeats = made.count, made.rounds, made.repeats
            found = benchmark.pedantic(run.call, (count,), rounds=rounds, iterations=repeats)
        except Exception as error:
            if run.kind == "ours":
                raise
            pytest.skip(f"failed: {type(error).__name__}: {error}")
        error = None if run.error is None else float(run.error(found))
        benchmark.extra_info.update(
            case=case.name,
            kind=run.kind,
            unit=bench.unit,
            items=float(count) if run.step and count < run.items else run.items,
            of=run.items,
            error=error,
            note=run.note,
            facts=dict(bench.facts),
            **({"bytes": found} if bench.unit == "peak" else {}),
        )
        if run.kind == "ours":
            assert error is None or error <= run.limit

    with threads(torch.get_num_threads()), kept_memory():
        yield go
