"""Group ``levels``: every instruction-set level of each operation, and two threads, on one input.

Ratios are to the widest level that this processor has. A level is forced inside each timed call (`hud.set_isa`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hud_fast.bench import inputs
from hud_fast.bench.case import Bench, Case, Missing, Run

LEVELS = ("avx512", "avx2", "neon", "baseline")  # the widest first
PROVIDERS = (*LEVELS, "two threads")
_Made = tuple[str, float, Callable[[], Any]]


def cases() -> list[Case]:
    """Return the cases of the group."""
    work: dict[str, Callable[[bool], _Made]] = {
        "fcls C=103 D=9": lambda quick: _fcls(103, 9, quick),
        "fcls C=200 D=16": lambda quick: _fcls(200, 16, quick),
        "fcls C=200 D=32": lambda quick: _fcls(200, 32, quick),
        "cosine_max, HUD-like queries": lambda quick: _cosine("HUD-like", quick),
        "cosine_max, random queries": lambda quick: _cosine("random", quick),
        "window_search, keys": _windows,
        "log_project float32 D=16": lambda quick: _simplex("log_project", quick),
        "simplex_softmax float32 D=16": lambda quick: _simplex("simplex_softmax", quick),
    }
    return [
        Case("levels", name, PROVIDERS, _make(made), quick=name.startswith(("fcls C=103", "log")))
        for name, made in work.items()
    ]


def _make(made: Callable[[bool], _Made]) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        unit, items, call = made(quick)
        return _levels(unit, items, call)

    return make


def _levels(unit: str, items: float, call: Callable[[], Any]) -> Bench:
    import torch

    from hud_fast._limits import available_cores
    from hud_fast.kernels import get_isa, isa_levels, set_isa

    def forced(level: str) -> Callable[[int], Any]:
        def run(_: int) -> Any:
            before = get_isa()
            set_isa(level)
            try:
                return call()
            finally:
                set_isa(before)

        return run

    def two_threads(_: int) -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            return call()
        finally:
            torch.set_num_threads(before)

    there = isa_levels()
    expected = _flat(call())

    def error(found: Any) -> float:
        return float(np.abs(_flat(found) - expected).max())

    runs: dict[str, Run | Missing] = {
        level: Run(forced(level), items=items, kind="ours", error=error, limit=1e-6)
        if level in there
        else Missing("not on this processor", "ours")
        for level in LEVELS
    }
    if available_cores() >= 2:
        runs["two threads"] = Run(two_threads, items=items, kind="ours", error=error, limit=0.0)
    else:
        runs["two threads"] = Missing("this process may use one core", "ours")
    return Bench(unit, runs)


def _flat(found: Any) -> Any:
    """Values of the first result: levels may differ in the last bits, threads in none."""
    first = found[0] if isinstance(found, tuple) else found
    return np.asarray(first, np.float64).reshape(-1)


def _fcls(C: int, D: int, quick: bool) -> _Made:
    from hud_fast.kernels import fcls

    made = inputs.mixed_pixels(2_000 if quick else 50_000, C, D)
    return "pixel", len(made.pixels), lambda: fcls(made.pixels, made.endmembers)


def _cosine(kind: str, quick: bool) -> _Made:
    from hud_fast.kernels import cosine_max

    scene = inputs.simulated("Indian-Pines-size", quick)
    query = inputs.queries(scene, kind, 1_000 if quick else 4_000)
    return "query", len(query), lambda: cosine_max(query, scene.pixels)


def _windows(quick: bool) -> _Made:
    from hud_fast.kernels import window_search

    scene, blocks = inputs.random_windows(48 if quick else 96, 16)
    return "block", len(blocks), lambda: window_search(blocks, scene)


def _simplex(operation: str, quick: bool) -> _Made:
    import torch

    import hud_fast

    shape = ((1 << 14 if quick else 1 << 23) // 16, 16)
    x = torch.softmax(3 * torch.randn(shape, generator=torch.Generator().manual_seed(0)), 1)
    function: Any = getattr(hud_fast, operation)
    return "byte", 2 * x.nbytes, lambda: function(x, 1)
