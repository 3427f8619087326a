"""How the diffusion's benchmarks judge a model that learned one half of a scene."""

from __future__ import annotations

import time
from typing import Any

from hud_fast import HUD
from hud_fast.metrics import quality
from hud_fast.pipeline.evaluate import Halves

LARGE = ("power", "histogram")  # a number for each frequency or bin: not kept


def judge(model: HUD, halves: Halves, samples: int, **sampling: Any) -> dict[str, Any]:
    """Samples from the same noise against both halves of the scene."""
    began = time.perf_counter()
    cubes, maps = model.sample(samples, seed=0, return_abundances=True, **sampling)
    seconds = time.perf_counter() - began
    found = quality(
        cubes,
        maps,
        halves.training.cube,
        halves.held_out.cube,
        model.endmembers,
        training_mask=halves.training.valid,
        held_out_mask=halves.held_out.valid,
        bootstrap=0,
    )
    rows = found.to_dict()
    return {
        "seconds a cube": seconds / samples,
        "loss": model.history[-1]["loss"] if model.history else None,
        **{
            row: {key: value for key, value in rows[row].items() if key not in LARGE}
            for row in ("generated", "held_out", "training")
        },
    }
