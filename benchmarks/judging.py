"""How the diffusion's benchmarks judge a model that learned one half of a scene."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from hud_fast import HUD
from hud_fast.metrics import quality
from hud_fast.metrics.distances import distributions, wasserstein
from hud_fast.metrics.power_spectrum import spectrum_distance
from hud_fast.pipeline.evaluate import Halves

LARGE = ("power", "histogram")  # a number for each frequency or bin: not kept


def judge(model: HUD, halves: Halves, samples: int, **sampling: Any) -> dict[str, Any]:
    """Samples from the same noise against both halves, and how far they are from what the model was to learn."""
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
    learned = model.abundances[np.isfinite(model.abundances).all(axis=-1)]  # (P, D)
    of_maps = distributions(maps).area.mean(axis=0)
    of_learned = distributions(learned[None]).area.mean(axis=0)
    structure = spectrum_distance(found.generated.power, found.training.power)
    rows = found.to_dict()
    return {
        "seconds a cube": seconds / samples,
        "loss": model.history[-1]["loss"] if model.history else None,
        "abundances to training": float(wasserstein(of_maps, of_learned).mean()),
        "structure to training": float(structure.mean()),
        **{
            row: {key: value for key, value in rows[row].items() if key not in LARGE}
            for row in ("generated", "held_out", "training")
        },
    }
