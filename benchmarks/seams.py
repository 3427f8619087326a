"""Are there seams in a large cube? Its gradient across the borders of the windows it was made in, beside elsewhere.

    python benchmarks/seams.py runs/indian-pines/model --size 512x614 --out benchmarks/results/seams.json

A window's influence begins and ends at its border lines; if windows disagreed, neighbours across such a line would
differ more than neighbours elsewhere. The ratio is 1 where they do not, up to the spread that lines far from any
border have among themselves (`quantiles elsewhere`: of the same ratio, for as many lines drawn elsewhere).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hud_fast import HUD
from hud_fast.diffusion.tiles import starts
from hud_fast.pipeline.rundir import write_json
from hud_fast.report.machine import machine, peak_memory, versions


def borders(length: int, tile: int, overlap: int) -> list[int]:
    """Lines between row k - 1 and row k at which a window begins or ends."""
    first = starts(length, tile, tile - overlap)
    return sorted({k for s in first for k in (s, s + tile)} - {0, length})


def ratio(
    maps: NDArray[np.float32], axis: int, lines: list[int], seed: int = 0
) -> dict[str, Any]:  # maps (h, w, D)
    """Mean absolute difference across `lines` over that across all other lines."""
    step = np.abs(np.diff(maps.astype(np.float64), axis=axis)).mean(
        axis=(1 - axis, 2)
    )  # a line each
    at = np.isin(np.arange(1, maps.shape[axis]), lines)
    elsewhere = step[~at]
    draws = np.random.default_rng(seed).choice(elsewhere, (2000, at.sum())).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975]) / elsewhere.mean()
    return {
        "borders": int(at.sum()),
        "ratio": float(step[at].mean() / elsewhere.mean()),
        "quantiles elsewhere": [float(low), float(high)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", default="512x614")
    parser.add_argument("--sampler", choices=("ddpm", "ddim", "dpm++"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    rows, columns = (int(side) for side in given.size.split("x"))
    model = HUD.load(given.model, device="cpu")
    tile = 2 * model.preset.crop
    began = time.perf_counter()
    maps = model.sample_abundances(
        1, seed=0, size=(rows, columns), sampler=given.sampler, steps=given.steps
    )[0]
    seconds = time.perf_counter() - began
    result = {
        "model": model.summary(),
        "size": [rows, columns],
        "sampler": given.sampler or model.preset.sampler,
        "steps": given.steps or model.preset.sampler_steps,
        "window": tile,
        "seconds": seconds,
        "peak memory": peak_memory(),
        "across rows": ratio(maps, 0, borders(rows, tile, tile // 4)),
        "across columns": ratio(maps, 1, borders(columns, tile, tile // 4)),
        "machine": machine(),
        "versions": versions(),
    }
    write_json(given.out, result)
    print({key: result[key] for key in ("seconds", "across rows", "across columns")})


if __name__ == "__main__":
    main()
