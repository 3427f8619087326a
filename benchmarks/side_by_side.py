"""Times of two builds of the package, taken in turns: is a change that should cost nothing free?

    python benchmarks/side_by_side.py BEFORE AFTER [--rounds 5] [--threads 1] [--out FILE]
    python benchmarks/side_by_side.py BEFORE AFTER --suite fcls,simplex,fused   # headline cases of `hud-fast bench`

BEFORE and AFTER are folders that hold a `hud_fast` with its compiled module: a built checkout, or an environment's
site-packages. Each round starts one process for either, the one that went first goes second next time; each process
takes the least of several runs of every case, of the suite's cases the median. Printed are medians over the rounds, and
the median of their ratios; of the suite's cases also the errors, and the time over the floor in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cases() -> dict[str, Callable[[], Any]]:
    from dataclasses import replace

    import numpy as np
    import torch

    import hud_fast as hud
    from hud_fast.diffusion.presets import PRESETS

    rng = np.random.default_rng(0)
    found: dict[str, Callable[[], Any]] = {}
    for C, D in ((200, 16), (103, 9), (200, 32)):
        ends = rng.random((D, C))
        mixed = rng.dirichlet(np.full(D, 0.3), 6000) @ ends + 0.01 * rng.standard_normal((6000, C))
        found[f"fcls (C, D) = ({C}, {D})"] = lambda p=mixed, e=ends: hud.fcls(p, e)
    q, u = (rng.random((n, 100)).astype(np.float32) for n in (3000, 8000))
    found["cosine_max, brute force"] = lambda: hud.cosine_max(q, u)
    shares, scene_shares = rng.dirichlet(np.ones(9), 20000), rng.dirichlet(np.ones(9), 60000)
    few = rng.random((9, 100))
    a, b = shares @ few, scene_shares @ few + 0.002 * rng.standard_normal((60000, 100))
    found["cosine_max, pruned"] = lambda: hud.cosine_max(a, b)
    scene = rng.random((145, 145, 16)).astype(np.float32)
    blocks = np.stack([scene[i : i + 32, i : i + 32] for i in range(0, 96, 6)]) + np.float32(0.1)
    found["window_search"] = lambda: hud.window_search(blocks, scene)
    z = torch.randn(64, 16, 128, 128)
    found["simplex_softmax, maps"] = lambda: hud.simplex_softmax(z, dim=1)
    rows = torch.randn(1 << 18, 16)
    found["simplex_softmax, rows"] = lambda: hud.simplex_softmax(rows, dim=1)
    found["log_project"] = lambda: hud.log_project(rows.abs())
    ends32 = torch.rand(16, 200)
    found["softmax_decode"] = lambda: hud.softmax_decode(z[:4, :, :64, :64].contiguous(), ends32)
    small = torch.randn(2, 3)

    def calls() -> None:
        for _ in range(2000):
            hud.simplex_softmax(small)

    found["2,000 calls of simplex_softmax on (2, 3)"] = calls
    found |= scene_cases()
    simulated = hud.simulate_scene(64, 64, C=60, D=6, seed=1)
    preset = replace(PRESETS["tiny"], steps=4, patches="no")
    found["HUD.fit, 4 steps of tiny"] = lambda: hud.HUD.fit(simulated, endmembers=6, preset=preset)
    model = hud.HUD.fit(simulated, endmembers=6, preset=preset)
    found["HUD.sample(8), 10 steps"] = lambda: model.sample(8, sampler="dpm++", steps=10)
    return found


def scene_cases() -> dict[str, Callable[[], Any]]:
    """Of a scene of PaviaU's size: its endmembers, and 64 cubes judged by it."""
    import numpy as np

    import hud_fast as hud

    simulated = hud.simulate_scene(610, 340, C=103, D=9, seed=2)
    pixels = np.ascontiguousarray(simulated.pixels, np.float32)
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(9), (64, 32, 32))
    cubes = (shares @ hud.vca(pixels, 9, seed=0)).astype(np.float32)
    name = "610 x 340 x 103"
    return {
        f"largest value, {name}": lambda: pixels.max(),
        f"count_endmembers, {name}": lambda: hud.count_endmembers(pixels),
        f"vca, {name}, D = 9": lambda: hud.vca(pixels, 9, seed=0),
        f"vca, {name}, D = 9, best of 8": lambda: hud.vca(pixels, 9, seed=0, best_of=8),
        f"evaluate, 64 cubes by {name}": lambda: hud.evaluate(cubes, simulated.cube),
    }


def measure(threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    took = {}
    for name, run in cases().items():
        run()
        times: list[float] = []
        while len(times) < 3 or (sum(times) < 0.5 and len(times) < 50):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        took[name] = min(times)
    return took


def measure_suite(groups: str, threads: int) -> dict[str, dict[str, float | None]]:
    """Our own providers and the floor of the suite's headline cases, as the build at hand lists them."""
    import torch

    from hud_fast.bench.case import Bench, Missing
    from hud_fast.bench.measure import Absent, Settings
    from hud_fast.bench.measure import measure as time_case
    from hud_fast.bench.run import choose_cases

    torch.set_num_threads(threads)
    took: dict[str, dict[str, float | None]] = {}
    for case in choose_cases(groups.split(","), headline=True):
        bench = case.build(False)
        runs = {
            name: run
            for name, run in bench.runs.items()
            if run.kind in ("ours", "floor") and not isinstance(run, Missing)
        }
        done = [
            result
            for result in time_case(Bench(bench.unit, runs, bench.facts), Settings())
            if not isinstance(result, Absent)
        ]
        floors = [result.median_s for result in done if result.kind == "floor"]
        for result in done:
            if result.kind == "ours":
                took[f"{case.group}: {case.name}, {result.provider}"] = {
                    "seconds": result.median_s * result.of,
                    "error": result.error,
                    "over floor": result.median_s / min(floors) if floors else None,
                }
    return took


def ask(folder: Path, threads: int, suite: str | None) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": str(threads)}
    words = [sys.executable, "-P", __file__, "--measure", "--threads", str(threads)]
    words += ["--suite", suite] if suite else []
    done = subprocess.run(words, env=environment, cwd=folder, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_times(times: list[list[dict[str, Any]]], threads: int) -> None:
    print(f"| {len(times[0])} rounds, {threads} thread | before | after | after / before |")
    print("| --- | --- | --- | --- |")
    for name in times[0][0]:
        before, after = ([took[name] for took in side] for side in times)
        ratio = statistics.median(b / a for a, b in zip(before, after, strict=True))
        b, a = (1e3 * statistics.median(side) for side in (before, after))
        print(f"| {name} | {b:.3g} ms | {a:.3g} ms | {ratio:.3f} |")


def print_suite(times: list[list[dict[str, Any]]], threads: int) -> None:
    """Cases that only one build has are left out: there is nothing beside them."""
    print(
        f"| {len(times[0])} rounds, {threads} thread | before | after | before / after | over the floor | error |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name in times[0][0]:
        if name not in times[1][0]:
            continue
        before, after = ([took[name] for took in side] for side in times)
        ratio = statistics.median(
            b["seconds"] / a["seconds"] for b, a in zip(before, after, strict=True)
        )
        cells = [f"{1e3 * middle(side, 'seconds'):.3g} ms" for side in (before, after)]
        cells.append(f"{ratio:.2f}")
        for what, form in (("over floor", ".1f"), ("error", ".0e")):
            known = before[0][what] is not None and after[0][what] is not None
            said = [format(middle(side, what), form) for side in (before, after)] if known else []
            cells.append(" to ".join(said) or "-")
        print(f"| {name} | " + " | ".join(cells) + " |")


def middle(rounds: list[dict[str, float]], what: str) -> float:
    return statistics.median(took[what] for took in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="BEFORE AFTER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--suite", metavar="GROUPS", help="time these groups of hud-fast bench")
    parser.add_argument("--out", type=Path, help="write all times to a file")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        found = measure_suite(given.suite, given.threads) if given.suite else measure(given.threads)
        print(json.dumps(found))
        return
    if len(given.folders) != 2:
        parser.error("two folders are needed: BEFORE and AFTER")
    folders = [folder.resolve() for folder in given.folders]
    times: list[list[dict[str, Any]]] = [[], []]
    for k in range(given.rounds):
        for side in (0, 1) if k % 2 == 0 else (1, 0):
            times[side].append(ask(folders[side], given.threads, given.suite))
    (print_suite if given.suite else print_times)(times, given.threads)
    if given.out:
        given.out.write_text(json.dumps({"before": times[0], "after": times[1]}, indent=1))


if __name__ == "__main__":
    main()
