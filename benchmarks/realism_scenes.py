"""Do generated blocks pass for real? Scene by scene, preset by preset, judged alike; and a picture of all of them.

    python benchmarks/realism_scenes.py indian-pines jasper-ridge samson \\
        pavia_centre_crop_105x120.mat,endmembers=9 paviaU_crop_140x80_with_labels.mat,endmembers=9,variable=paviaU \\
        salinas_crop_126x150.mat,endmembers=16,mask=altered.npy \\
        --presets instant --seeds 0 1 2 --out benchmarks/results/realism.json --picture docs/six-scenes.png

For each scene, preset and seed: a model of the whole scene, 64 blocks, `realism` and `copy_check`; and, with
``--halves``, a model of one half of it, its blocks judged beside those of the half that it never saw. Rows that lie in
``--out`` already are kept, so the command can be stopped and given again. A run of ``hud-fast run`` can stand in for a
training: ``--run indian-pines=runs/indian-pines``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hud_fast import HUD, Scene, fcls, load_scene
from hud_fast.metrics import copy_check, realism
from hud_fast.pipeline.evaluate import split
from hud_fast.pipeline.rundir import read_json, write_json
from hud_fast.report.machine import machine, versions

SAMPLES, SHOWN = 64, 10


def read(text: str) -> tuple[Scene, int | None]:
    """A scene, and its number of endmembers, from NAME or FILE,endmembers=9,mask=FILE,variable=NAME."""
    source, *settings = text.split(",")
    given = dict(one.split("=", 1) for one in settings)
    count = given.pop("endmembers", None)
    if source.endswith(".mat"):
        given.setdefault(
            "name", Path(source).stem
        )  # as the results call it, whatever the catalogue does
    scene = load_scene(source, **given).drop_bad_bands()
    return scene, None if count is None else int(count)


def judged(model: HUD, scene: Scene, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """The values of `model`'s blocks, and of as many real ones."""
    began = time.perf_counter()
    cubes, maps = model.sample(SAMPLES, seed=seed, return_abundances=True)
    sampling = time.perf_counter() - began
    began = time.perf_counter()
    found = realism(maps, model.abundances, model.endmembers, seed=seed)
    judging = time.perf_counter() - began
    copies = copy_check(cubes, scene.cube, mask=scene.valid, endmembers=model.endmembers, seed=seed)
    values = {
        "seconds": {"sampling": sampling, "judging": judging},
        "near copies": int(copies.near_copy.sum()),
        "expected near copies": copies.expected_share * SAMPLES,
        **found.to_dict(),
    }
    return values, cubes[:SHOWN]


def held_out(scene: Scene, count: int | None, preset: str, seed: int) -> dict[str, Any]:
    """The blocks of a model of one half beside the other half's, both against that half."""
    halves = split(scene, (32, 32))
    model = HUD.fit(halves.training, endmembers=count, preset=preset, seed=seed)
    maps = model.sample_abundances(SAMPLES, seed=seed)
    other = np.array(fcls(halves.held_out.cube, model.endmembers))
    other[~halves.held_out.valid] = np.nan
    found = realism(maps, other, model.endmembers, seed=seed, bootstrap=0)
    # what a memoriser of the training half would get
    training = realism(
        _blocks(model.abundances, seed), other, model.endmembers, seed=seed, bootstrap=0
    )
    return {
        "generated": found.generated.to_dict(),
        "held out": found.real.to_dict(),
        "training": training.generated.to_dict(),
    }


def _blocks(maps: np.ndarray, seed: int) -> np.ndarray:  # (H, W, D) -> (n, 32, 32, D)
    rng = np.random.default_rng(seed)
    whole = np.lib.stride_tricks.sliding_window_view(np.isfinite(maps).all(-1), (32, 32))
    corners = np.argwhere(whole.all(axis=(2, 3)))
    chosen = corners[rng.choice(len(corners), min(SAMPLES, len(corners)), replace=False)]
    return np.stack([maps[i : i + 32, j : j + 32] for i, j in chosen])


COLUMNS = ("straight_edges", "grain", "frechet", "recall")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown: each value, and behind the slash that of as many real blocks."""
    lines = [
        "| scene, preset, seed | AUC, spectra | AUC, z | straight edges | grain | Frechet | recall | zeros | "
        "copied piece, mean; largest | near copies (expected) |",
        "| --- " * 10 + "|",
    ]
    for row in rows:
        made, real = row["generated"], row["real"]

        def pair(*keys: str, made: Any = made, real: Any = real) -> str:
            texts = []
            for value in (made, real):
                for key in keys:
                    value = value[key]
                texts.append("-" if value is None else f"{value['value']:.3g}")
            return " / ".join(texts)

        pieces = [
            f"{x['copied_piece']['value']:.1%}; {x['largest_copied_piece']:.1%}"
            for x in (made, real)
        ]
        cells = [
            f"{row['scene']}, {row['preset']}, {row['seed']}",
            pair("spectra", "classifier"),
            pair("z", "classifier"),
            *(pair("spectra", key) for key in COLUMNS),
            pair("zeros"),
            " / ".join(pieces),
            f"{row['near copies']} ({row['expected near copies']:.0f})",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(rows: Sequence[tuple[Scene, np.ndarray]], path: Path) -> None:
    """A row of real blocks over a row of generated ones, for each scene."""
    from hud_fast.report.panels import real_positions
    from hud_fast.report.style import house_style, new_figure

    with house_style():
        figure = new_figure(SHOWN * 0.95, len(rows) * 2.25)
        # titles take no part in the layout, the topmost needs its line all the same
        figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.15 / figure.get_figheight()))
        axes = figure.subplots(2 * len(rows), SHOWN)
        for k, (scene, cubes) in enumerate(rows):
            low, high = np.nanquantile(
                scene.cube[scene.valid][:, list(scene.display_bands)], [0.02, 0.98], axis=0
            )
            h, w = cubes.shape[1:3]
            places = real_positions(scene.valid, h, w, SHOWN, 0)
            real = [scene.cube[i : i + h, j : j + w] for i, j in places]
            for line, (name, blocks) in enumerate((("real", real), ("generated", cubes))):
                for axis in axes[2 * k + line]:
                    axis.axis("off")
                for axis, block in zip(axes[2 * k + line], blocks, strict=False):
                    shown = (block[..., list(scene.display_bands)] - low) / (high - low)
                    axis.imshow(np.clip(shown, 0, 1), interpolation="nearest")
                first = axes[2 * k + line][0]
                title = first.text(
                    0, 1.06, f"{scene.name}: {name}", transform=first.transAxes, fontsize=8
                )
                title.set_in_layout(False)  # long names must not widen the first column
        figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="+", metavar="SCENE")
    parser.add_argument("--presets", nargs="+", default=["instant"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--run", action="append", default=[], metavar="SCENE=RUN")
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    runs = dict(one.split("=", 1) for one in given.run)
    result: dict[str, Any] = {"rows": []}
    if given.out.exists():
        result = read_json(given.out)
    known = {(row["scene"], row["preset"], row["seed"]) for row in result["rows"]}
    shown = []
    for text in given.scenes:
        scene, count = read(text)
        for preset in given.presets:
            for seed in given.seeds:
                draws = given.picture and preset == given.presets[0] and seed == given.seeds[0]
                if (scene.name, preset, seed) in known and not draws:
                    continue
                began = time.perf_counter()
                trained = runs.get(scene.name) if preset != "instant" else None
                label = preset
                if trained is not None:
                    model = HUD.load(Path(trained) / "model", device="cpu")
                    own = model.preset
                    label = f"{own.name} of {own.steps} steps, patches: {own.patches}"
                else:
                    model = HUD.fit(scene, endmembers=count, preset=preset, seed=seed)
                fitting = time.perf_counter() - began
                row, cubes = judged(model, scene, seed)
                row["seconds"]["fitting"] = None if trained is not None else fitting
                if draws:
                    shown.append((scene, cubes))
                if (scene.name, preset, seed) in known:
                    continue
                if given.halves:
                    row["halves"] = held_out(scene, count, preset, seed)
                result["rows"].append({"scene": scene.name, "preset": label, "seed": seed, **row})
                result |= {"machine": machine(), "versions": versions()}
                write_json(given.out, result)
                print(f"{scene.name}: {preset}, seed {seed}", flush=True)
    print(table(result["rows"]))
    if given.picture:
        picture(shown, given.picture)


if __name__ == "__main__":
    main()
