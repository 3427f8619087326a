"""Whether the start that ships with the package helps: the same scenes, steps and draws with it and without.

    OMP_NUM_THREADS=1 python benchmarks/shipped_start.py --scenes samson jasper-ridge indian-pines \\
        --out benchmarks/results/shipped-start.json

For every scene and seed two trainings that differ in their first weights only. A step costs the same with both, so
equal steps are equal time. Judged by eq. 15 on draws that no training has (`pretraining.Judge`), and by what the
trained model generates (`hud_fast.metrics.realism`: classifier AUC, 0.5 = cannot be told from the scene's own blocks):
by the network alone ("network"), and by the scene's patches that it guides ("guided": what the preset gives). Real
blocks stand beside: the values that a perfect generator would have. The whole scene is learned, so a copy would pass;
the copied piece stands beside too. Written after every training: what is there is whole.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretraining import Judge, curve, prepared, say

from hud_fast import HUD, load_scene
from hud_fast.diffusion import PRESETS, SceneFacts
from hud_fast.diffusion.abundance_model import as_start
from hud_fast.diffusion.fitting import trainer_of
from hud_fast.diffusion.patch_weights import balanced
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.preparation import PreparedScene, choose_endmembers
from hud_fast.diffusion.training import Trainer
from hud_fast.metrics import realism
from hud_fast.pipeline.rundir import write_json
from hud_fast.report.machine import machine, versions

STARTS = ("scratch", "shipped")
WAYS = ("network", "guided")
SPACES = ("spectra", "z")
VALUES = ("classifier", "straight_edges", "grain", "frechet", "recall", "coverage")


def trained(trainer: Trainer, scene: PreparedScene, seed: int) -> HUD:
    """The model that the training has come to, its network alone."""
    network = trainer.network
    network.load_state_dict(network.state_dict() | trainer.averaged_weights())
    network.eval().requires_grad_(False)
    return HUD(
        network=network,
        latent=scene.latent,
        endmembers=scene.endmembers,
        abundances=scene.abundances,
        preset=trainer.preset,
        seed=seed,
        encoder="fcls",
        scene=SceneFacts.of(scene.scene),
        unmixing={},
        history=trainer.history,
    )


def judged(model: HUD, samples: int) -> dict[str, dict[str, float]]:
    """What `realism` says of generated blocks and of real ones."""
    maps = model.sample_abundances(samples, seed=0)
    found = realism(maps, model.abundances, model.endmembers, blocks=samples, bootstrap=0)
    rows: dict[str, dict[str, float]] = {}
    for name in ("generated", "real"):
        row = getattr(found, name)
        rows[name] = {
            f"{space} {value}": getattr(getattr(row, space), value).value
            for space in SPACES
            for value in VALUES
        }
        rows[name] |= {key: getattr(row, key).value for key in ("zeros", "copied_piece")}
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds for each scene; which start has the lower loss, and the classifier nearer to a half."""
    answer: dict[str, Any] = {}
    for scene in dict.fromkeys(row["scene"] for row in rows):
        mean: dict[str, Any] = {}
        for start in STARTS:
            own = [row for row in rows if (row["scene"], row["start"]) == (scene, start)]
            if own:
                steps = own[0]["losses"]
                mean[start] = {
                    "seeds": len(own),
                    "losses": {k: statistics.fmean(r["losses"][k] for r in own) for k in steps},
                }
                for way in [way for way in WAYS if way in own[0]]:
                    values = own[0][way]["generated"]
                    mean[start][way] = {
                        k: statistics.fmean(r[way]["generated"][k] for r in own) for k in values
                    }
        if len(mean) == len(STARTS):
            scratch, shipped = (mean[start] for start in STARTS)
            mean["lower loss"] = {
                k: "shipped" if shipped["losses"][k] < scratch["losses"][k] else "scratch"
                for k in scratch["losses"]
            }
            key = "spectra classifier"
            mean["harder to tell"] = {
                way: "shipped"
                if abs(shipped[way][key] - 0.5) < abs(scratch[way][key] - 0.5)
                else "scratch"
                for way in WAYS
                if way in scratch
            }
        answer[scene] = mean
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scenes", nargs="+", required=True, help="names of the catalogue, or files"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the answers")
    parser.add_argument("--start", default="shipped", help="the start, or the folder of another")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--at", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--windows", type=int, default=128, help="of the judging draws")
    parser.add_argument("--samples", type=int, default=64, help="0: losses only")
    given = parser.parse_args()
    start = as_start(given.start)
    assert start is not None
    preset = replace(PRESETS["tiny"], steps=given.steps)
    at = sorted({0, given.steps, *(k for k in given.at if k < given.steps)})
    scenes: dict[str, PreparedScene] = {}
    patches: dict[str, Patches] = {}
    for source in given.scenes:
        scene = load_scene(source).drop_bad_bands()
        D = len(choose_endmembers(scene, None, seed=0))
        one = scenes[source] = prepared(scene, D, None)
        if given.samples:
            laid = Patches.of(one.abundances, one.endmembers, seed=0)
            patches[source] = balanced(laid, preset.crop)
    rows: list[dict[str, Any]] = []
    for seed in range(given.seeds):
        for source, one in scenes.items():
            judge = None
            for name in STARTS:
                trainer = trainer_of(
                    [one],
                    preset,
                    seed=seed,
                    encoder="fcls",
                    start=start if name == "shipped" else None,
                )
                judge = judge or Judge(trainer, given.windows)
                row = {
                    "scene": source,
                    "endmembers": len(one.endmembers),
                    "seed": seed,
                    "start": name,
                    **curve(trainer, judge, at),
                }
                losses = ", ".join(f"{k}: {v:.4f}" for k, v in row["losses"].items())
                said = f"{source}, seed {seed}, {name}: losses {losses}"
                if given.samples:
                    model = trained(trainer, one, seed)
                    row["network"] = judged(model, given.samples)
                    row["guided"] = judged(replace(model, patches=patches[source]), given.samples)
                    key = "spectra classifier"
                    auc = ", ".join(f"{way} {row[way]['generated'][key]:.3f}" for way in WAYS)
                    said += f"; classifier {auc}, real {row['network']['real'][key]:.3f}"
                rows.append(row)
                say(said)
                write_json(
                    given.out,
                    {
                        "start": {"digest": start.digest, "steps": start.steps, "seed": start.seed},
                        "preset": preset.to_dict(),
                        "windows": given.windows,
                        "samples": given.samples,
                        "summary": summary(rows),
                        "rows": rows,
                        "machine": machine(),
                        "versions": versions(),
                    },
                )


if __name__ == "__main__":
    main()
