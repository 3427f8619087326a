"""Public functions called with hostile arguments.

A case is a name for each argument that is not good ("meta tensor", "2**64"), so it can be written down and asked again.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from fuzz import seeds
from fuzz.hostile import ARRAYS, HUGE, SCALARS

import hud_fast as hud

rng = np.random.default_rng(0)
ENDS = rng.random((3, 8))
ROWS = rng.dirichlet(np.ones(3), 6)  # (P, D)
MAPS = rng.dirichlet(np.ones(3), (9, 8))  # (H, W, D)
SCENE = MAPS @ ENDS  # (H, W, C)
MASK = np.ones(SCENE.shape[:2], bool)
LABELS = np.zeros(SCENE.shape[:2], int)  # two classes, a few pixels each
LABELS[0, :3], LABELS[-1, :3] = 1, 2


@dataclass(frozen=True)
class Call:
    """A public function with good arguments: `arrays`, `scalars`, and `work`, numbers that set how long it takes."""

    function: Callable[..., Any]
    arrays: dict[str, Any]
    scalars: dict[str, Any]
    work: dict[str, Any]
    share: float


def call(
    function: Any,
    arrays: dict[str, Any],
    scalars: str = "",
    work: str = "",
    share: float = 10,
    **good: Any,
) -> Call:
    """The good value of a scalar is the function's own where none is given."""
    split = [{name: good.get(name, ...) for name in names.split()} for names in (scalars, work)]
    return Call(function, arrays, *split, share=share)


def method(name: str, make: Callable[[], Any]) -> Callable[..., Any]:
    """A method of an object that is made once, when first called."""
    made = functools.cache(make)
    return lambda **given: getattr(made(), name)(**given)


SPECTRA = {"pixels": SCENE[0], "endmembers": ENDS}
PAIR = {
    "generated": SCENE[None, :4, :4],
    "real": SCENE,
    "generated_mask": MASK[None, :4, :4],
    "mask": MASK,
}
WINDOWS = {"blocks": SCENE[None, :2, :2], "scene": SCENE, "mask": MASK}
Z = torch.from_numpy(rng.standard_normal((2, 3, 4, 4))).float()
LATENT = {"z": ROWS, "mean": np.zeros(3), "std": np.ones(3)}
SIDE = {
    "wavelengths": np.arange(8) + 400.0,
    "good_bands": np.ones(8, bool),
    "mask": MASK,
    "labels": MASK * 1,
}


def an_index() -> hud.CosineIndex:
    return hud.CosineIndex(SCENE, endmembers=ENDS)


def windows() -> hud.WindowIndex:
    return hud.WindowIndex(SCENE, 2, endmembers=ENDS)


def a_model() -> hud.HUD:
    return seeds.model(True)


def sample_batches(**given: Any) -> None:
    for _ in a_model().sample_batches(**given):
        pass


CALLS: dict[str, Call] = {
    "log_project": call(hud.log_project, {"abundances": ROWS}, "dim backend", share=40),
    "log_standardize": call(
        hud.log_standardize, {"abundances": ROWS, "mean": np.zeros(3), "std": np.ones(3)}, "dim backend", share=30
    ),
    "simplex_softmax": call(hud.simplex_softmax, {"z": ROWS}, "dim backend", share=30),
    "standardized_softmax": call(hud.standardized_softmax, LATENT, "dim backend", share=30),
    "softmax_decode": call(hud.softmax_decode, {**LATENT, "endmembers": ENDS}, "backend", share=40),
    "fcls": call(hud.fcls, SPECTRA, "sum_to_one shade return_status backend", share=60),
    "cosine_max": call(hud.cosine_max, {"query": SCENE[0], "reference": SCENE}, "backend memory_limit", share=60),
    "window_search": call(
        hud.window_search, WINDOWS, "stride norm normalize backend memory_limit", share=60
    ),
    "normal_noise": call(
        hud.normal_noise, {}, "seed step first dtype device backend shape", share=30, seed=0, shape=(2, 3)
    ),
    "q_sample": call(
        hud.q_sample, {"z": Z, "signal": np.array([0.5, 0.9])}, "seed step first backend", share=30, seed=0, step=1
    ),
    "sampler_step": call(
        hud.sampler_step, {"z": Z, "eps": Z, "noise": Z},
        "z_factor eps_factor noise_factor seed step first backend", share=30, z_factor=0.9, eps_factor=0.1,
    ),
    "CosineIndex": call(
        hud.CosineIndex, {"reference": SCENE, "endmembers": ENDS, "mask": MASK}, "memory_limit", share=40
    ),
    "CosineIndex.search": call(method("search", an_index), {"query": SCENE[0]}, share=30),
    "CosineIndex.search_mixtures": call(method("search_mixtures", an_index), {"abundances": ROWS}, share=30),
    "WindowIndex": call(
        hud.WindowIndex, {"scene": SCENE, "endmembers": ENDS, "mask": MASK}, "block stride norm", share=40, block=2
    ),
    "WindowIndex.search": call(method("search", windows), {"blocks": SCENE[None, :2, :2]}, share=30),
    "WindowIndex.search_mixtures": call(
        method("search_mixtures", windows), {"abundances": MAPS[None, :2, :2]}, share=30
    ),
    "Scene": call(hud.Scene, {"cube": SCENE, **SIDE}, "name label_names rgb_bands scale ignore_value", share=40),
    "load_scene": call(
        lambda **given: hud.load_scene(SAVED, **given), SIDE, "layout shape rgb_bands scale name variable", share=30
    ),
    "simulate_scene": call(
        hud.simulate_scene, {"library": ENDS}, "C D snr_db smoothness seed", "H W", H=8, W=8, D=3, C=8
    ),
    "vca": call(hud.vca, {"pixels": SCENE, "mask": MASK}, "D seed criterion return_index snr_db", "best_of", D=3),
    "spread_labels": call(hud.spread_labels, {"scene": SCENE, "labels": LABELS, "mask": MASK}),
    "unmix": call(hud.unmix, {"scene": SCENE, "endmembers": ENDS}, "method"),
    "Library": call(hud.Library, {"spectra": ENDS}),
    "count_endmembers": call(hud.count_endmembers, {"pixels": SCENE, "mask": MASK}),
    "linear_abundances": call(hud.linear_abundances, SPECTRA, share=20),
    "UnmixingAutoencoder": call(hud.UnmixingAutoencoder, {"endmembers": ENDS}, "encoder"),
    "UnmixingAutoencoder.encode": call(
        method("encode", lambda: hud.UnmixingAutoencoder(ENDS)), {"pixels": SCENE}, "constrained"
    ),
    "UnmixingAutoencoder.decode": call(method("decode", lambda: hud.UnmixingAutoencoder(ENDS)), {"abundances": ROWS}),
    "UnmixingAutoencoder.fine_tune": call(
        method("fine_tune", lambda: hud.UnmixingAutoencoder(ENDS)), {"pixels": SCENE},
        "lr seed", "steps batch_size", share=3, steps=1,
    ),
    "Mixtures": call(hud.Mixtures, {"abundances": MAPS, "endmembers": ENDS}),
    "spectral_angle": call(hud.spectral_angle, {"a": SCENE, "b": SCENE, "mask": MASK}, "degrees reduction", share=20),
    "reconstruction_cosine": call(hud.reconstruction_cosine, {"a": SCENE, "b": SCENE, "mask": MASK}, share=20),
    "point_fidelity": call(hud.point_fidelity, PAIR, "return_details memory_limit backend", share=20),
    "block_diversity": call(hud.block_diversity, PAIR, "block stride norm return_details memory_limit", share=20),
    "copy_check": call(
        hud.copy_check, PAIR, "block quantile seed all_orientations", "count", share=3, count=4
    ),
    "real_reference": call(
        hud.real_reference, {"real": SCENE, "mask": MASK}, "block seed stride norm", "count", share=3, count=4, block=2
    ),
    "evaluate": call(
        hud.evaluate, PAIR, "block stride norm reference copies quantile seed", "count", share=2, count=4
    ),
    "realism": call(
        hud.realism, {"abundances": MAPS[None], "scene": MAPS, "endmembers": ENDS}, "seed", "blocks bootstrap",
        share=2, blocks=4, bootstrap=4,
    ),
    "quality": call(
        hud.quality,
        {"cubes": SCENE[None], "abundances": MAPS[None], "training": SCENE, "held_out": SCENE, "endmembers": ENDS},
        "seed", "count bootstrap", share=2, count=4, bootstrap=4,
    ),
    "HUD.sample": call(
        method("sample", a_model), {}, "seed sampler tile return_abundances as_tensors first",
        "n size steps batch_size", share=3, n=1, size=4, steps=1,
    ),
    "HUD.sample_batches": call(
        sample_batches, {}, "seed sampler tile first", "n size steps batch_size", share=1, n=1, size=4
    ),
    "can_run": call(hud.can_run, {}, "backend device dtype op raise_error", backend="cpu"),
    "set_isa": call(hud.set_isa, {}, "name", share=2, name="baseline"),
}  # fmt: skip
VALUES = {**SCALARS, **HUGE}
SAVED = "scene.npy"  # in the input's folder, where the process stands


class ArgumentTarget:
    """All the calls."""

    name, share = "arguments", 350.0

    def good(self) -> list[dict[str, str]]:
        """Every call with nothing hostile, and one that takes arrays with each kind of them."""
        kinds = [
            {"call": "log_project", "abundances": kind} for kind in ARRAYS if "2**" not in kind
        ]
        return [*({"call": name} for name in CALLS), *kinds]

    def draw(self, rng: Random) -> dict[str, str]:
        """One input: the call, and for some of its arguments what stands there."""
        name = rng.choices(list(CALLS), [made.share for made in CALLS.values()])[0]
        made = CALLS[name]
        pools = {
            **{name: [*ARRAYS, *ARRAYS, *SCALARS] for name in made.arrays},
            **{name: [*SCALARS, *HUGE] for name in made.scalars},
            **{name: list(SCALARS) for name in made.work},
        }
        chosen = rng.sample(list(pools), min(len(pools), rng.choice((1, 1, 1, 2, 2, 3))))
        return {"call": name, **{argument: rng.choice(pools[argument]) for argument in chosen}}

    def words(self, case: dict[str, str]) -> tuple[str, ...]:
        """The names of the call's arguments."""
        made = CALLS[case["call"]]
        return (*made.arrays, *made.scalars, *made.work)

    def run(self, case: dict[str, str], folder: Path) -> Callable[[], object]:
        """The call with its arguments, made before it is watched."""
        made = CALLS[case["call"]]
        if case["call"] == "load_scene":
            np.save(folder / SAVED, SCENE)
        given = {
            k: v for k, v in {**made.arrays, **made.scalars, **made.work}.items() if v is not ...
        }
        for argument, kind in case.items():
            if argument == "call":
                continue
            with contextlib.suppress(Exception):  # not every kind can be made of every array
                good = np.asarray(given.get(argument))
                given[argument] = ARRAYS[kind](good) if kind in ARRAYS else VALUES[kind]
        return functools.partial(made.function, **given)
