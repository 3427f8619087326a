"""Rows whose place is known beforehand: what a measure says of them tells what the measure is worth.

* ``real``: blocks of one half against the other half. Real data in another place: the best that can be asked for.
  Under ``paper`` of both halves, each against the other.
* ``shuffled``: these blocks with the pixels of each in random order. Every spectrum is right, no arrangement is.
* ``constant``: the mean spectrum in every pixel of every cube: all diversity lost.
* ``copies``: blocks of what trained, a little brighter or darker and noisier (`metrics.reference.jitter`): memory.
* ``misscaled``, under ``paper`` alone: real blocks mapped to [0, 1] where everything else is mapped to [-1, 1], the
  fault that the authors' rows of UD and UBF have.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hud_fast.comparison.protocols import CROP, Task
from hud_fast.metrics.real_blocks import cut_out, draw
from hud_fast.metrics.reference import jitter
from hud_fast.metrics.samples import Spectra, read_spectra, whole_windows
from hud_fast.scenes import Scene

REAL = 256  # real blocks of the protocol paper: D_b of 64 still varies by 0.001 on Indian Pines
TITLES = {
    "real": "real half",
    "shuffled": "real half, pixels shuffled",
    "constant": "one mean spectrum",
    "copies": "near copies",
    "misscaled": "real half, left in [0, 1]",
}

Cubes = NDArray[np.float32]


def control_cubes(task: Task, n: int) -> dict[str, Cubes]:  # each (n', 32, 32, C), n' <= n
    """The cubes of every control row; a small scene has fewer different blocks than `n`."""
    half = task.halves.training
    real = real_blocks(half, n, [task.seed, 11])
    if task.protocol == "paper":
        # both ways, as what one half finds in the other differs
        ways = (half, 11), (task.halves.held_out, 16)
        real = np.concatenate([real_blocks(of, REAL // 2, [task.seed, k]) for of, k in ways])
    rng = np.random.default_rng([task.seed, 12])
    shuffled = real[:n].reshape(len(real[:n]), -1, real.shape[-1]).copy()
    for cube in shuffled:
        rng.shuffle(cube, axis=0)
    mean = half.valid_pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
    copied, spectra = _blocks(task.training, n, [task.seed, 13])
    copies = jitter(torch.from_numpy(copied), spectra, np.random.default_rng([task.seed, 14]))
    cubes = {
        "real": real,
        "shuffled": shuffled.reshape(real[:n].shape),
        "constant": np.broadcast_to(mean, (n, *real.shape[1:])).copy(),
        "copies": copies.numpy(),
    }
    if task.protocol == "paper":
        unit = task.scaling.encode(torch.from_numpy(real[:n]))
        cubes["misscaled"] = task.scaling.decode((unit + 1) / 2).numpy()
    return cubes


def real_blocks(scene: Scene, n: int, seed: list[int]) -> Cubes:  # (n', 32, 32, C)
    """Up to `n` blocks from different random places."""
    return _blocks(scene, n, seed)[0]


def _blocks(scene: Scene, n: int, seed: list[int]) -> tuple[Cubes, Spectra]:
    spectra = read_spectra("compare", "scene", scene.cube, "mask", scene.valid)
    places = draw(whole_windows(spectra.valid, CROP, CROP), n, np.random.default_rng(seed))
    return cut_out(spectra, places, (CROP, CROP)).numpy(), spectra
