"""Group ``gpu_simplex``: log-projection and softmax on the GPU, forward and backward, against torch and a copy.

A scene is 1 GiB an array, many times any card's cache; a batch is 64 latent maps of 16 x 32 x 32. Backward calls are
the gradient's formula alone, without autograd: torch's is its own fused kernel where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hud_fast.bench import truth
from hud_fast.bench.case import Bench, Case, Kind, Missing, Run
from hud_fast.bench.gpu import compiles, device, rehearsing

PROVIDERS = ("triton", "cuda", "torch", "torch-compile", "copy")
SIDE, BATCH = 32, 64
BYTES, BYTES_SMALL = 1 << 30, 1 << 17
LIMITS = {"float32": 1e-5, "bfloat16": 2e-2}
JUDGED = {2: 2048, 4: 2}  # rows; maps of 1024 lines each
# size, layout, dtype, D
WORK = (
    ("scene", "maps", "float32", 16),
    ("scene", "maps", "bfloat16", 16),
    ("scene", "rows", "float32", 16),
    ("scene", "rows", "float32", 9),
    ("batch", "maps", "float32", 16),
    ("batch", "maps", "bfloat16", 16),
)


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case(
            "gpu_simplex",
            f"{operation} {direction}, {size}, {layout} {dtype} D={D}",
            PROVIDERS,
            _make(operation, direction, size, layout, dtype, D),
            quick=size == "scene" and dtype == "float32",
            headline=size == "scene" and layout == "maps" and dtype == "float32",
        )
        for operation in ("log_project", "simplex_softmax")
        for direction in ("forward", "backward")
        for size, layout, dtype, D in WORK
    ]


def backend() -> str:
    """Of the provider `triton`: in a rehearsal without Triton's interpreter the CPU kernels take its place."""
    from hud_fast.kernels import can_run

    return "triton" if can_run("triton", device=device()) else "cpu"


def maps_of(size: str, dtype: str, D: int, quick: bool) -> tuple[int, int, int, int]:
    """Shape (B, D, 32, 32) of the maps."""
    import torch

    if size == "batch" and not (quick and rehearsing()):
        return (BATCH, D, SIDE, SIDE)
    count = (BYTES_SMALL if quick and rehearsing() else BYTES) // getattr(torch, dtype).itemsize
    return (max(1, count // (D * SIDE * SIDE)), D, SIDE, SIDE)


def on_host(values: Any) -> Any:
    """As float64 NumPy."""
    return values.detach().double().cpu().numpy()


def compiled(function: Any, wanted: bool) -> Any:
    """torch.compile's, or None where nobody asked for it or that would only cost seconds."""
    import torch

    return torch.compile(function, dynamic=False) if wanted and compiles() else None


def bench(
    calls: dict[str, tuple[Kind, Callable[[], Any] | Missing]],
    size: int,
    error: Callable[[Any], float],
    limit: float,
) -> Bench:
    """Providers over the bytes that they must move."""
    runs: dict[str, Run | Missing] = {}
    for name, (kind, call) in calls.items():
        if isinstance(call, Missing):
            runs[name] = call
            continue
        judge = None if kind == "floor" else error
        bound = limit if kind == "ours" else float("inf")
        runs[name] = Run(lambda _, call=call: call(), size, kind, judge, bound)  # type: ignore[misc]
    return Bench("byte", runs, {"bytes": size, "rehearsal": rehearsing()})


def or_missing(function: Any, *inputs: Any) -> Callable[[], Any] | Missing:
    """A call of a compiled function, or why there is none."""
    if function is None:
        return Missing("left out here: it compiles for seconds (--compile)")
    return lambda: function(*inputs)


def _make(
    operation: str, direction: str, size: str, layout: str, dtype: str, D: int
) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        import torch

        shape: tuple[int, ...] = maps_of(size, dtype, D, quick)
        if layout == "rows":
            shape = (shape[0] * SIDE * SIDE, D)
        draw = torch.Generator(device()).manual_seed(0)
        x = torch.rand(shape, generator=draw, device=device()).sub_(0.4).clamp_min_(0)
        x /= x.sum(1, keepdim=True).clamp_min(1e-3)
        if operation == "simplex_softmax":
            x = torch.log(x + 1e-4)
        x = x.to(getattr(torch, dtype))
        compile_it = size == "scene" and layout == "maps" and dtype == "float32"
        work = _forward if direction == "forward" else _backward
        return work(operation, x, dtype, compile_it)

    return make


def _named(call: Callable[[str], Any], dtype: str) -> dict[str, Any]:
    """Our two providers: `call` takes the backend."""
    from hud_fast.kernels import can_run

    ours = backend()
    found: dict[str, Any] = {"triton": ("ours", lambda: call(ours))}
    if dtype not in ("float32", "float64"):
        found["cuda"] = ("ours", Missing("the CUDA kernels take float32 and float64", "part"))
    elif can_run("cuda", device=device()):
        found["cuda"] = ("ours", lambda: call("cuda"))
    else:
        found["cuda"] = ("ours", Missing("no GPU, or a build without CUDA kernels", "part"))
    return found


def _forward(operation: str, x: Any, dtype: str, compile_it: bool) -> Bench:
    import torch

    import hud_fast

    D = x.shape[1]
    delta = float(np.exp(-8.0)) / D
    if operation == "log_project":
        ours: Any = hud_fast.log_project
        formula: Any = lambda x: torch.log(x.clamp_min(0) + delta)  # noqa: E731
        true = truth.log_project(on_host(x[: JUDGED[x.ndim]]), 1)
    else:
        ours = hud_fast.simplex_softmax
        formula = lambda x: torch.softmax(x, 1)  # noqa: E731
        true = truth.softmax(on_host(x[: JUDGED[x.ndim]]), 1)
    target = torch.empty_like(x)
    calls: dict[str, Any] = {
        **_named(lambda name: ours(x, 1, backend=name), dtype),
        "torch": ("peer", lambda: formula(x)),
        "torch-compile": ("peer", or_missing(compiled(formula, compile_it), x)),
        "copy": ("floor", lambda: target.copy_(x)),
    }
    return bench(calls, 2 * x.nbytes, _judge(true), LIMITS[dtype])


def _backward(operation: str, x: Any, dtype: str, compile_it: bool) -> Bench:
    import torch

    draw = torch.Generator(device()).manual_seed(1)
    g = torch.randn(x.shape, generator=draw, device=device()).mul_(0.05).to(x.dtype)
    D = x.shape[1]
    delta = float(np.exp(-8.0)) / D
    ops: Any = torch.ops.hud_fast
    gw = on_host(g[: JUDGED[x.ndim]])
    if operation == "log_project":
        saved, extra, op = x, delta, ops.log_project_backward
        xw = on_host(x[: JUDGED[x.ndim]])
        true = np.where(xw < 0, 0, gw / (xw + delta))
        eager: Any = lambda g, x: torch.where(x < 0, 0.0, g / (x + delta))  # noqa: E731
        formula = eager
    else:
        saved, extra, op = torch.softmax(x, 1), 1, ops.simplex_softmax_backward
        yw = on_host(saved[: JUDGED[x.ndim]])
        true = yw * (gw - (gw * yw).sum(1, keepdims=True))
        eager = lambda g, y: torch._softmax_backward_data(g, y, 1, y.dtype)  # noqa: E731
        formula = lambda g, y: y * (g - (g * y).sum(1, keepdim=True))  # noqa: E731
    target = torch.empty_like(x)
    calls: dict[str, Any] = {
        **_named(lambda name: op(g, saved, extra, backend=name), dtype),
        "torch": ("peer", lambda: eager(g, saved)),
        "torch-compile": ("peer", or_missing(compiled(formula, compile_it), g, saved)),
        "copy": ("floor", lambda: torch.add(g, saved, out=target)),
    }
    return bench(calls, 3 * x.nbytes, _judge(true), LIMITS[dtype])


def _judge(true: Any) -> Callable[[Any], float]:
    return lambda found: truth.relative(
        on_host(found[: JUDGED[found.ndim]]), np.asarray(true, np.float64)
    )
