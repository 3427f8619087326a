"""Group ``notes``: choices of the package that rest on a timing, so that the timing can be had again.

* the network's layers on the CPU, by the package's kernels or by torch's (`hud_fast.diffusion.layers`);
* how many samples go through the network at once (`hud_fast.diffusion.sampling.CPU_GROUP`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from hud_fast.bench.case import Bench, Case, Run

BATCHES = (1, 4, 16)
LAYERS = {"our layers": "cpu", "torch's layers": "torch"}  # and what HUD_FAST_BACKEND says for them
TRAINED = 8  # samples of one training step
PROVIDERS = (
    *(f"{layers}, {batch} at once" for batch in BATCHES for layers in LAYERS),
    *(f"{layers}, trained" for layers in LAYERS),
)
D = 16


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case("notes", f"network, preset {preset}, D={D}, 32 x 32", PROVIDERS, _make(preset))
        for preset in ("tiny", "small")
    ]


def _make(preset: str) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        import torch

        from hud_fast.diffusion.network import build_network, memory_format
        from hud_fast.diffusion.presets import resolve_preset

        runs: dict[str, Any] = {}
        side = 8 if quick else 32
        network = build_network(resolve_preset(preset), D).eval()

        def drawn(count: int) -> torch.Tensor:
            z = torch.randn(count, D, side, side, generator=torch.Generator().manual_seed(0))
            return z.to(memory_format=memory_format(z.device))

        for layers, backend in LAYERS.items():
            for batch in BATCHES:
                call = _by(backend, _step(network, drawn(batch)))
                runs[f"{layers}, {batch} at once"] = Run(call, items=batch, kind="ours")
            call = _by(backend, _training(network, drawn(TRAINED)))
            note = "forward and backward"
            runs[f"{layers}, trained"] = Run(call, items=TRAINED, kind="ours", note=note)
        return Bench("sample", runs)

    return make


def _by(backend: str, call: Callable[[int], Any]) -> Callable[[int], Any]:
    def run(count: int) -> Any:
        with patch.dict(os.environ, {"HUD_FAST_BACKEND": backend}):
            return call(count)

    return run


def _step(network: Any, z: Any) -> Callable[[int], Any]:
    import torch

    def call(_: int) -> Any:
        with torch.no_grad():
            return network(z, torch.tensor(500))

    return call


def _training(network: Any, z: Any) -> Callable[[int], Any]:
    import torch

    def call(_: int) -> Any:
        network.zero_grad(set_to_none=True)
        network(z, torch.full((len(z),), 500)).square().mean().backward()

    return call
