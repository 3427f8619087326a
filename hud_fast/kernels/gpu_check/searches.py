"""What is asked of the CUDA kernels: FCLS around its groups of lanes, searches in every band and in few, both ways of
looking up windows. The same functions run on a GPU and, on the CPU, in the emulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hud_fast.kernels import _fcls_cuda, cosine_max, fcls, window_search
from hud_fast.kernels._cosine_launch import emulated, on_cuda
from hud_fast.kernels._cosine_tiles import TileSearch
from hud_fast.kernels._window_cuda import DeviceWindowScene
from hud_fast.kernels.gpu_check.cases import CPU, draw, put
from hud_fast.kernels.gpu_check.examine import Case, Results

_ABUNDANCE = 1e-9  # as tests/gpu/test_fcls.py
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


# Endmembers, bands, pixels, dtype, offset, and the problem: a thread a pixel, groups of 8 to 32 lanes, the active set.
FCLS = (
    (9, 91, 333, torch.float32, 1, {}),
    (16, 80, 257, torch.float64, 0, {}),
    (5, 30, 129, torch.float64, 1, {"sum_to_one": False}),
    (24, 91, 133, torch.float32, 0, {"shade": True}),
    (40, 100, 97, torch.float64, 0, {}),
    (70, 120, 33, torch.float64, 0, {}),
)


def unmixings(device: torch.device) -> Iterator[Case]:
    """fcls: abundances, residual, gap and status of every pixel."""
    for D, C, P, dtype, offset, options in FCLS:
        A = _endmembers(D, C)
        y = put(_simplex(P, D, 1) @ A + 0.02 * draw((P, C), 2), dtype, device, offset)
        kind = {"sum_to_one": True, "shade": False, **options}
        known = fcls(y.cpu().double(), A, **options, return_status=True, backend=CPU)
        tables = _fcls_cuda.prepare(A, **kind, device=device)

        def call(y: Tensor = y, tables: _fcls_cuda.GroupTables = tables) -> Results:
            to = _fcls_cuda.results(y, tables, True)
            _fcls_cuda.solve(y, tables, to, chunk=100)
            return tuple(t for t in to if t is not None)

        rounding = 6e-8 if dtype == torch.float32 else 0.0
        yield Case(
            f"{D} endmembers, {P} pixels of {C} bands, {dtype}, {options or 'FCLS'}",
            call,
            (
                known.abundances,
                known.residual,
                torch.zeros_like(known.gap),
                torch.zeros_like(known.status),
            ),
            (
                _ABUNDANCE + rounding * known.abundances,
                1e-9 * known.residual + 1e-13,
                torch.full_like(known.gap, _GAP),
                torch.zeros_like(known.status),
            ),
            (y,),
            lambda call=call: call,
        )


# Queries, rows, bands, dtype, offset, what the keys are made of.
COSINES = (
    (129, 257, 31, torch.float32, 1, "bands"),
    (300, 1000, 40, torch.float32, 0, "span"),
    (130, 700, 40, torch.float64, 1, "auto"),
    (60, 300, 103, torch.float64, 0, "bands"),
    (30, 200, 224, torch.float32, 0, "bands"),
)


def nearest(device: torch.device) -> Iterator[Case]:
    """cosine_max: scattered spectra in all bands, mixtures in few numbers, copies that tie."""
    launcher = on_cuda(device) if device.type == "cuda" else emulated()
    for Q, P, C, dtype, offset, plan in COSINES:
        if plan == "bands":
            query, rows = draw((Q, C), 1).abs(), draw((P, C), 2).abs()
        else:
            A = _endmembers(4, C)
            query = _simplex(Q, 4, 1) @ A
            rows = _simplex(P, 4, 2) @ A + 2e-3 * draw((P, C), 3)
        rows[P // 2 : P // 2 + 20] = rows[:20]  # copies: the lowest row wins
        query[: min(Q, 10)] = rows[: min(Q, 10)]
        q, u = put(query, dtype, device, offset), put(rows, dtype, device, offset)
        truth = cosine_max(q.cpu().double(), u.cpu().double(), backend=CPU)

        def call(q: Tensor = q, u: Tensor = u, plan: str = plan) -> Results:
            return TileSearch(q, u, launcher, plan=plan).run(q)

        def launch(
            q: Tensor = q, u: Tensor = u, plan: str = plan
        ) -> Callable[[], Results]:
            ready = TileSearch(q, u, launcher, plan=plan)
            return lambda: ready.run(q)

        yield Case(
            f"{Q} queries among {P} rows of {C} bands, {dtype}, {plan}",
            call,
            truth,
            (torch.full_like(truth[0], _COSINE), torch.zeros_like(truth[1])),
            (q,),
            launch,
        )


# Blocks, their side, the scene, bands, dtype, offset, options: by transforms where windows are many, else directly.
WINDOWS = (
    (5, (9, 8), (60, 70), 6, torch.float32, 1, {}),
    (3, (9, 9), (40, 44), 17, torch.float64, 0, {"norm": "block"}),
    (4, (3, 3), (31, 29), 5, torch.float32, 0, {"stride": 2}),
    (2, (12, 7), (64, 33), 9, torch.float64, 1, {"stride": 5, "norm": "block"}),
)


def windows(device: torch.device) -> Iterator[Case]:
    """window_search: the value and the place of every block's best window."""
    run = "cuda" if device.type == "cuda" else "emulated"
    for B, (h, w), (H, W), C, dtype, offset, options in WINDOWS:
        scene = put(draw((H, W, C), 1).abs() + 0.1, dtype, device, offset)
        values = draw((B, h, w, C), 2).abs() + 0.1
        values[0] = scene[3 : 3 + h, 5 : 5 + w].cpu().double() * 2
        blocks = put(values, dtype, device, offset)
        truth = window_search(
            blocks.cpu().double(), scene.cpu().double(), **options, backend=CPU  # type: ignore[arg-type]
        )

        def launch(
            blocks: Tensor = blocks,
            scene: Tensor = scene,
            options: dict[str, object] = options,
            sides: tuple[int, int] = (h, w),
        ) -> Callable[[], Results]:
            ready = DeviceWindowScene(scene, sides, blocks.dtype, run=run, **options)  # type: ignore[arg-type]
            return lambda: ready.search(blocks)

        def call(launch: Callable[[], Callable[[], Results]] = launch) -> Results:
            return launch()()

        yield Case(
            f"{B} blocks of {h} x {w} in {H} x {W} pixels of {C} bands, {dtype}, {options or 'pixel'}",
            call,
            truth,
            (torch.full_like(truth[0], _WINDOW), torch.zeros_like(truth[1])),
            (blocks,),
            launch,
        )


CASES: dict[str, Callable[[torch.device], Iterator[Case]]] = {
    "fcls": unmixings,
    "cosine_max": nearest,
    "window_search": windows,
}
