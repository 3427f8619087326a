"""Group ``gpu_memory``: how fast the device's memory is, and a launch: what every GPU figure is read against.

Bytes are those read and those written, both counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hud_fast.bench.case import Bench, Case, Run
from hud_fast.bench.gpu import device

BYTES, BYTES_SMALL = 1 << 32, 1 << 22  # of one array: many times any card's cache
_BATCH = 64 * 16 * 32 * 32 * 4  # bytes of a batch of latents


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case("gpu_memory", "scene size", ("copy", "read", "write"), _scene, quick=True),
        Case("gpu_memory", "batch size", ("copy", "read", "write"), _batch, quick=True),
    ]


def _scene(quick: bool) -> Bench:
    return _bench(BYTES_SMALL if quick else BYTES)


def _batch(quick: bool) -> Bench:
    return _bench(BYTES_SMALL if quick else _BATCH)


def _bench(count: int) -> Bench:
    import torch

    source = torch.ones(count // 4, device=device())
    target = torch.empty_like(source)

    def copied(result: Any) -> float:
        return float((result - 1).abs().max())

    def run(call: Callable[[int], Any], moved: int, error: Any = None) -> Run:
        return Run(call, items=moved, kind="floor", error=error, limit=0.0)

    return Bench(
        "byte",
        {
            "copy": run(lambda _: target.copy_(source), 2 * count, copied),
            "read": run(lambda _: source.amax(), count),
            "write": run(lambda _: target.fill_(1.0), count, copied),
        },
        {"bytes": count},
    )
