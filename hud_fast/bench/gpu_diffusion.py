"""Group ``gpu_diffusion``: one step of sampling and of training, launch by launch and as a CUDA graph.

Beside them: the same with channels first ("NCHW"; see `network.memory_format`), with the network compiled by
torch.compile (asked for with `--compile`: half a minute each), and diffusers' own eager loop on the same network.

Errors of sampling are the distance of a few steps' result from the float32 loop's, relative to its spread: a graph
must give the loop's own samples. A call of training is several steps, so that the seven rounds make a hundred.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hud_fast.bench.case import Bench, Case, Missing, Run
from hud_fast.bench.gpu import compiles, device, rehearsing

PRECISIONS = ("float32", "bfloat16")
OURS = ("loop", "graph", "graph, NCHW", "loop, compiled", "graph, compiled")
WAYS = (*OURS, "diffusers")
PROVIDERS = tuple(f"{way}, {precision}" for precision in PRECISIONS for way in WAYS)
BATCHES = {"tiny": (16, 64), "small": (64,), "paper": (64,)}
D, SIDE = 16, 32
_STEPS = 8  # of which the first few run before the capture
_TRAINED = 15  # steps of one call
LIMITS = {"float32": 1e-3, "bfloat16": 0.1}


def cases() -> list[Case]:
    """Return the cases of the group."""
    found = []
    for preset, batches in BATCHES.items():
        for batch in batches:
            found.append(
                Case(
                    "gpu_diffusion",
                    f"sampling step, {preset}, {batch} of {SIDE} x {SIDE}, D={D}",
                    PROVIDERS,
                    _sampling(preset, batch),
                    quick=preset == "tiny" and batch == 16,
                    headline=batch == 64,
                )
            )
        found.append(
            Case(
                "gpu_diffusion",
                f"training step, {preset}, D={D}",
                PROVIDERS,
                _training(preset),
                quick=preset == "tiny",
                headline=True,
            )
        )
    return found


@contextlib.contextmanager
def _layout(way: str) -> Iterator[None]:
    """What `way` says of the network's layout, inside a with block."""
    import torch

    from hud_fast.diffusion import network

    before = network.ON_CUDA
    if "NCHW" in way:
        network.ON_CUDA = torch.contiguous_format
    try:
        yield
    finally:
        network.ON_CUDA = before


def _providers(make: Callable[[str, str], Run]) -> dict[str, Run | Missing]:
    """Every way in every precision; what compiles only where that was asked for."""
    runs: dict[str, Run | Missing] = {}
    for precision in PRECISIONS:
        for way in OURS:
            if "compiled" in way and not compiles():
                why = Missing("left out here: it compiles for half a minute (--compile)", "part")
                runs[f"{way}, {precision}"] = why
                continue
            try:
                with _layout(way):
                    runs[f"{way}, {precision}"] = make(way, precision)
            except Exception as error:  # one way that fails leaves the others to be timed
                if way == "graph":
                    raise
                words = " ".join(str(error).split())[:200]
                runs[f"{way}, {precision}"] = Missing(
                    f"failed: {type(error).__name__}: {words}", "part"
                )
    return runs


def _kind(way: str) -> Any:
    return "ours" if way == "graph" else "part"


def _sampling(preset: str, batch: int) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        import torch
        from torch import nn

        from hud_fast.diffusion.network import build_network, place
        from hud_fast.diffusion.presets import resolve_preset
        from hud_fast.diffusion.sampling import Denoising, plan
        from hud_fast.diffusion.schedule import NoiseSchedule

        count, side = (2, 8) if quick and rehearsing() else (batch, SIDE)
        network = build_network(resolve_preset(preset), D).eval().requires_grad_(False)
        draw = torch.Generator().manual_seed(0)
        nn.init.normal_(network.unet.conv_out.weight, std=0.02, generator=draw)
        place(network, device())
        steps = plan(NoiseSchedule(), sampler="ddpm", steps=_STEPS)

        def loop(way: str, precision: str) -> Denoising:
            called: Any = network
            if "NCHW" in way:
                called = copy.deepcopy(network)
                place(called, device())
            if "compiled" in way:
                called = torch.compile(network, dynamic=False)
            return Denoising(
                called,
                steps,
                count,
                (D, side, side),
                seed=0,
                precision=precision,
                capture="graph" in way and not rehearsing(),
            )

        @torch.no_grad()
        def result(made: Denoising) -> Any:
            made.start(0)
            for _ in steps:
                made()
            return made.z.clone()

        truth = result(loop("loop", "float32"))

        def provider(way: str, precision: str) -> Run:
            made = loop(way, precision)
            got = result(made)  # before anything is timed: warms up and captures

            @torch.no_grad()
            def call(_: int) -> Any:
                with _layout(way):
                    made.index.zero_()  # any step costs the same
                    made()

            def error(_: Any) -> float:
                return float((got - truth).abs().max() / truth.std())

            return Run(call, items=count, kind=_kind(way), error=error, limit=LIMITS[precision])

        runs = _providers(provider)
        for precision in PRECISIONS:
            runs[f"diffusers, {precision}"] = _diffusers(network, (count, D, side, side), precision)
        facts = {"batch": count, "parameters": network.parameter_count}
        return Bench("sample", runs, facts)

    return make


def _diffusers(network: Any, shape: tuple[int, ...], precision: str) -> Run:
    """A step as diffusers' own pipelines do it: the network, then DDPMScheduler.step with its own noise."""
    import torch
    from diffusers import DDPMScheduler

    from hud_fast.diffusion.network import predict

    schedule: Any = DDPMScheduler(num_train_timesteps=1000, clip_sample=False)  # type: ignore[no-untyped-call]
    schedule.set_timesteps(1000)
    z, t = torch.randn(shape, device=device()), schedule.timesteps[500]

    @torch.no_grad()
    def call(_: int) -> Any:
        noise = predict(network, z, t.to(device()), precision)
        return schedule.step(noise, t, z).prev_sample

    return Run(call, items=shape[0], kind="peer", note="eager")


def _training(preset: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        from dataclasses import replace

        import torch

        from hud_fast.diffusion.crops import CropSampler
        from hud_fast.diffusion.network import build_network
        from hud_fast.diffusion.presets import resolve_preset
        from hud_fast.diffusion.training import Trainer

        settings, count = resolve_preset(preset), _TRAINED
        if quick and rehearsing():
            settings, count = replace(settings, batch=2, crop=8), 1
        draw = torch.Generator().manual_seed(0)
        z = torch.randn(D, 145, 145, generator=draw).to(device())
        first = build_network(settings, D)

        def provider(way: str, precision: Any) -> Run:
            chosen = replace(settings, precision=precision, compile="compiled" in way)
            crops = CropSampler(z, np.ones((145, 145), bool), crop=settings.crop)
            network = copy.deepcopy(first)
            trainer = Trainer(network, crops, chosen, seed=0, capture="graph" in way)
            for _ in range(1 if rehearsing() else 5):  # warms up and captures
                trainer.step()

            def call(_: int) -> Any:
                with _layout(way):
                    for _ in range(count):
                        trainer.step()

            items = count * settings.batch
            return Run(call, items=items, kind=_kind(way), note=f"{count} steps a call")

        return Bench("sample", _providers(provider), {"batch": settings.batch})

    return make
