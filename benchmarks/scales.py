"""Real halves of a scene against each other in both scales: F_p, D_b and their ratio, raw and as the authors take them.

    python benchmarks/scales.py indian-pines          # any scene file or catalogue name

Blocks of 32 x 32 pixels, stride 1, from both halves, each against the other. In the authors' scale values are clipped
to [0, full scale], mapped to [-1, 1], and blocks compared in four quarter turns.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from hud_fast import load_scene
from hud_fast.comparison.controls import REAL, real_blocks
from hud_fast.comparison.protocols import Task
from hud_fast.metrics import block_diversity, point_fidelity, spectral_floor


def both_ways(task: Task, seed: int, count: int, **options: Any) -> tuple[float, float]:
    """F_p and D_b of `count` blocks, half of them from each half."""
    halves = task.halves.training, task.halves.held_out
    found = []
    for number, (one, other) in enumerate((halves, halves[::-1])):
        blocks = real_blocks(one, count // 2, [seed, number])
        turns = {"turns": 4} if options else {}
        found.append(
            (
                point_fidelity(blocks, other.cube, mask=other.valid, **options),
                block_diversity(blocks, other.cube, mask=other.valid, **turns, **options),
            )
        )
    fidelity, diversity = np.mean(found, axis=0).tolist()
    return fidelity, diversity


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scenes", nargs="+")
    parser.add_argument("--blocks", type=int, default=REAL, help="of both halves together")
    given = parser.parse_args(arguments)
    print(
        f"scene, scale: F_p, D_b, D_b / F_p of {given.blocks} blocks; D_b of 8, five draws; floor of F_p"
    )
    for name in given.scenes:
        task = Task.of(load_scene(name).drop_bad_bands(), "paper")
        paper = {"scale": "paper", "full_scale": task.full_scale}
        scales: dict[str, dict[str, Any]] = {"raw": {}, "[-1, 1]": paper}
        for words, options in scales.items():
            fidelity, diversity = both_ways(task, 0, given.blocks, **options)
            few = [both_ways(task, seed, 8, **options)[1] for seed in range(1, 6)]
            floor = spectral_floor(task.scene.cube, mask=task.scene.valid, **options)
            print(
                f"{name}, {words}: {fidelity:.5f}, {diversity:.5f}, {diversity / fidelity:.5f}; "
                f"{', '.join(f'{value:.4f}' for value in few)}; {floor:.5f}"
            )


if __name__ == "__main__":
    main()
