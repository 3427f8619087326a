"""Group ``scaling``: how cost grows with the scene and with the queries, and memory with the queries.

Each curve has four sizes; the exponent is the slope of a straight line through the logarithms. Brute force has 1.
Peak memory is what a process of its own holds beyond its input and output.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from hud_fast.bench import inputs
from hud_fast.bench.case import Bench, Case, Curve, Missing, Run
from hud_fast.bench.cosine_max import NO_SCENE, search_bench

PROVIDERS = ("ours", "ours-index", "ours-mixtures", "torch-matmul")
SHARES = (8, 4, 2, 1)  # of a scene's pixels, taken at random: as dense in spectra as the whole
M_SIZES = (12_500, 25_000, 50_000, 100_000)
M_FIXED = 20_000
PEAK_SIZES = (20_000, 60_000, 180_000, 540_000)
LIMIT_BYTES = 64 << 20


def cases() -> list[Case]:
    """Return the cases of the group."""
    found = []
    for scene, P in (("Indian Pines", 21_025), ("PaviaU-size", 207_400)):
        name = f"cosine_max against the scene's pixels, {scene}"
        for share in SHARES:
            curve = Curve(name, "pixels of the scene", P // share)
            case = f"{scene}, P={P // share}"
            found.append(
                Case("scaling", case, PROVIDERS, _pixels(scene, share), share == 8, curve=curve)
            )
    for M in M_SIZES:
        curve = Curve("cosine_max against queries, PaviaU-size", "queries", M)
        found.append(Case("scaling", f"PaviaU-size, Q={M}", PROVIDERS, _queries(M), curve=curve))
    for M in PEAK_SIZES:
        curve = Curve("peak memory of cosine_max, P=50000", "queries", M)
        found.append(
            Case("scaling", f"peak memory, Q={M}", ("ours", "ours-limited"), _peak(M), curve=curve)
        )
    return found


def _pixels(name: str, share: int) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        scene = inputs.real() if name == "Indian Pines" else inputs.simulated(name, quick)
        if scene is None:
            return Bench("query", {"ours": Missing(NO_SCENE, "ours")})
        P = len(scene.pixels)
        rows = np.random.default_rng(0).permutation(P)[: P // share]
        reference = np.ascontiguousarray(scene.pixels[np.sort(rows)])
        return _search(scene, 1_000 if quick else M_FIXED, reference, len(reference))

    return make


def _queries(M: int) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        scene = inputs.simulated("PaviaU-size", quick)
        count = M // 100 if quick else M
        return _search(scene, count, None, count)

    return make


def _search(scene: inputs.Searched, count: int, reference: Any, x: int) -> Bench:
    query = inputs.queries(scene, "HUD-like", count)
    abundances = inputs.mixture_abundances(scene, count)
    bench = search_bench(query, scene, abundances, reference)
    runs = {name: run for name, run in bench.runs.items() if name in PROVIDERS}
    return Bench(bench.unit, runs, {**bench.facts, "x": x})


def _peak(M: int) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        from hud_fast.kernels import cosine_max

        def run(limit: int | None, count: int) -> Run:
            return Run(lambda n: peak_bytes(n, limit), items=count, kind="ours", step=1)

        count = M // 100 if quick else M
        runs: dict[str, Run | Missing] = {"ours": run(None, count)}
        if "memory_limit" in inspect.signature(cosine_max).parameters:
            runs["ours-limited"] = run(LIMIT_BYTES, count)
        else:
            runs["ours-limited"] = Missing("this build has no memory_limit", "ours")
        return Bench("peak", runs, {"x": count})

    return make


def peak_bytes(count: int, limit: int | None) -> int:
    """Bytes that a process searching so many queries holds beyond its input and output.

    Raises
    ------
    RuntimeError
        The process failed; the text is its last line.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hud_fast.bench.peak", str(count), str(limit or 0)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return int(done.stdout)
