"""Group ``busy``: the same work alone and beside one and two busy processes, by one thread and by two.

A machine is seldom its user's alone. Times are to one thread's, alone; a busy process is one that computes without end,
started once a case and told when to be busy, so that all providers take turns.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from hud_fast._limits import available_cores
from hud_fast.bench import inputs
from hud_fast.bench.case import Bench, Case, Missing, Run

BESIDE = {"alone": 0, "beside one": 1, "beside two": 2}
PROVIDERS = tuple(f"{n}, {beside}" for beside in BESIDE for n in ("1 thread", "2 threads"))
# Busy from one line of its input to the next; its end, and so ours, ends it.
NEIGHBOUR = """
import select, sys
for line in sys.stdin:
    while not select.select([sys.stdin], [], [], 0)[0]:
        sum(range(1000))
    sys.stdin.readline()
"""
_Made = tuple[str, float, Callable[[], Any]]


def cases() -> list[Case]:
    """Return the cases of the group."""
    work: dict[str, Callable[[bool], _Made]] = {
        "fcls": _fcls,
        "cosine_max": _cosine,
        "window_search": _windows,
        "q_sample, 300 small calls": _small_calls,
        "vca": _vca,
        "training step, tiny": _training,
        "sampling, tiny": _sampling,
        "layouts of patches": _layouts,
    }
    return [
        Case("busy", name, PROVIDERS, _make(made), quick=name == "fcls")
        for name, made in work.items()
    ]


def _make(made: Callable[[bool], _Made]) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        neighbours = Neighbours(2)
        runs: dict[str, Run | Missing] = {}
        for name in PROVIDERS:
            words, beside = name.split(", ")
            threads = int(words[0])
            if threads > available_cores():
                runs[name] = Missing("this process may use one core", "ours")
                continue
            with _threads(threads):
                unit, items, call = made(quick)  # what has workers hires them here
            timed = _beside(neighbours, BESIDE[beside], threads, call)
            runs[name] = Run(timed, items=items, kind="ours")
        return Bench(unit, runs)

    return make


def _beside(
    neighbours: Neighbours, busy: int, threads: int, call: Callable[[], Any]
) -> Callable[[int], Any]:
    def run(_: int) -> Any:
        with neighbours.busy(busy), _threads(threads):
            return call()

    return run


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Neighbours:
    """Processes that are busy when told to; they end with this object, or with this process.

    Examples
    --------
    >>> with Neighbours(1).busy(1):
    ...     pass
    """

    def __init__(self, count: int) -> None:
        self._processes = [
            subprocess.Popen([sys.executable, "-c", NEIGHBOUR], stdin=subprocess.PIPE)
            for _ in range(count)
        ]
        weakref.finalize(self, _end, self._processes)

    @contextlib.contextmanager
    def busy(self, count: int) -> Iterator[None]:
        """Keep `count` of them busy for the block."""
        self._tell(count)
        try:
            yield
        finally:
            self._tell(count)

    def _tell(self, count: int) -> None:
        for process in self._processes[:count]:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def _fcls(quick: bool) -> _Made:
    from hud_fast.kernels import fcls

    made = inputs.mixed_pixels(2_000 if quick else 200_000, 103, 9)
    return "pixel", len(made.pixels), lambda: fcls(made.pixels, made.endmembers)


def _cosine(quick: bool) -> _Made:
    from hud_fast.kernels import cosine_max

    scene = inputs.simulated("Indian-Pines-size", quick)
    query = inputs.queries(scene, "HUD-like", 1_000 if quick else 40_000)
    return "query", len(query), lambda: cosine_max(query, scene.pixels)


def _windows(quick: bool) -> _Made:
    from hud_fast.kernels import window_search

    scene, blocks = inputs.random_windows(48 if quick else 96, 64)
    return "block", len(blocks), lambda: window_search(blocks, scene)


def _small_calls(quick: bool) -> _Made:
    import torch

    from hud_fast.kernels import q_sample

    count = 30 if quick else 300
    maps = torch.rand(16, 9, 32, 32, generator=torch.Generator().manual_seed(0))

    def call() -> None:
        for step in range(count):
            q_sample(maps, [0.5] * 16, seed=0, step=step)

    return "call", count, call


def _vca(quick: bool) -> _Made:
    from hud_fast.unmixing import vca

    pixels = inputs.mixed_pixels(2_000 if quick else 100_000, 103, 9).pixels
    return "pixel", len(pixels), lambda: vca(pixels, 9, seed=0)


def _training(quick: bool) -> _Made:
    from dataclasses import replace

    import numpy as np
    import torch

    from hud_fast.diffusion.crops import CropSampler
    from hud_fast.diffusion.network import build_network
    from hud_fast.diffusion.presets import PRESETS
    from hud_fast.diffusion.training import Trainer

    z = torch.randn(16, 64, 64, generator=torch.Generator().manual_seed(0))
    preset = replace(PRESETS["tiny"], batch=2 if quick else PRESETS["tiny"].batch)
    crops = CropSampler([z], [np.ones((64, 64), bool)], crop=preset.crop)
    trainer = Trainer(build_network(preset, 16), crops, preset, seed=0)
    return "step", 1, trainer.step


def _sampling(quick: bool) -> _Made:
    import torch

    from hud_fast.diffusion.network import build_network
    from hud_fast.diffusion.presets import PRESETS
    from hud_fast.diffusion.sampling import plan, sample_latent
    from hud_fast.diffusion.schedule import NoiseSchedule

    preset, count = PRESETS["tiny"], 2 if quick else 16
    network = build_network(preset, 16).eval()
    steps = plan(NoiseSchedule.of(preset), sampler="ddim", steps=3)

    def call() -> list[torch.Tensor]:
        return list(
            sample_latent(network, steps, range(count), (16, 32, 32), seed=0, batch_size=count)
        )

    return "sample", count, call


def _layouts(quick: bool) -> _Made:
    from hud_fast.diffusion.patches import Patches
    from hud_fast.kernels import fcls
    from hud_fast.scenes import simulate_scene
    from hud_fast.unmixing import vca

    scene = simulate_scene(64, 64, C=40, D=5, seed=0)
    endmembers = vca(scene.pixels, 5, seed=0)
    patches = Patches.of(fcls(scene.cube, endmembers), endmembers, seed=0)
    samples = range(2 if quick else 16)
    return "sample", len(samples), lambda: patches.layouts(samples, (32, 32), seed=0)
