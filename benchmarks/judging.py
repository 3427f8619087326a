"""How the diffusion's benchmarks judge a model that learned one half of a scene."""

from __future__ import annotations

import time
from typing import Any

from hud_fast import HUD
from hud_fast.pipeline.evaluate import Halves, against_halves

LARGE = ("power", "histogram", "each")  # a number for each frequency, bin or endmember: not kept


def small(value: Any) -> Any:
    """`value` without its large lists."""
    if not isinstance(value, dict):
        return value
    return {key: small(entry) for key, entry in value.items() if key not in LARGE}


def judge(model: HUD, halves: Halves, samples: int, **sampling: Any) -> dict[str, Any]:
    """Samples from the same noise against both halves of the scene."""
    began = time.perf_counter()
    cubes, maps = model.sample(samples, seed=0, return_abundances=True, **sampling)
    seconds = time.perf_counter() - began
    found = against_halves(halves, model, cubes, maps, bootstrap=0)
    rows = small(found["quality"])
    return {
        "seconds a cube": seconds / samples,
        "loss": model.history[-1]["loss"] if model.history else None,
        **{row: rows[row] for row in ("generated", "held_out", "training")},
        "realism": found["realism"],
    }
