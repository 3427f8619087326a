"""Group ``gpu_fused``: the diffusion's passes over memory on the GPU, against plain formulas and a copy of the bytes.

Sizes as in ``gpu_simplex``. The peers' noise is torch's own, their time counts all the same; ours is judged against
the noise that its address names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hud_fast.bench import truth
from hud_fast.bench.case import Bench, Case
from hud_fast.bench.gpu import device
from hud_fast.bench.gpu_simplex import (
    LIMITS,
    backend,
    bench,
    compiled,
    maps_of,
    on_host,
    or_missing,
)

PROVIDERS = ("triton", "torch", "torch-compile", "copy")
D, C = 16, 200
JUDGED = 2  # samples
WORK = (("scene", "float32"), ("scene", "bfloat16"), ("batch", "float32"), ("batch", "bfloat16"))
_Make = Callable[[Any, bool], Bench]


def cases() -> list[Case]:
    """Return the cases of the group."""
    operations: dict[str, _Make] = {
        "log_standardize": _log_standardize,
        "standardized_softmax": _standardized_softmax,
        "softmax_decode": _softmax_decode,
        "q_sample": _q_sample,
        "sampler_step": _sampler_step,
        "normal_noise": _normal_noise,
    }
    return [
        Case(
            "gpu_fused",
            f"{operation}, {size}, {dtype}",
            PROVIDERS,
            _make(operation, make, size, dtype),
            quick=size == "scene" and dtype == "float32",
            headline=size == "scene" and dtype == "float32",
        )
        for operation, make in operations.items()
        for size, dtype in WORK
    ]


def _make(operation: str, make: _Make, size: str, dtype: str) -> Callable[[bool], Bench]:
    def build(quick: bool) -> Bench:
        import torch

        shape = maps_of(size, dtype, D, quick)
        if operation == "softmax_decode":  # its result is 12 times as large
            shape = (max(1, shape[0] // 8), *shape[1:])
        shape = (max(JUDGED, shape[0]), *shape[1:])
        draw = torch.Generator(device()).manual_seed(0)
        z = torch.randn(shape, generator=draw, device=device()).to(getattr(torch, dtype))
        return make(z, size == "scene" and dtype == "float32")

    return build


def _statistics() -> tuple[Any, Any]:
    import torch

    options: Any = {"dtype": torch.float64, "device": device()}
    return torch.linspace(-5.0, -1.0, D, **options), torch.linspace(1.0, 3.0, D, **options)


def _over_maps(values: Any, like: Any) -> Any:
    return values.to(like).view(1, D, 1, 1)


def _bench(
    z: Any,
    size: int,
    ours: Callable[[], Any],
    formula: Callable[..., Any],
    inputs: tuple[Any, ...],
    floor: Callable[[], Any],
    error: Callable[[Any], float],
    compile_it: bool,
) -> Bench:
    calls: dict[str, Any] = {
        "triton": ("ours", ours),
        "torch": ("peer", lambda: formula(*inputs)),
        "torch-compile": ("peer", or_missing(compiled(formula, compile_it), *inputs)),
        "copy": ("floor", floor),
    }
    return bench(calls, size, error, LIMITS[str(z.dtype).split(".")[1]])


def _judge(true: Any) -> Callable[[Any], float]:
    wide = np.asarray(true, np.float64)
    return lambda found: truth.relative(on_host(found[:JUDGED]), wide)


def _log_standardize(z: Any, compile_it: bool) -> Bench:
    import torch

    from hud_fast import kernels

    x, chosen = torch.softmax(2 * z, 1), backend()
    mean, std = _statistics()
    m, s = _over_maps(mean, x), _over_maps(std, x)
    target, delta = torch.empty_like(x), float(np.exp(-8.0)) / D
    part = truth.log_project(on_host(x[:JUDGED]), 1)
    true = (part - on_host(mean).reshape(1, D, 1, 1)) / on_host(std).reshape(1, D, 1, 1)
    return _bench(
        z,
        2 * x.nbytes,
        lambda: kernels.log_standardize(x, mean, std, 1, backend=chosen),
        lambda x, m, s: (torch.log(x.clamp_min(0) + delta) - m) / s,
        (x, m, s),
        lambda: target.copy_(x),
        _judge(true),
        compile_it,
    )


def _unstandardized(z: Any, mean: Any, std: Any) -> Any:
    part = on_host(z[:JUDGED]) * on_host(std).reshape(1, D, 1, 1)
    return truth.softmax(part + on_host(mean).reshape(1, D, 1, 1), 1)


def _standardized_softmax(z: Any, compile_it: bool) -> Bench:
    import torch

    from hud_fast import kernels

    chosen, target = backend(), torch.empty_like(z)
    mean, std = _statistics()
    return _bench(
        z,
        2 * z.nbytes,
        lambda: kernels.standardized_softmax(z, mean, std, 1, backend=chosen),
        lambda z, m, s: torch.softmax(z * s + m, 1),
        (z, _over_maps(mean, z), _over_maps(std, z)),
        lambda: target.copy_(z),
        _judge(_unstandardized(z, mean, std)),
        compile_it,
    )


def _softmax_decode(z: Any, compile_it: bool) -> Bench:
    import torch

    from hud_fast import kernels

    chosen = backend()
    mean, std = _statistics()
    draw = torch.Generator(device()).manual_seed(1)
    A = torch.rand(D, C, generator=draw, device=device())
    cube = torch.empty((len(z), *z.shape[2:], C), dtype=z.dtype, device=device())
    true = _unstandardized(z, mean, std).transpose(0, 2, 3, 1) @ on_host(A)
    narrow = A.to(z)
    return _bench(
        z,
        z.nbytes + cube.nbytes,
        lambda: kernels.softmax_decode(z, A, mean=mean, std=std, backend=chosen),
        lambda z, m, s, A: torch.softmax(z * s + m, 1).permute(0, 2, 3, 1) @ A,
        (z, _over_maps(mean, z), _over_maps(std, z), narrow),
        lambda: (z.amax(), cube.fill_(1.0)),
        _judge(true),
        compile_it,
    )


def _noise(z: Any, seed: int, step: int) -> Any:
    """Of the first samples, by the plain definition."""
    from hud_fast import kernels

    shape = (JUDGED, *z.shape[1:])
    return on_host(kernels.normal_noise(shape, seed=seed, step=step, backend="torch"))


def _q_sample(z: Any, compile_it: bool) -> Bench:
    import torch

    from hud_fast import kernels

    chosen, abar = backend(), 0.3
    signal = torch.full((len(z),), abar, dtype=torch.float64, device=device())
    keep, take = abar**0.5, (1 - abar) ** 0.5
    target, second = torch.empty_like(z), torch.empty_like(z)

    def formula(z: Any) -> Any:
        eps = torch.randn_like(z)
        return keep * z + take * eps, eps

    clean = keep * on_host(z[:JUDGED])
    true = np.stack([clean + take * _noise(z, 0, 1), _noise(z, 0, 1)])

    def error(found: Any) -> float:
        parts = np.stack([on_host(part[:JUDGED]) for part in found])
        return float(np.abs(parts - true).max() / np.abs(true).max())

    return _bench(
        z,
        3 * z.nbytes,
        lambda: kernels.q_sample(z, signal, seed=0, step=1, backend=chosen),
        formula,
        (z,),
        lambda: (target.copy_(z), second.fill_(1.0)),
        error,
        compile_it,
    )


def _sampler_step(z: Any, compile_it: bool) -> Bench:
    import torch

    from hud_fast import kernels

    chosen, (a, b, c) = backend(), (0.9, -0.2, 0.1)
    eps, target = torch.randn_like(z), torch.empty_like(z)
    named: dict[str, Any] = {"z_factor": a, "eps_factor": b, "noise_factor": c}
    true = a * on_host(z[:JUDGED]) + b * on_host(eps[:JUDGED]) + c * _noise(z, 0, 1)
    return _bench(
        z,
        3 * z.nbytes,
        lambda: kernels.sampler_step(z, eps, **named, seed=0, step=1, backend=chosen),
        lambda z, eps: a * z + b * eps + c * torch.randn_like(z),
        (z, eps),
        lambda: torch.add(z, eps, out=target),
        _judge(true),
        compile_it,
    )


def _normal_noise(z: Any, compile_it: bool) -> Bench:
    import torch

    from hud_fast import kernels

    chosen, target = backend(), torch.empty_like(z)
    shape, options = tuple(z.shape), {"dtype": z.dtype, "device": device()}
    return _bench(
        z,
        z.nbytes,
        lambda: kernels.normal_noise(shape, seed=0, step=1, backend=chosen, **options),
        lambda z: torch.randn_like(z),
        (z,),
        lambda: target.fill_(1.0),
        _judge(_noise(z, 0, 1)),
        compile_it,
    )
