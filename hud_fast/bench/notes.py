"""Group ``notes``: choices of the package that rest on a timing, so that the timing can be had again.

* the network's memory layout on the CPU (`hud_fast.diffusion.network.memory_format`);
* how many samples go through the network at once (`hud_fast.diffusion.sampling.CPU_GROUP`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hud_fast.bench.case import Bench, Case, Run

BATCHES = (1, 4, 16)
LAYOUTS = ("channels first", "channels last")
TRAINED = 8  # samples of one training step
PROVIDERS = (
    *(f"{layout}, {batch} at once" for batch in BATCHES for layout in LAYOUTS),
    *(f"{layout}, trained" for layout in LAYOUTS),
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

        from hud_fast.diffusion.network import build_network
        from hud_fast.diffusion.presets import resolve_preset

        runs: dict[str, Any] = {}
        side = 8 if quick else 32
        for layout in LAYOUTS:
            form = torch.channels_last if layout == "channels last" else torch.contiguous_format
            network = build_network(resolve_preset(preset), D).eval()
            for parameter in network.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.to(memory_format=form)
            for batch in BATCHES:
                draw = torch.Generator().manual_seed(0)
                z = torch.randn(batch, D, side, side, generator=draw).to(memory_format=form)
                runs[f"{layout}, {batch} at once"] = Run(
                    _step(network, z), items=batch, kind="ours"
                )
            z = torch.randn(TRAINED, D, side, side, generator=torch.Generator().manual_seed(0))
            call = _training(network, z.to(memory_format=form))
            note = "forward and backward"
            runs[f"{layout}, trained"] = Run(call, items=TRAINED, kind="ours", note=note)
        return Bench("sample", runs)

    return make


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
