"""Group ``simplex``: log-projection and softmax, forward and backward, against eager torch, torch.compile and memory.

The floor moves the same bytes, 32 MiB an array: a copy for forward (read, write), a sum of two arrays for backward
(read two, write one), into memory that is there already. `clone` is the copy that also asks for its memory, as every
operation does whose result the caller keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.bench import truth
from hud_fast.bench.case import Bench, Case, Missing, Run

PROVIDERS = ("ours", "torch", "torch-compile", "copy", "clone")
SIZES = (3, 4, 9, 16, 32, 64)
DTYPES = ("float32", "float64", "bfloat16", "float16")
LAYOUTS = ("rows", "maps")  # (n, D) band-last; (n, D, 32, 32) channel-first
# Of one array: two of them fill twice the caches of most processors, so that the floor is memory's.
BYTES, BYTES_SMALL = 1 << 25, 1 << 20
LIMITS = {"float32": 1e-5, "float64": 1e-13, "bfloat16": 2e-2, "float16": 4e-3}
_SIDE = 32
_JUDGED = 2048  # lines


def cases() -> list[Case]:
    """Return the cases of the group."""
    return [
        Case(
            "simplex",
            f"{operation} {direction}, {layout} {dtype} D={D}",
            PROVIDERS,
            _make(operation, direction, layout, dtype, D),
            quick=dtype == "float32" and D == 16,
            headline=dtype == "float32" and D == 16 and layout == "maps",
        )
        for operation in ("log_project", "simplex_softmax")
        for direction in ("forward", "backward")
        for layout in LAYOUTS
        for dtype in DTYPES
        for D in SIZES
    ]


def _make(
    operation: str, direction: str, layout: str, dtype: str, D: int
) -> Callable[[bool], Bench]:
    def make(quick: bool) -> Bench:
        import torch

        lines = (BYTES_SMALL if quick else BYTES) // getattr(torch, dtype).itemsize // D
        shape = (lines, D) if layout == "rows" else (max(1, lines // _SIDE**2), D, _SIDE, _SIDE)
        if direction == "forward":
            return _forward(operation, shape, dtype, quick or D != 16 or dtype != "float32")
        return _backward(operation, shape, dtype, quick or D != 16 or dtype != "float32")

    return make


def _values(operation: str, shape: tuple[int, ...], dtype: str) -> Any:
    """Abundances with exact zeros, or z as the log-projection makes it."""
    import torch

    draw = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=draw).sub_(0.4).clamp_min_(0)
    x /= x.sum(1, keepdim=True).clamp_min(1e-3)
    return (torch.log(x + 1e-4) if operation == "simplex_softmax" else x).to(getattr(torch, dtype))


def _functions(operation: str, D: int) -> tuple[Any, Any, Any]:
    """Ours, torch's forward, and the formula of its gradient."""
    import torch

    import hud_fast

    delta = float(np.exp(-8.0)) / D
    if operation == "log_project":
        return (
            hud_fast.log_project,
            lambda x: torch.log(x.clamp_min(0) + delta),
            lambda g, x: torch.where(x < 0, 0.0, g / (x + delta)),
        )
    return (
        hud_fast.simplex_softmax,
        lambda z: torch.softmax(z, 1),
        lambda g, y: y * (g - (g * y).sum(1, keepdim=True)),
    )


def _compiled(function: Any, skip: bool) -> Any:
    import torch

    return None if skip else torch.compile(function, dynamic=False)


def _forward(operation: str, shape: tuple[int, ...], dtype: str, skip_compile: bool) -> Bench:
    import torch

    x = _values(operation, shape, dtype)
    ours, eager, _ = _functions(operation, shape[1])
    part = _narrow(x)
    true = truth.log_project(part, 1) if operation == "log_project" else truth.softmax(part, 1)
    target = torch.empty_like(x)
    compiled = _compiled(eager, skip_compile)
    calls = {
        "ours": lambda _: ours(x, 1),
        "torch": lambda _: eager(x),
        "torch-compile": compiled and (lambda _: compiled(x)),
        "copy": lambda _: target.copy_(x),
        "clone": lambda _: x.clone(),
    }
    return _bench(calls, 2 * x.nbytes, true, dtype, shape)


def _backward(operation: str, shape: tuple[int, ...], dtype: str, skip_compile: bool) -> Bench:
    import torch

    x = _values(operation, shape, dtype)
    ours, eager, formula = _functions(operation, shape[1])
    draw = torch.Generator().manual_seed(1)
    # Small enough that the logarithm's gradient at zero, up to e^8 D times it, stays within float16.
    g = torch.randn(shape, generator=draw).mul_(0.05).to(x.dtype)
    leaf = x.clone().requires_grad_()
    outputs = {"ours": ours(leaf, 1), "torch": eager(leaf)}

    def grad(name: str) -> Callable[[int], Any]:
        return lambda _: torch.autograd.grad(outputs[name], leaf, g, retain_graph=True)[0]

    part, part_g = _narrow(x), _narrow(g)
    if operation == "log_project":
        delta = np.exp(np.longdouble(-8)) / shape[1]
        true = np.where(part < 0, 0, part_g / (part + delta))
        saved = x
    else:
        y = truth.softmax(part, 1)
        true = y * (part_g - (part_g * y).sum(1, keepdims=True))
        saved = outputs["torch"].detach()
    target = torch.empty_like(x)
    compiled = _compiled(formula, skip_compile)
    calls = {
        "ours": grad("ours"),
        "torch": grad("torch"),
        "torch-compile": compiled and (lambda _: compiled(g, saved)),
        "copy": lambda _: torch.add(g, saved, out=target),
        "clone": lambda _: g + saved,
    }
    return _bench(calls, 3 * x.nbytes, true.astype(np.float64), dtype, shape)


def _narrow(x: Any) -> NDArray[np.float64]:
    """The first lines, wide."""
    part = x[:_JUDGED] if x.ndim == 2 else x[: -(-_JUDGED // _SIDE**2)]
    return part.detach().double().numpy()  # type: ignore[no-any-return]


def _bench(
    calls: dict[str, Any],
    size: int,
    true: NDArray[np.float64],
    dtype: str,
    shape: tuple[int, ...],
) -> Bench:
    def error(found: Any) -> float:
        return truth.relative(_narrow(found), true)

    kinds: dict[str, Any] = {"ours": "ours", "copy": "floor", "clone": "part"}
    runs: dict[str, Run | Missing] = {}
    for name, call in calls.items():
        kind = kinds.get(name, "peer")
        if call is None:
            runs[name] = Missing("left out here: it compiles for seconds", kind)
            continue
        judged = None if name in ("copy", "clone") else error
        limit = LIMITS[dtype] if name == "ours" else float("inf")
        runs[name] = Run(call, items=size, kind=kind, error=judged, limit=limit)
    return Bench("byte", runs, {"shape": list(shape), "dtype": dtype, "bytes": size})
