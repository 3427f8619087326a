"""What is asked of the CUDA kernels: FCLS around its groups of lanes, searches in every band and in few, both ways of
looking up windows. The same functions run on a GPU and, on the CPU, in the emulation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels import cosine_max, fcls, window_search
from hud_fast.kernels.cosine.device import TileSearch
from hud_fast.kernels.cosine.launch import emulated, on_cuda
from hud_fast.kernels.fcls import device as fcls_device
from hud_fast.kernels.gpu_check.cases import CPU, Cases, draw, put
from hud_fast.kernels.gpu_check.examine import Case, Results
from hud_fast.kernels.windows import prepare

Options = dict[str, Any]
_ABUNDANCE = 1e-9  # as tests/kernels/fcls/test_device.py
_GAP = 1e-12
_COSINE = 1e-14
_WINDOW = 1e-11


def _simplex(count: int, D: int, seed: int) -> Tensor:
    """Shares that sum to 1, many of them small."""
    weights = draw((count, D), seed).mul(2).exp()
    return weights / weights.sum(1, keepdim=True)


def _endmembers(D: int, C: int) -> Tensor:
    """Smooth positive spectra, all different."""
    t = torch.linspace(0, 1, C, dtype=torch.float64)
    waves = torch.stack([torch.sin((k + 1) * 3 * t + k) / (k + 1) for k in range(6)])
    return (0.5 + 0.1 * draw((D, 6), 5) @ waves + 0.02 * draw((D, C), 6)).abs()


# Endmembers, bands, pixels, dtype, offset, the problem: a thread a pixel, groups of 8 to 32 lanes, the active set.
FCLS: tuple[tuple[int, int, int, torch.dtype, int, Options], ...] = (
    (9, 91, 333, torch.float32, 1, {}),
    (16, 80, 257, torch.float64, 0, {}),
    (5, 30, 129, torch.float64, 1, {"sum_to_one": False}),
    (24, 91, 133, torch.float32, 0, {"shade": True}),
    (40, 100, 97, torch.float64, 0, {}),
    (70, 120, 33, torch.float64, 0, {}),
)


def _unmixing(
    device: torch.device, D: int, C: int, P: int, dtype: torch.dtype, offset: int, options: Options
) -> Case:
    """Abundances, residual, gap and status of every pixel, with endmembers factored on the CPU before."""
    A = _endmembers(D, C)
    y = put(_simplex(P, D, 1) @ A + 0.02 * draw((P, C), 2), dtype, device, offset)
    known = fcls(y.cpu().double(), A, **options, return_status=True, backend=CPU)
    problem = {"sum_to_one": True, "shade": False, **options}
    tables = fcls_device.prepare(A, **problem, device=device)

    def call() -> Results:
        to = fcls_device.results(y, tables, True)
        fcls_device.solve(y, tables, to, chunk=100)
        return tuple(t for t in to if t is not None)

    rounding = 6e-8 if dtype == torch.float32 else 0.0
    none = torch.zeros_like(known.gap)
    right = torch.zeros_like(known.status)
    return Case(
        f"{D} endmembers, {P} pixels of {C} bands, {dtype}, {options or 'FCLS'}",
        lambda: call,
        (known.abundances, known.residual, none, right),
        (
            _ABUNDANCE + rounding * known.abundances,
            1e-9 * known.residual + 1e-13,
            none + _GAP,
            right,
        ),
        (y,),
    )


# Queries, rows, bands, dtype, offset, what the keys are made of.
COSINES = (
    (129, 257, 31, torch.float32, 1, "bands"),
    (300, 1000, 40, torch.float32, 0, "span"),
    (130, 700, 40, torch.float64, 1, "auto"),
    (60, 300, 103, torch.float64, 0, "bands"),
    (30, 200, 224, torch.float32, 0, "bands"),
)


def _nearest(
    device: torch.device, Q: int, P: int, C: int, dtype: torch.dtype, offset: int, plan: str
) -> Case:
    """Scattered spectra in all bands, or mixtures in few numbers; queries that are rows, and rows that are copies."""
    launcher = on_cuda(device) if device.type == "cuda" else emulated()
    if plan == "bands":
        query, rows = draw((Q, C), 1).abs(), draw((P, C), 2).abs()
    else:
        A = _endmembers(4, C)
        query = _simplex(Q, 4, 1) @ A
        rows = _simplex(P, 4, 2) @ A + 2e-3 * draw((P, C), 3)
        rows[: Q // 8] = query[: Q // 8]
    rows[P // 2 : P // 2 + 20] = rows[:20]  # the lowest row wins
    q, u = put(query, dtype, device, offset), put(rows, dtype, device, offset)
    truth = cosine_max(q.cpu().double(), u.cpu().double(), backend=CPU)

    def ready() -> Callable[[], Results]:
        search = TileSearch(q, u, launcher, plan=plan)
        return lambda: search.run(q)

    near = torch.full_like(truth[0], _COSINE), torch.zeros_like(truth[1])
    what = f"{Q} queries among {P} rows of {C} bands, {dtype}, {plan}"
    return Case(what, ready, truth, near, (q,))


# Blocks, their sides, the scene, bands, dtype, offset, options: by transforms where windows are many, else directly.
WINDOWS: tuple[
    tuple[int, tuple[int, int], tuple[int, int], int, torch.dtype, int, Options], ...
] = (
    (5, (9, 8), (60, 70), 6, torch.float32, 1, {}),
    (3, (9, 9), (40, 44), 17, torch.float64, 0, {"norm": "block"}),
    (4, (3, 3), (31, 29), 5, torch.float32, 0, {"stride": 2}),
    (2, (12, 7), (64, 33), 9, torch.float64, 1, {"stride": 5, "norm": "block"}),
)


def _windows(
    device: torch.device,
    B: int,
    block: tuple[int, int],
    size: tuple[int, int],
    C: int,
    dtype: torch.dtype,
    offset: int,
    options: Options,
) -> Case:
    """The value and the place of every block's best window; the first block is one of them, twice as bright."""
    h, w = block
    scene = put(draw((*size, C), 1).abs() + 0.1, dtype, device, offset)
    values = draw((B, h, w, C), 2).abs() + 0.1
    values[0] = 2 * scene[3 : 3 + h, 5 : 5 + w].cpu().double()
    blocks = put(values, dtype, device, offset)
    truth = window_search(blocks.cpu().double(), scene.cpu().double(), **options, backend=CPU)
    backend = "cuda" if device.type == "cuda" else "emulated"

    def ready() -> Callable[[], Results]:
        made = prepare(scene, block, dtype, backend=backend, **options)
        return lambda: made.search(blocks)

    near = torch.full_like(truth[0], _WINDOW), torch.zeros_like(truth[1])
    what = f"{B} blocks of {h} x {w} in {size[0]} x {size[1]} pixels of {C} bands, {dtype}, {options or 'pixel'}"
    return Case(what, ready, truth, near, (blocks,))


CASES: dict[str, Cases] = {
    "fcls": lambda device: (_unmixing(device, *row) for row in FCLS),
    "cosine_max": lambda device: (_nearest(device, *row) for row in COSINES),
    "window_search": lambda device: (_windows(device, *row) for row in WINDOWS),
}
