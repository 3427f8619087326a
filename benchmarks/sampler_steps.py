"""Which sampler, and how many steps: the same model sampled in many ways, each judged against the held-out half.

    python benchmarks/sampler_steps.py runs/evaluate/indian-pines --out benchmarks/results/sampler-steps.json

Takes folders that ``hud-fast evaluate`` made (their model was trained on one half of the scene),
with ``--set patches=no``: patches would hide what samplers differ in. All ways start from
the same noise. Answers that lie in ``--out`` already are kept, so the command can be stopped and given again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from judging import judge

from hud_fast import HUD, load_scene
from hud_fast.pipeline.evaluate import Halves, split
from hud_fast.pipeline.rundir import read_json, write_json
from hud_fast.report.machine import machine, versions

WAYS = [
    *[("ddim", steps) for steps in (10, 20, 50, 100, 250, 1000)],
    *[("dpm++", steps) for steps in (10, 20, 50, 100, 250)],
    *[("ddpm", steps) for steps in (10, 20, 50, 100, 250, 1000)],
]


def halves_of(run: Path, model: HUD) -> Halves:
    """The halves of the catalogue's scene that an evaluation was of."""
    name = read_json(run / "run.json")["settings"]["scene"]
    crop = model.preset.crop
    return split(load_scene(name).drop_bad_bands(), (crop, crop))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--most", type=int, default=1000, help="steps; more are left out")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    result: dict[str, Any] = {"rows": []}
    if given.out.exists():
        result = json.loads(given.out.read_text(encoding="utf-8"))
    known = {(row["run"], row["sampler"], row["steps"], row["samples"]) for row in result["rows"]}
    for run in given.runs:
        model = HUD.load(run / "model", device="cpu")
        halves = halves_of(run, model)
        for sampler, steps in WAYS:
            key = (run.name, sampler, steps, given.samples)
            if steps > given.most or key in known:
                continue
            row = dict(zip(("run", "sampler", "steps", "samples"), key, strict=True))
            result["rows"].append(
                {**row, **judge(model, halves, given.samples, sampler=sampler, steps=steps)}
            )
            result |= {"machine": machine(), "versions": versions()}
            write_json(given.out, result)
            print(f"{run.name}: {sampler}, {steps} steps", flush=True)


if __name__ == "__main__":
    main()
