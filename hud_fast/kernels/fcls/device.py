"""FCLS for groups of threads: the CUDA kernels on a GPU's tensors, their emulation on the CPU's.

`prepare` factors the endmembers on the CPU and copies the tables to the device in one piece; it waits for the device.
`solve` only launches: with tables prepared before and results given, a CUDA graph can capture it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hud_fast.kernels._backend import on_stream
from hud_fast.kernels._native import C
from hud_fast.kernels.fcls.reference import reduce_problem
from hud_fast.kernels.fcls.tables import fcls_tables

_MOST_PIXELS = 1 << 26  # of one launch: the list of those that the rounds leave takes 8 bytes each


class GroupTables(NamedTuple):
    """A problem's tables on the device of its pixels."""

    memory: Tensor  # uint8: all of them, one after another
    job: dict[str, Any]  # views of it, sizes and numbers, as csrc/fcls/bind_device.h reads them
    kept: int  # abundances of a pixel
    units: int  # multiprocessors


class Solution(NamedTuple):
    """Where results go; the last three None where nobody wants them."""

    abundances: Tensor  # (P, D)
    residual: Tensor | None
    gap: Tensor | None
    status: Tensor | None


def prepare(
    endmembers: Tensor,  # (D, C), on any device
    sum_to_one: bool,
    shade: bool,
    device: torch.device,
) -> GroupTables:
    """Factor on the CPU, and bring the tables to `device`."""
    wanted = endmembers.detach().cpu()
    problem = reduce_problem(wanted, sum_to_one, shade)
    tables = fcls_tables(problem, sum_to_one)
    parts = {
        "centre": problem.centre,
        "basis": tables.basis,
        "columns": tables.columns,
        "centred": problem.centred,
        "columns_t": tables.columns_t,
        "gram": tables.gram,
        "gram32": tables.gram.float(),
        "start": tables.start,
        "start_offset": tables.start_offset,
    }
    pieces, at, views = [], 0, {}
    for name, part in parts.items():
        piece = part.contiguous().numpy().reshape(-1).view(np.uint8)
        room = -(-piece.size // 256) * 256
        views[name] = slice(at, at + piece.size)
        pieces.append(np.pad(piece, (0, room - piece.size)))
        at += room
    memory = torch.from_numpy(np.concatenate(pieces)).to(device)
    units = 1
    if device.type == "cuda":
        units = torch.cuda.get_device_properties(device).multi_processor_count
    job = {
        **{name: memory[view].view(parts[name].dtype) for name, view in views.items()},
        "scale": problem.scale,
        "column_max": problem.column_max,
        "sum_to_one": sum_to_one,
        "endmembers": tables.columns.shape[0],
        "rank": tables.columns.shape[1],
        "bands": wanted.shape[1],
        "padded": tables.gram.shape[1] if tables.gram.ndim == 2 else 0,
        "per_freedom": tables.per_freedom,
        "refine": tables.refine,
        "kept": wanted.shape[0],
    }
    return GroupTables(memory, job, wanted.shape[0], units)


def results(pixels: Tensor, tables: GroupTables, status: bool) -> Solution:
    """Empty results for `pixels`."""
    P = pixels.shape[0]
    abundances = pixels.new_empty(P, tables.kept)
    if not status:
        return Solution(abundances, None, None, None)
    return Solution(
        abundances,
        pixels.new_empty(P, dtype=torch.float64),
        pixels.new_empty(P, dtype=torch.float64),
        pixels.new_empty(P, dtype=torch.int8),
    )


def plan(pixels: Tensor, tables: GroupTables, chunk: int = 0) -> dict[str, int]:
    """How the launcher cuts up this job; ``chunk=0`` takes the chunk it likes best."""
    return dict(C.fcls_plan(tables.job, pixels.shape[0], tables.units, chunk))


def solve(pixels: Tensor, tables: GroupTables, to: Solution, *, chunk: int = 0) -> tuple[int, int]:
    """Launch on the current stream, or emulate.

    Returns the number of pixels that rounds solved and that the monotone active set solved, from the emulation; a
    device does not tell: (0, 0).
    """
    rounds = alone = 0
    for start in range(0, pixels.shape[0], _MOST_PIXELS):
        part = slice(start, start + _MOST_PIXELS)
        some = pixels[part]
        job = _job(some, tables, Solution(*(None if t is None else t[part] for t in to)))  # type: ignore[arg-type]
        size = plan(some, tables, chunk)["bytes"]
        # Freed on return, reused in the stream's order: nobody else gets it before the kernels are done.
        job["scratch"] = torch.empty(size, dtype=torch.uint8, device=pixels.device)
        if pixels.is_cuda:
            C.cuda_fcls(job, tables.units, chunk, *on_stream(pixels))
        else:
            ways = C.emulated_fcls(job, tables.units, chunk)
            rounds, alone = rounds + ways[0], alone + ways[1]
    return rounds, alone


def _job(pixels: Tensor, tables: GroupTables, to: Solution) -> dict[str, Any]:
    return {**tables.job, "pixels": pixels, **to._asdict()}
