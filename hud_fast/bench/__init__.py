"""The benchmark suite: cases and providers, timed in turns, with each answer's error beside its time.

``hud-fast bench`` runs it from an installed package; ``benchmarks/`` runs the same cases under pytest-benchmark.
A group is a module with a function `cases`; a provider is the package itself, its plain torch version, a peer (the
extra ``bench``), or a floor that no program can beat. No time is ever asserted; our own answers always are.
"""

from hud_fast.bench.case import Bench, Case, Curve, Missing, Run
from hud_fast.bench.measure import Settings, measure
from hud_fast.bench.run import (
    GPU_GROUPS,
    GROUPS,
    cases_of,
    faults,
    run_case,
    run_groups,
    write_results,
)

__all__ = [
    "GPU_GROUPS",
    "GROUPS",
    "Bench",
    "Case",
    "Curve",
    "Missing",
    "Run",
    "Settings",
    "cases_of",
    "faults",
    "measure",
    "run_case",
    "run_groups",
    "write_results",
]
