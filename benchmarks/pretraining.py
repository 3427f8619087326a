"""Whether a model of two scenes is a better start for a third than random weights: the paper's "future work (1)".

    python benchmarks/pretraining.py --learn jasper-ridge urban --then samson --endmembers 4 \\
        --out benchmarks/results/pretraining.json

One training on the scenes to learn, then for every seed two trainings of the third scene that differ in their first
weights only. Both are judged at the same steps by eq. 15 on the same draws of the third scene (windows, times and noise
that no training draws), with the averaged weights. "prior" is the loss of the guess that the network starts from
(`prediction=residual`; 1 for a network that starts from nothing).

Trainings of fewer steps are not the beginnings of longer ones, since the learning rate falls over the whole training:
the curves say how far each start has come after k of ``--steps`` steps.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hud_fast import AbundanceModel, fit_scenes, load_scene
from hud_fast.diffusion import PRESETS, Preset
from hud_fast.diffusion.checks import available_device
from hud_fast.diffusion.fitting import trainer_of
from hud_fast.diffusion.network import Denoiser, predict
from hud_fast.diffusion.noise import addressed_noise, noise_key
from hud_fast.diffusion.preparation import CPU, PreparedScene, choose_endmembers
from hud_fast.diffusion.schedule import add_noise, velocity
from hud_fast.diffusion.seeds import Stream, generator
from hud_fast.diffusion.settings import changed
from hud_fast.diffusion.training import Trainer, stratified_times
from hud_fast.pipeline.rundir import write_json
from hud_fast.report.machine import machine, versions
from hud_fast.scenes import Scene

JUDGE = 2**40  # seed of the judging draws: no training has it
TOGETHER = 16  # windows that go through the network at once


class Judge:
    """Eq. 15 on fixed draws of a scene.

    Parameters
    ----------
    trainer : Trainer
        Of the scene; it is not changed.
    count : int
        How many windows, with times spread evenly over 0 .. T - 1.
    """

    def __init__(self, trainer: Trainer, count: int) -> None:
        draw = generator(JUDGE, Stream.TRAINING, 0)
        chosen = trainer.crops.choose(count, draw)
        device = trainer.device
        self.z = trainer.crops.cut(chosen.to(device))
        self.t = stratified_times(trainer.preset.T, count, draw).to(device)
        self.signal = trainer.schedule.alphas_cumprod.to(device)[self.t]
        number = torch.zeros((), dtype=torch.int64, device=device)
        key = noise_key(JUDGE, Stream.TRAINING_NOISE)
        self.noise = addressed_noise(key, number, number, tuple(self.z.shape))
        self.noisy = add_noise(self.z, self.noise, self.signal)

    @torch.no_grad()
    def loss(self, network: Denoiser, weights: dict[str, Tensor] | None = None) -> float:
        """The loss of a network, with other weights than its own where given."""
        own = copy.deepcopy(network).eval()
        own.load_state_dict(own.state_dict() | (weights or {}))
        target = velocity(self.z, self.noise, self.signal) if own.says == "v" else self.noise
        total = 0.0
        for rows in torch.arange(len(self.z), device=self.z.device).split(TOGETHER):
            said = predict(own, self.noisy[rows], self.t[rows], "float32")
            total += float((said - target[rows]).square().double().sum())
        return total / target.numel()


def prepared(
    scene: Scene, D: int, start: AbundanceModel | None, device: torch.device = CPU
) -> PreparedScene:
    """The third scene, its endmembers in the order of falling mean abundance for both starts."""
    A = choose_endmembers(scene, D, seed=0, device=device)
    ranks = range(D) if start is None else start.ranks
    return PreparedScene.of(scene, A, encoder="fcls", raw_latent=False, ranks=ranks, device=device)


def curve(trainer: Trainer, judge: Judge, at: list[int]) -> dict[str, Any]:
    """Train, and judge the averaged weights at the steps in `at` (0: the start)."""
    losses = {}
    if 0 in at:
        losses[0] = judge.loss(trainer.network)
    while trainer.done < trainer.preset.steps:
        trainer.step()
        if trainer.done in at:
            losses[trainer.done] = judge.loss(trainer.network, trainer.averaged_weights())
    return {"losses": losses, "seconds a step": trainer.seconds / trainer.done}


def summary(rows: list[dict[str, Any]], at: list[int]) -> dict[str, Any]:
    """Means over the seeds, and how many steps the pre-trained start needs for what the other reaches at the end."""
    mean = {
        start: {
            k: statistics.fmean(row["losses"][k] for row in rows if row["start"] == start)
            for k in at
        }
        for start in ("scratch", "pre-trained")
    }
    goal = mean["scratch"][at[-1]]
    reached = [k for k in at if mean["pre-trained"][k] <= goal]
    better = {
        k: [
            a["losses"][k] < b["losses"][k]
            for a in rows
            for b in rows
            if a["seed"] == b["seed"] and (a["start"], b["start"]) == ("pre-trained", "scratch")
        ]
        for k in at
    }
    return {
        "mean losses": mean,
        "seeds in which the pre-trained start is ahead": {k: sum(v) for k, v in better.items()},
        f"first step at which it has scratch's loss of step {at[-1]}": min(reached, default=None),
    }


def study(given: argparse.Namespace) -> dict[str, Any]:
    """Everything; writes nothing."""
    device = available_device("pretraining", given.device)
    settings: Preset = changed(PRESETS[given.preset], given.set)
    third, *learned = (load_scene(name).drop_bad_bands() for name in (given.then, *given.learn))
    D = given.endmembers
    began = time.perf_counter()
    common, _ = fit_scenes(
        learned,
        endmembers=D,
        preset=replace(settings, steps=given.pretrain_steps),
        seed=given.pretrain_seed,
        device=device,
        progress=lambda done, total: say(f"pre-training: step {done} of {total}", done % 50),
    )
    pretraining = time.perf_counter() - began
    if given.keep:
        common.save(given.keep)
    scene = prepared(third, D, common, device)
    preset = replace(settings, steps=given.steps)
    at = sorted({0, given.steps, *(k for k in given.at if k < given.steps)})
    rows, judge = [], None
    for seed in range(given.seeds):
        for name, start in (("scratch", None), ("pre-trained", common)):
            trainer = trainer_of([scene], preset, seed=seed, encoder="fcls", start=start)
            judge = judge or Judge(trainer, given.windows)
            rows.append({"seed": seed, "start": name, **curve(trainer, judge, at)})
            say(f"{third.name}: seed {seed}, {name}: {rows[-1]['losses']}")
    assert judge is not None
    untrained = trainer_of([scene], preset, seed=0, encoder="fcls")
    return {
        "learned": [one.name for one in learned],
        "then": third.name,
        "endmembers": D,
        "preset": preset.to_dict(),
        "pre-training": {
            "steps": given.pretrain_steps,
            "seed": given.pretrain_seed,
            "seconds": pretraining,
        },
        "windows": given.windows,
        "prior": judge.loss(untrained.network),
        "rows": rows,
        "summary": summary(rows, at),
        "device": str(device),
        "machine": machine(),
        "versions": versions(),
    }


def say(text: str, unless: int = 0) -> None:
    """Print a line as it happens, so that a long command shows how far it is."""
    if not unless:
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--learn", nargs="+", required=True, help="scenes of the pre-training")
    parser.add_argument("--then", required=True, help="the scene that is trained afterwards")
    parser.add_argument("--endmembers", type=int, required=True, help="of all scenes")
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the answers")
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--pretrain-steps", type=int, default=1600)
    parser.add_argument("--pretrain-seed", type=int, default=100)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--at", type=int, nargs="+", default=[50, 100, 200, 400, 800])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--windows", type=int, default=128, help="of the judging draws")
    parser.add_argument("--keep", type=Path, help="folder for the pre-trained abundance model")
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    result = study(given)
    write_json(given.out, result)
    for name, value in result["summary"].items():
        say(f"{name}: {value}")


if __name__ == "__main__":
    main()
