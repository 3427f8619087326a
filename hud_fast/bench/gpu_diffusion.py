"""Group ``gpu_diffusion``: one step of sampling and of training, launch by launch and as a CUDA graph.

Errors of sampling are the distance of a few steps' result from the float32 loop's, relative to its spread: a graph
must give the loop's own samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hud_fast.bench.case import Bench, Case, Run
from hud_fast.bench.gpu import device, rehearsing

PRECISIONS = ("float32", "bfloat16")
WAYS = ("loop", "graph")
PROVIDERS = tuple(f"{way}, {precision}" for precision in PRECISIONS for way in WAYS)
BATCHES = {"tiny": (16, 64), "small": (64,), "paper": (64,)}
D, SIDE = 16, 32
_STEPS = 8  # of which the first few run before the capture
LIMITS = {"float32": 1e-3, "bfloat16": 0.1}


def cases() -> list[Case]:
    """Return the cases of the group."""
    found = []
    for preset, batches in BATCHES.items():
        for batch in batches:
            name = f"sampling step, {preset}, {batch} of {SIDE} x {SIDE}, D={D}"
            quick = preset == "tiny" and batch == 16
            found.append(
                Case("gpu_diffusion", name, PROVIDERS, _sampling(preset, batch), quick=quick)
            )
        name = f"training step, {preset}, D={D}"
        found.append(
            Case("gpu_diffusion", name, PROVIDERS, _training(preset), quick=preset == "tiny")
        )
    return found


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
            return Denoising(
                network,
                steps,
                count,
                (D, side, side),
                seed=0,
                precision=precision,
                capture=way == "graph" and not rehearsing(),
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
                made.index.zero_()  # any step costs the same
                made()

            def error(_: Any) -> float:
                return float((got - truth).abs().max() / truth.std())

            return Run(call, items=count, kind=_kind(way), error=error, limit=LIMITS[precision])

        runs = {f"{way}, {p}": provider(way, p) for p in PRECISIONS for way in WAYS}
        return Bench("sample", runs, {"batch": count, "parameters": network.parameter_count})

    return make


def _training(preset: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        from dataclasses import replace

        import torch

        from hud_fast.diffusion.crops import CropSampler
        from hud_fast.diffusion.network import build_network
        from hud_fast.diffusion.presets import resolve_preset
        from hud_fast.diffusion.training import Trainer

        settings = resolve_preset(preset)
        if quick and rehearsing():
            settings = replace(settings, batch=2, crop=8)
        draw = torch.Generator().manual_seed(0)
        z = torch.randn(D, 145, 145, generator=draw).to(device())

        def provider(way: str, precision: Any) -> Run:
            chosen = replace(settings, precision=precision)
            crops = CropSampler(z, np.ones((145, 145), bool), crop=settings.crop)
            network = build_network(chosen, D)
            trainer = Trainer(network, crops, chosen, seed=0, capture=way == "graph")
            for _ in range(5):
                trainer.step()

            def call(_: int) -> Any:
                trainer.step()

            return Run(call, items=settings.batch, kind=_kind(way))

        runs = {f"{way}, {p}": provider(way, p) for p in PRECISIONS for way in WAYS}
        return Bench("sample", runs, {"batch": settings.batch})

    return make
