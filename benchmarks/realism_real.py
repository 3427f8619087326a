"""docs/realism.md's table: what the judge says of real blocks, of copies, and of real blocks blurred.

    python benchmarks/realism_real.py indian-pines jasper-ridge samson \\
        pavia_centre_crop_105x120.mat,endmembers=9 paviaU_crop_140x80_with_labels.mat,endmembers=9,variable=paviaU \\
        salinas_crop_126x150.mat,endmembers=16,mask=unaltered.npy --seeds 0 1 2

Scenes are catalogue names or files, as in ``realism_scenes.py``; their pixels are unmixed exactly. Without scenes the
table is written again from ``benchmarks/results/realism-real.json``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusion_tables import origin, put, spread, table
from realism_scenes import read
from scipy.ndimage import gaussian_filter

from hud_fast.diffusion.preparation import abundances_of, choose_endmembers
from hud_fast.metrics import realism
from hud_fast.metrics.realism_windows import tiles
from hud_fast.pipeline.rundir import read_json, write_json
from hud_fast.report.machine import machine, versions

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "realism-real.json", HERE.parent / "docs" / "realism.md"
BLOCKS, SIDE, BLUR = 64, 32, 1.0  # blocks of so many pixels; pixels of the Gaussian
WINDOW = 20


def measured(text: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Rows of a scene: real, copied and blurred blocks for each seed."""
    scene, count = read(text)
    endmembers = choose_endmembers(scene, count, seed=0)
    maps = abundances_of(scene, endmembers, encoder="fcls").numpy()
    whole = np.lib.stride_tricks.sliding_window_view(np.isfinite(maps).all(-1), (SIDE, SIDE))
    corners = np.argwhere(whole.all(axis=(2, 3)))
    facts = {
        "scene": scene.name,
        "size": list(scene.shape[:2]),
        "endmembers": len(endmembers),
        "tiles": len(tiles(torch.from_numpy(scene.valid), WINDOW)),
    }
    rows = []
    for seed in seeds:
        chosen = np.random.default_rng([seed, 9]).choice(len(corners), BLOCKS, replace=False)
        copies = np.stack([maps[i : i + SIDE, j : j + SIDE] for i, j in corners[chosen]])
        blurred = gaussian_filter(copies, (0, BLUR, BLUR, 0))
        for name, blocks in (("copies", copies), ("blurred", blurred)):
            began = time.process_time()
            found = realism(blocks, maps, endmembers, seed=seed, bootstrap=0)
            seconds = time.process_time() - began
            one = {**facts, "seed": seed, "seconds": seconds}
            rows.append({**one, "kind": name, **found.generated.to_dict()})
            if name == "copies":
                rows.append({**one, "kind": "real", **found.real.to_dict()})
        print(f"{scene.name}, seed {seed}", flush=True)
    return rows


COLUMNS = {
    "AUC, spectra": ("spectra", "classifier", 2),
    "AUC, z": ("z", "classifier", 2),
    "straight edges": ("spectra", "straight_edges", 3),
    "grain": ("spectra", "grain", 3),
    "Frechet": ("spectra", "frechet", 1),
    "recall": ("spectra", "recall", 2),
    "coverage": ("spectra", "coverage", 2),
}
KINDS = ("real", "copies", "blurred")


def written(result: dict[str, Any]) -> str:
    """The table, ranges over seeds."""
    header = ["scene", "blocks", *COLUMNS, "zeros, %", "copied piece, % (largest)"]
    lines = []
    for scene in dict.fromkeys(row["scene"] for row in result["rows"]):
        for kind in KINDS:
            rows = [row for row in result["rows"] if (row["scene"], row["kind"]) == (scene, kind)]
            first = rows[0]
            size = f"{first['size'][0]} x {first['size'][1]}, D = {first['endmembers']}"
            line = [f"{scene} ({size}, {first['tiles']} tiles)" if kind == "real" else "", kind]
            for space, name, digits in COLUMNS.values():
                found = [row[space][name] for row in rows]
                line.append(spread([one["value"] for one in found if one is not None], digits))
            line.append(spread([100 * row["zeros"]["value"] for row in rows], 1))
            piece = spread([100 * row["copied_piece"]["value"] for row in rows], 1)
            largest = 100 * max(row["largest_copied_piece"] for row in rows)
            lines.append([*line, f"{piece} ({largest:.0f})"])
    seeds = len({row["seed"] for row in result["rows"]})
    seconds = [row["seconds"] for row in result["rows"]]
    how = f"{BLOCKS} blocks of {SIDE} x {SIDE} pixels; ranges of {seeds} seeds, {BLUR:g} pixel of blur."
    took = f"One call took {spread(seconds, 1)} s of one thread."
    return f"{table(header, lines)}\n\n{how} {took} {origin(result)}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", metavar="SCENE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args(arguments)
    if given.scenes:
        torch.set_num_threads(1)
        rows = [row for text in given.scenes for row in measured(text, given.seeds)]
        write_json(RESULT, {"rows": rows, "machine": machine(), "versions": versions()})
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(put(page, "realism-real", written(read_json(RESULT))), encoding="utf-8")


if __name__ == "__main__":
    main()
