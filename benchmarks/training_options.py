"""What each option of the training changes: one model an option and scene, trained alike, judged alike.

    python benchmarks/training_options.py --models runs/options --out benchmarks/results/training-options.json

Each model is trained on one half of its scene and judged against the other (`hud_fast.metrics.quality`), then the
options take turns for the time of a step. Models that lie in ``--models`` and answers that lie in ``--out`` already are
used again, so the command can be stopped and given again, or two scenes trained at once by ``--train-only``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judging import judge

from hud_fast import HUD, load_scene
from hud_fast.diffusion import PRESETS, LatentSpace, Preset
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.preparation import known_count
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.settings import changed
from hud_fast.diffusion.training import Trainer
from hud_fast.pipeline.evaluate import split
from hud_fast.pipeline.rundir import write_json
from hud_fast.report.machine import machine, versions
from hud_fast.scenes import Scene

SCENES = ("indian-pines", "jasper-ridge")
STEPS = 600
# name -> changes of the preset; the first is what all are compared with
OPTIONS: dict[str, list[str]] = {
    "tiny": [],
    "epsilon": ["prediction=epsilon"],
    "v": ["prediction=v"],
    "v, zero terminal SNR": ["prediction=v", "zero_terminal_snr=yes"],
    "cosine schedule": ["schedule=cosine"],
    "v, cosine schedule": ["prediction=v", "schedule=cosine"],
    "min-SNR": ["loss_weight=min_snr"],
    "v, min-SNR": ["prediction=v", "loss_weight=min_snr"],
    "no average": ["ema_decay=0"],
    "average without warm-up": ["ema_warmup=no"],
    "no rate warm-up": ["warmup=0"],
    "constant rate": ["decay=constant"],
    "no flips or turns": ["augment=no"],
    "bfloat16": ["precision=bfloat16"],
}
SEEDS = {"tiny": (0, 1, 2)}  # how far two trainings of the same settings lie apart


# these change the time of a step only
TIMED = {"two parts": ["accumulate=2"], "compiled": ["compile=yes"]}


def preset_of(texts: list[str], steps: int) -> Preset:
    """The settings of an option."""
    # what a training learns: patches would hide it
    return replace(changed(PRESETS["tiny"], texts), steps=steps, patches="no")


def model_of(folder: Path, scene: Scene, preset: Preset, seed: int) -> HUD:
    """The model in `folder`, or a new one that is saved there."""
    if folder.exists():
        model = HUD.load(folder, device="cpu")
        sampling = {name: getattr(preset, name) for name in ("sampler", "sampler_steps")}
        if replace(model.preset, **sampling) == preset and model.seed == seed:
            return model
    count = known_count(scene)
    model = HUD.fit(scene, preset=preset, seed=seed, endmembers=count, device="cpu")
    model.save(folder)
    return model


def step_times(model: HUD, rounds: int = 15) -> dict[str, float]:
    """Median seconds of a training step of each option, in turns, on a scene's abundances."""
    space: LatentSpace = model.latent
    z = space.encode(np.nan_to_num(model.abundances, nan=1 / model.D))[0]
    valid = np.isfinite(model.abundances).all(axis=-1)
    prior = Prior.of(z, torch.from_numpy(valid), space.mean, space.std)
    trainers = {}
    for option, texts in (OPTIONS | TIMED).items():
        preset = preset_of(texts, STEPS)
        crops = CropSampler(z, valid, crop=preset.crop, augment=preset.augment)
        network = build_network(preset, model.D, prior=prior)
        trainers[option] = Trainer(network, crops, preset, seed=0)
    times: dict[str, list[float]] = {option: [] for option in trainers}
    for turn in range(rounds + 3):
        for option, trainer in trainers.items():
            began = time.perf_counter()
            trainer.step()
            if turn >= 3:  # the first compile, choose algorithms, fill caches
                times[option].append(time.perf_counter() - began)
    return {option: statistics.median(found) for option, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder for the models")
    parser.add_argument("--out", type=Path, help="JSON file for the answers")
    parser.add_argument("--scenes", nargs="+", default=SCENES)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--train-only", action="store_true", help="judge nothing yet")
    parser.add_argument("--no-times", action="store_true", help="do not time steps")
    given = parser.parse_args()
    if given.out is None and not given.train_only:
        parser.error("--out is needed to keep the answers")
    if given.threads:
        torch.set_num_threads(given.threads)
    result: dict[str, Any] = {"rows": []}
    if given.out and given.out.exists():
        result = json.loads(given.out.read_text(encoding="utf-8"))
    names = ("scene", "option", "seed", "steps", "samples")
    known = {tuple(row[name] for name in names) for row in result["rows"]}
    first = None
    for name in given.scenes:
        scene = load_scene(name).drop_bad_bands()
        crop = PRESETS["tiny"].crop
        halves = split(scene, (crop, crop))
        for option, texts in OPTIONS.items():
            for seed in SEEDS.get(option, (0,)):
                folder = given.models / f"{name}, {option}, seed {seed}"
                preset = preset_of(texts, given.steps)
                model = model_of(folder, halves.training, preset, seed)
                first = first or model
                print(f"{name}: {option}, seed {seed}", flush=True)
                key = (name, option, seed, given.steps, given.samples)
                if given.train_only or key in known:
                    continue
                row = {**dict(zip(names, key, strict=True)), "settings": texts}
                result["rows"].append(
                    {
                        **row,
                        **judge(
                            model,
                            halves,
                            given.samples,
                            sampler=preset.sampler,
                            steps=preset.sampler_steps,
                        ),
                    }
                )
                result |= {"machine": machine(), "versions": versions()}
                write_json(given.out, result)
    if not (given.train_only or given.no_times) and first is not None:
        result["seconds a step"] = step_times(first)
        write_json(given.out, result)


if __name__ == "__main__":
    main()
