"""Make the start that ships with the package: a network pre-trained on simulated fields (``--start-from shipped``).

    OMP_NUM_THREADS=1 python benchmarks/make_shipped_start.py --out hud_fast/diffusion/shipped/tiny

Simulated scenes only: nothing of a real scene is in the file. Each is a patchwork of fields with straight borders,
roads, a lake or wood with a round border, texture within fields, mixtures at borders; mixed with simulated spectra and
noise, then unmixed as any scene is (VCA, FCLS): its zeros and its grain come from there.

A real scene has 1 to 64 endmembers, so every step takes windows of scenes with one of several D, and trains the
weights of the first D channels: those that a training with D endmembers will get (`with_channels`). Channels are in the
order of falling mean abundance, as those of every training from a start.

The answer depends on the seed, the number of threads and the libraries' versions: the README beside the file tells.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from hud_fast.diffusion import PRESETS, AbundanceModel
from hud_fast.diffusion.abundance_model import with_channels
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.network import Denoiser, build_network
from hud_fast.diffusion.preparation import PreparedScene, choose_endmembers
from hud_fast.diffusion.schedule import NoiseSchedule, add_noise
from hud_fast.diffusion.training import stratified_times
from hud_fast.scenes import Scene
from hud_fast.scenes.simulate import FIRST, LAST, smooth_spectra

COUNTS = (2, 3, 4, 5, 6, 8, 10, 12, 14, 16)  # of endmembers; the last is the shipped network's
FINER = 2  # sub-pixels a side: pixels on a border are mixtures
SMALLEST_FIELD = 8  # pixels a side

Array = NDArray[np.float64]


class Land(NamedTuple):
    """A plan of the ground in sub-pixels: which field each belongs to."""

    field: NDArray[np.int64]  # (h, w)
    road: NDArray[np.bool_]  # (h, w)


def parcels(side: int, random: np.random.Generator) -> Land:
    """Cut the plane by straight lines, again and again; roads run along some of the cuts."""
    y, x = np.mgrid[:side, :side].astype(float)
    angle = random.uniform(0, math.pi)
    field = np.zeros((side, side), dtype=np.int64)
    road = np.zeros((side, side), dtype=bool)
    largest = FINER * random.uniform(1.5, 5) * SMALLEST_FIELD  # of this scene's fields
    todo, fields = [(0, 0)], 1
    while todo:
        number, depth = todo.pop()
        inside = field == number
        # most cuts follow the two directions of the scene, some lie askew
        tilt = random.normal(0, 0.3) if random.random() < 0.15 else 0.0
        extent = {}
        for turn in (0.0, math.pi / 2):
            along = math.cos(angle + turn + tilt) * x + math.sin(angle + turn + tilt) * y
            extent[turn] = (np.ptp(along[inside]), along)
        length, along = extent[max(extent, key=lambda turn: extent[turn][0])]
        if length < 2 * FINER * SMALLEST_FIELD or (
            length < largest * random.uniform(1, 2) and depth > 2
        ):
            continue
        low = along[inside].min()
        at = low + length * random.uniform(0.3, 0.7)
        if depth < 5 and random.random() < 0.35:
            road |= inside & (np.abs(along - at) < FINER * random.uniform(0.4, 1.2))
        field[inside & (along > at)] = fields
        todo += [(number, depth + 1), (fields, depth + 1)]
        fields += 1
    return Land(field, road)


def smooth(shape: tuple[int, ...], scale: float, random: np.random.Generator) -> Array:
    """Noise of unit variance with a correlation length in the last two axes."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(
        random.standard_normal(shape), (0,) * (len(shape) - 2) + (scale, scale), mode="wrap"
    )
    return np.asarray(noise / noise.std(axis=(-2, -1), keepdims=True))


def fields(side: int, D: int, random: np.random.Generator) -> Array:  # (side, side, D)
    """Abundances of a simulated landscape: on the simplex, most of them zero."""
    fine = FINER * side
    land = parcels(fine, random)
    field = land.field.copy()
    count = int(field.max()) + 1
    # what grows: kinds of ground, some much more common than others
    kinds = max(2, round(D * random.uniform(0.8, 1.6)))
    common = random.dirichlet(np.full(kinds, 0.8))
    kind = random.choice(kinds, size=count + 2, p=common)
    if random.random() < 0.6:  # a lake or a wood, with a round border
        blob = smooth((fine, fine), fine * random.uniform(0.06, 0.2), random)
        field[blob > random.uniform(0.3, 1.5)] = count
    field[land.road] = count + 1
    # a kind is a mixture of few materials, its main one in turn so that none is missing
    share = np.full((kinds, D), -np.inf)
    for number in range(kinds):
        few = min(D, 1 + int(random.integers(0, 4)))
        others = random.permutation(np.delete(np.arange(D), number % D))[: few - 1]
        share[number, number % D] = 0.0
        share[number, others] = -random.exponential(1.5, len(others)) - 0.3
    level = share[kind] + random.normal(0, 0.35, (count + 2, D))  # (fields, D)
    logit = np.moveaxis(level[field], -1, 0)  # (D, h, w)
    # texture: coarse and fine, stronger in some fields than in others
    strength = random.gamma(2.0, 0.25, count + 2)[field]
    for scale, weight in ((FINER * random.uniform(2, 6), 1.0), (FINER * 0.6, 0.7)):
        logit = logit + weight * strength * smooth((D, fine, fine), scale, random)
    # rows of a plantation
    y, x = np.mgrid[:fine, :fine]
    turn, period = random.uniform(0, math.pi), FINER * random.uniform(2.5, 6)
    rows = np.sin(2 * math.pi * (math.cos(turn) * x + math.sin(turn) * y) / period)
    planted = (random.random(count + 2) < 0.15)[field]
    logit[0] = logit[0] + 0.8 * planted * rows
    weight = np.exp(logit - logit.max(axis=0))
    weight /= weight.sum(axis=0)
    pooled = weight.reshape(D, side, FINER, side, FINER).mean(axis=(2, 4))
    return np.moveaxis(pooled, 0, -1)


def simulated(side: int, D: int, seed: int) -> PreparedScene:
    """A scene of fields, unmixed as any other."""
    random = np.random.default_rng([seed, D])
    wavelengths = np.linspace(FIRST, LAST, 100)
    abundances = fields(side, D, random)
    signal = abundances @ smooth_spectra(wavelengths, D, random)
    # no pixel has the spectra of the book: light and noise differ
    signal *= 1 + random.uniform(0.01, 0.06) * smooth((side, side), 1.5, random)[..., None]
    sigma = np.sqrt(np.mean(signal**2)) * 10 ** (-random.uniform(25, 40) / 20)
    cube = (signal + sigma * random.standard_normal(signal.shape)).astype(np.float32)
    scene = Scene(cube=cube, name="simulated fields", wavelengths=wavelengths, simulated=True)
    endmembers = choose_endmembers(scene, D, seed=seed)
    return PreparedScene.of(scene, endmembers, encoder="fcls", raw_latent=False, ranks=range(D))


class Group:
    """Scenes with one number of endmembers, and a network that holds their priors."""

    def __init__(self, scenes: list[PreparedScene], crop: int) -> None:
        self.D = len(scenes[0].endmembers)
        self.crops = CropSampler(
            [one.z for one in scenes], [one.valid for one in scenes], crop=crop
        )
        self.network: Denoiser = build_network(
            PRESETS["tiny"], self.D, prior=[one.prior for one in scenes]
        ).requires_grad_(False)
        self.empty = dict(self.network.named_parameters())


def train(
    groups: list[Group], weights: dict[str, Tensor], *, steps: int, batch: int, seed: int
) -> dict[str, Tensor]:
    """The averaged weights after `steps` steps on the loss (eq. 15), each of one D."""
    preset = replace(PRESETS["tiny"], steps=steps, batch=batch)
    signals = NoiseSchedule.of(preset).alphas_cumprod
    own = {name: value.clone().requires_grad_() for name, value in weights.items()}
    average = {name: value.clone() for name, value in weights.items()}
    optimiser = torch.optim.AdamW(list(own.values()), lr=preset.learning_rate, weight_decay=0.0)
    draw = torch.Generator().manual_seed(seed)
    began, told = time.perf_counter(), []
    for step in range(steps):
        group = groups[int(torch.randint(len(groups), (), generator=draw))]
        chosen = group.crops.choose(batch, draw)
        t = stratified_times(preset.T, batch, draw)
        z = group.crops.cut(chosen)
        noise = torch.randn(z.shape, generator=draw)
        noisy = add_noise(z, noise, signals[t])
        rate = min(1.0, (step + 1) / (preset.warmup + 1))
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = preset.learning_rate * rate
        said = functional_call(
            group.network,
            with_channels(own, group.empty),
            (noisy, t, group.crops.scene_of(chosen)),
        )
        loss = (said - noise).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(own.values()), preset.clip)
        optimiser.step()
        decay = min(preset.ema_decay, 1 - (1 + step) ** -0.75)
        with torch.no_grad():
            for name, value in average.items():
                value.lerp_(own[name], 1 - decay)
        told.append(loss.item())
        if not (step + 1) % 100:
            mean, seconds = sum(told[-100:]) / 100, time.perf_counter() - began
            print(f"step {step + 1} of {steps}: loss {mean:.4f}, {seconds:.0f} s", flush=True)
    return average


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the abundance model")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--scenes", type=int, default=8, help="of each number of endmembers")
    parser.add_argument("--side", type=int, default=96, help="of a scene, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    preset = replace(PRESETS["tiny"], steps=given.steps, batch=given.batch)
    groups = []
    for D in COUNTS:
        first = given.seed + 1000
        scenes = [simulated(given.side, D, first + k) for k in range(given.scenes)]
        zeros = np.mean([(one.abundances < 1e-6).mean() for one in scenes])
        groups.append(Group(scenes, preset.crop))
        print(f"{given.scenes} scenes with {D} endmembers, zeros {zeros:.2f}", flush=True)
    D = COUNTS[-1]
    fresh = dict(build_network(preset, D, seed=given.seed).named_parameters())
    weights = train(
        groups,
        {name: value.detach() for name, value in fresh.items()},
        steps=given.steps,
        batch=given.batch,
        seed=given.seed,
    )
    AbundanceModel(
        weights={name: value.half() for name, value in weights.items()},  # half the size
        preset=preset,
        D=D,
        ranks=tuple(range(D)),
        raw_latent=False,
        scenes=("simulated fields",),
        steps=given.steps,
        seed=given.seed,
        any_D=True,
    ).save(given.out)


if __name__ == "__main__":
    main()
