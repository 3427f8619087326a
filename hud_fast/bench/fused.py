"""Group ``fused``: the diffusion's passes over memory that do several operations at once, against their parts.

`ours-chain` is the same result from the package's single operations and torch's arithmetic, `torch` the plain formula,
`torch-compile` what inductor fuses of it. The floor moves the pass's bytes: what must be read and written, once. Maps
are (B, 16, 32, 32) float32, 32 MiB an array; noise is drawn inside the pass where there is any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hud_fast.bench import truth
from hud_fast.bench.case import Bench, Case, Kind, Missing, Run

PROVIDERS = ("ours", "ours-chain", "torch", "torch-compile", "copy")
D, SIDE, C = 16, 32, 200
BYTES, BYTES_SMALL = 1 << 25, 1 << 20
LIMIT = 1e-5
_JUDGED = 2  # samples
_FACTORS = (0.9, -0.2, 0.1)
_SIGNAL = 0.3  # abar
_Calls = dict[str, Callable[[], Any]]


def cases() -> list[Case]:
    """Return the cases of the group."""
    work: dict[str, Callable[[bool], Bench]] = {
        "log_standardize": _log_standardize,
        "standardized_softmax": _standardized_softmax,
        "softmax_decode": _softmax_decode,
        "q_sample": _q_sample,
        "sampler_step": _sampler_step,
    }
    names = {
        "log_standardize": "log_standardize: logarithm, standardisation",
        "standardized_softmax": "standardized_softmax: standardisation undone, softmax",
        "softmax_decode": f"softmax_decode: softmax, mixing to {C} bands",
        "q_sample": "q_sample: noise drawn and mixed in",
        "sampler_step": "sampler_step: two maps and drawn noise",
    }
    return [
        Case("fused", names[op], PROVIDERS, _make(op, make), quick=True, headline=True)
        for op, make in work.items()
    ]


def _make(operation: str, make: Callable[[bool], Bench]) -> Callable[[bool], Bench]:
    def build(quick: bool) -> Bench:
        import hud_fast

        if not hasattr(hud_fast, operation):
            return Bench("byte", {"ours": Missing(f"this build has no {operation}", "ours")})
        return make(quick)

    return build


def _maps(quick: bool, seed: int = 0, share: int = 1) -> Any:
    """Standardised maps (B, D, 32, 32)."""
    import torch

    B = max(_JUDGED, (BYTES_SMALL if quick else BYTES) // (4 * D * SIDE * SIDE * share))
    return torch.randn(B, D, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def _statistics() -> tuple[Any, Any, Any, Any]:
    """Mean and standard deviation (D,) as the operations take them, and shaped to broadcast over maps."""
    import torch

    mean, std = torch.linspace(-5.0, -1.0, D), torch.linspace(1.0, 3.0, D)
    return mean, std, mean.view(1, D, 1, 1), std.view(1, D, 1, 1)


def _bench(
    size: int,
    ours: Callable[[], Any],
    chain: Callable[[], Any] | None,
    formula: Callable[..., Any],
    inputs: tuple[Any, ...],
    floor: Callable[[], Any],
    error: Callable[[Any], float],
    quick: bool,
) -> Bench:
    import torch

    def run(
        call: Callable[[], Any], kind: Kind, limit: float = float("inf"), note: str = ""
    ) -> Run:
        judge = None if kind == "floor" else error
        return Run(lambda _: call(), size, kind, judge, limit, note=note)

    runs: dict[str, Run | Missing] = {
        "ours": run(ours, "ours", LIMIT),
        "torch": run(lambda: formula(*inputs), "peer"),
        "copy": run(floor, "floor", note="the same bytes"),
    }
    if chain is not None:
        runs["ours-chain"] = run(chain, "part", note="one operation after another")
    if quick:
        runs["torch-compile"] = Missing("left out here: it compiles for seconds")
    else:
        compiled: Any = torch.compile(formula, dynamic=False)
        runs["torch-compile"] = run(lambda: compiled(*inputs), "peer")
    return Bench("byte", runs, {"bytes": size})


def _judge(true: Any) -> Callable[[Any], float]:
    """Error of the first samples."""
    wide = np.asarray(true, np.float64)
    return lambda found: truth.relative(found[:_JUDGED].double().numpy(), wide)


def _log_standardize(quick: bool) -> Bench:
    import torch

    import hud_fast
    from hud_fast.kernels import log_project

    operation: Any = hud_fast.log_standardize
    mean, std, m, s = _statistics()
    x = torch.softmax(2 * _maps(quick), 1)
    target, delta = torch.empty_like(x), float(np.exp(-8.0)) / D
    part = truth.log_project(x[:_JUDGED].double().numpy(), 1)
    return _bench(
        2 * x.nbytes,
        lambda: operation(x, mean, std, 1),
        lambda: log_project(x, 1).sub_(m).div_(s),
        lambda x, m, s: (torch.log(x.clamp_min(0) + delta) - m) / s,
        (x, m, s),
        lambda: target.copy_(x),
        _judge((part - m.double().numpy()) / s.double().numpy()),
        quick,
    )


def _standardized_softmax(quick: bool) -> Bench:
    import torch

    import hud_fast
    from hud_fast.kernels import simplex_softmax

    operation: Any = hud_fast.standardized_softmax
    mean, std, m, s = _statistics()
    z = _maps(quick)
    target = torch.empty_like(z)
    part = z[:_JUDGED].double() * s.double() + m.double()
    return _bench(
        2 * z.nbytes,
        lambda: operation(z, mean, std, 1),
        lambda: simplex_softmax(torch.addcmul(m, z, s), 1),
        lambda z, m, s: torch.softmax(z * s + m, 1),
        (z, m, s),
        lambda: target.copy_(z),
        _judge(truth.softmax(part.numpy(), 1)),
        quick,
    )


def _softmax_decode(quick: bool) -> Bench:
    import torch

    import hud_fast
    from hud_fast.kernels import simplex_softmax

    operation: Any = hud_fast.softmax_decode
    mean, std, m, s = _statistics()
    z = _maps(quick, share=8)
    A = torch.rand(D, C, generator=torch.Generator().manual_seed(1))
    cube = torch.empty(len(z), SIDE, SIDE, C)
    part = truth.softmax((z[:_JUDGED].double() * s.double() + m.double()).numpy(), 1)

    def chain() -> Any:
        x = simplex_softmax(torch.addcmul(m, z, s), 1)
        return x.permute(0, 2, 3, 1).contiguous() @ A

    return _bench(
        z.nbytes + cube.nbytes,
        lambda: operation(z, A, mean=mean, std=std),
        chain,
        lambda z, m, s, A: torch.softmax(z * s + m, 1).permute(0, 2, 3, 1) @ A,
        (z, m, s, A),
        lambda: (z.amax(), cube.fill_(1.0)),
        _judge(part.transpose(0, 2, 3, 1) @ A.double().numpy()),
        quick,
    )


def _q_sample(quick: bool) -> Bench:
    import torch

    import hud_fast

    operation: Any = hud_fast.q_sample
    z, other = _maps(quick), _maps(quick, 1)
    target = torch.empty_like(z)
    signal = torch.full((len(z),), _SIGNAL)
    keep, take = _SIGNAL**0.5, (1 - _SIGNAL) ** 0.5

    def formula(z: Any) -> Any:
        eps = torch.randn_like(z)
        return keep * z + take * eps, eps

    def error(found: Any) -> float:
        noisy, eps = (part[:_JUDGED].double().numpy() for part in found)
        level = np.sqrt(np.float64(np.float32(_SIGNAL)))
        true = level * z[:_JUDGED].double().numpy() + np.sqrt(1 - level**2) * eps
        return truth.relative(noisy, true)

    return _bench(
        3 * z.nbytes,
        lambda: operation(z, signal, seed=0, step=1),
        None,
        formula,
        (z,),
        lambda: torch.add(z, other, out=target),
        error,
        quick,
    )


def _sampler_step(quick: bool) -> Bench:
    import torch

    import hud_fast

    operation: Any = hud_fast.sampler_step
    z, eps = _maps(quick), _maps(quick, 1)
    target = torch.empty_like(z)
    a, b, c = _FACTORS
    clean = a * z[:_JUDGED].double().numpy() + b * eps[:_JUDGED].double().numpy()

    def error(found: Any) -> float:
        """What is left without the two maps is normal noise: how far its spread is from 1, beyond chance."""
        noise = (found[:_JUDGED].double().numpy() - clean) / c
        chance = 5 / np.sqrt(2 * noise.size)
        return float(max(0.0, abs(noise.std() - 1) - chance, abs(noise.mean()) - 2 * chance))

    return _bench(
        3 * z.nbytes,
        lambda: operation(z, eps, z_factor=a, eps_factor=b, noise_factor=c, seed=0, step=1),
        None,
        lambda z, eps: a * z + b * eps + c * torch.randn_like(z),
        (z, eps),
        lambda: torch.add(z, eps, out=target),
        error,
        quick,
    )
