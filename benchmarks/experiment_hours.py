"""How long the paper's whole experiment takes on this machine: some steps of every method, and the rest by arithmetic.

    python benchmarks/experiment_hours.py indian-pines --budget paper --device cuda --out hours.json

Each method trains `--steps` steps of each of its stages at the budget's own sizes. The first tenth warms up; the
others' mean, times the budget's steps, is the training of one scene. Sampling is timed for one batch.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from hud_fast import load_scene
from hud_fast.baselines import BUDGETS, METHODS
from hud_fast.comparison.protocols import Task
from hud_fast.pipeline.rundir import write_json
from hud_fast.report.machine import commit, machine, versions

SAMPLES = 8  # of the paper's authors


def steps_of(settings: Any) -> dict[str, int]:
    """The settings that say how long a method trains."""
    lengths: dict[str, int] = {
        name: value
        for name, value in vars(settings).items()
        if name in ("steps", "autoencoder_steps", "diffusion_steps")
    }
    return lengths


def per_step(history: list[dict[str, Any]], stage: str | None) -> float:
    """Mean seconds of a step of a stage, the first tenth apart."""
    entries = [e for e in history if stage is None or e["stage"] == stage]
    first, last = entries[len(entries) // 10], entries[-1]
    return float((last["seconds"] - first["seconds"]) / max(1, last["step"] - first["step"]))


def hours_of(name: str, task: Task, budget: str, steps: int, device: str | None) -> dict[str, Any]:
    """Seconds a step of every stage, seconds of sampling, and hours of one scene."""
    method: Any = METHODS[name]
    full = steps_of(method.budgets[budget])
    model = method.fit(
        task.training,
        budget=budget,
        seed=0,
        device=device,
        scaling=task.scaling,
        settings=dict.fromkeys(full, steps) | ({"log_every": 1} if name == "hud" else {}),
    )
    history = model.model.history if name == "hud" else model.history
    stages = [None] if name == "hud" else list(dict.fromkeys(e["stage"] for e in history))
    each = [per_step(history, stage) for stage in stages]
    start = time.perf_counter()
    model.sample(SAMPLES)
    sampling = time.perf_counter() - start
    training = sum(a * b for a, b in zip(each, full.values(), strict=True))
    return {
        "method": name,
        "steps": full,
        "seconds a step": each,
        "seconds of sampling 8 cubes": sampling,
        "hours of a scene": (training + sampling) / 3600,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scene")
    parser.add_argument("--budget", choices=BUDGETS, default="paper")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    task = Task.of(load_scene(given.scene).drop_bad_bands(), "paper")
    rows: list[dict[str, Any]] = []
    for name in METHODS:
        rows.append(hours_of(name, task, given.budget, given.steps, given.device))
        print(f"{name}: {rows[-1]['hours of a scene']:.3f} h a scene", flush=True)
        total = sum(row["hours of a scene"] for row in rows)
        found = {"scene": task.scene.name, "budget": given.budget, "steps timed": given.steps}
        found |= {"rows": rows, "hours of a scene": total, "hours of five scenes": 5 * total}
        found |= {"machine": machine(), "versions": versions(), "commit": commit()}
        write_json(given.out, found)  # what was timed is kept, whatever ends this
    print(f"all: {total:.2f} h a scene, {5 * total:.1f} h for five scenes")


if __name__ == "__main__":
    main()
