"""The kernels of the tile search (csrc/cosine/device_search.h): on a GPU, or emulated on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels._backend import on_stream
from hud_fast.kernels._native import C

Job = dict[str, Any]


@dataclass(frozen=True)
class Launcher:
    """The kernels of one device."""

    name: str  # what `last_backend` says
    row_inverse: Callable[[Tensor, Tensor], None]
    pack: Callable[[Job], None]
    search: Callable[[Job], None]
    shared: int  # bytes of shared memory of a block


def emulated(shared: int = C.cosine_most_shared) -> Launcher:
    """The kernels' source on the CPU, their threads emulated: for tests."""

    def row_inverse(rows: Tensor, inverse: Tensor) -> None:
        C.emulated_row_inverse({"rows": rows, "inverse": inverse})

    return Launcher(
        "emulated",
        row_inverse,
        C.emulated_cosine_pack,
        lambda job: C.emulated_cosine_max(job, shared),
        shared,
    )


def on_cuda(device: torch.device) -> Launcher:
    """The kernels on a GPU and its current stream."""
    on = torch.empty(0, device=device)

    def row_inverse(rows: Tensor, inverse: Tensor) -> None:
        C.cuda_row_inverse({"rows": rows, "inverse": inverse}, *on_stream(rows))

    return Launcher(
        "cuda",
        row_inverse,
        lambda job: C.cuda_cosine_pack(job, *on_stream(on)),
        lambda job: C.cuda_cosine_max(job, *on_stream(on)),
        C.cuda_shared_limit(on.device.index),
    )


@lru_cache
def most_depth(shared: int) -> int:
    """Longest padded key that a block of so much shared memory can hold."""
    depth: int = C.cosine_most_depth
    while depth > 16 and C.cosine_plan_bytes(depth, shared) > shared:
        depth -= 16
    return depth


def inverse_norms(rows: Tensor, launcher: Launcher) -> Tensor:  # (n,) float64
    """1 / norm; 0 for a zero row, NaN for one that is not finite."""
    inverse = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    if len(rows):
        launcher.row_inverse(rows, inverse)
    return inverse
