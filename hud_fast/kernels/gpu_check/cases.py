"""What is asked of the elementwise and softmax operations: every dtype, rows and maps with tails, odd starts, gradients.

Truths are the CPU's in float64, of the very values that the kernels read; bounds are those of tests/gpu, twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hud_fast.kernels import (
    log_project,
    log_standardize,
    normal_noise,
    q_sample,
    sampler_step,
    simplex_softmax,
    softmax_decode,
    standardized_softmax,
)
from hud_fast.kernels.gpu_check.examine import Case, Results
from hud_fast.kernels.sampler_step_at import sampler_step_at

CPU = "cpu"
TRITON = "triton"
_TINY = 1e-37  # where float32 ends
_ADDRESS = {"seed": 2**62 + 12345, "step": 2**32 - 1, "first": 2**33 - 1}
_NOISE = 2e-5  # of noise drawn by other logarithms and sines


class Lines(NamedTuple):
    """Values along an axis: shape, the axis, dtype, and how many values past an access's boundary they start."""

    shape: tuple[int, ...]
    dim: int
    dtype: torch.dtype = torch.float32
    offset: int = 0


# Rows and maps with tails, lines of one value, lines longer than a tile, an odd start; the other dtypes.
LINES = (
    Lines((225, 9), 1),
    Lines((2, 16, 5, 13), 1),
    Lines((2, 300, 7), 1),
    Lines((130, 16), 1, offset=1),
    Lines((3, 2, 16, 21), 2, torch.bfloat16),
    Lines((65, 9), 1, torch.float64),
    Lines((65, 9), 1, torch.float16, offset=3),
)


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers in float64, the same on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def put(values: Tensor, dtype: torch.dtype, device: torch.device, offset: int = 0) -> Tensor:
    """Contiguous values on a device that start `offset` values behind an allocation's start."""
    place = torch.zeros(values.numel() + offset, dtype=dtype, device=device)[offset:]
    place.copy_(values.reshape(-1))
    return place.view(values.shape)


def precision(dtype: torch.dtype) -> tuple[float, float, float]:
    """What rounding a result costs, relative; the unit of the arithmetic before it; where a 16-bit type ends."""
    eps = torch.finfo(dtype).eps
    return (0.505 * eps, 2.0**-23, 1e-7) if dtype.itemsize == 2 else (0.0, eps, _TINY)


def _words(lines: Lines) -> str:
    start = f", {lines.offset} values past a boundary" if lines.offset else ""
    return f"{str(lines.dtype).removeprefix('torch.')} {lines.shape} along {lines.dim}{start}"


def statistics(D: int) -> tuple[Tensor, Tensor]:
    """Means and standard deviations."""
    return torch.linspace(-5, -1, D).double(), torch.linspace(0.5, 3, D).double()


# of (values, mean, std, dim, backend)
Function = Callable[[Tensor, Tensor, Tensor, int, str], Tensor]
# of (lines, truth, values, gradient from above), float64 on the CPU
Bound = Callable[[Lines, Tensor, Tensor, Tensor], Tensor]


def _differentiable(
    function: Function, prepare: Callable[[Tensor], Tensor], forward: Bound, backward: Bound
) -> Callable[[torch.device], Iterator[Case]]:
    """Cases of an operation along an axis and of its gradient."""

    def cases(device: torch.device) -> Iterator[Case]:
        for lines in LINES:
            x = put(prepare(draw(lines.shape, 0)), lines.dtype, device, lines.offset)
            g = put(draw(lines.shape, 1), lines.dtype, device, lines.offset)
            mean, std = statistics(lines.shape[lines.dim])
            here = mean.to(device), std.to(device)
            wide = x.detach().cpu().double().requires_grad_()
            above = g.cpu().double()
            truth = function(wide, mean, std, lines.dim, CPU)
            (slope,) = torch.autograd.grad(truth, wide, above)
            truth, values = truth.detach(), wide.detach()

            def call(x: Tensor = x, lines: Lines = lines, here: Results = here) -> Results:
                return (function(x, *here, lines.dim, TRITON),)

            yield Case(
                _words(lines),
                call,
                (truth,),
                (forward(lines, truth, values, above),),
                (x,),
                lambda call=call: call,
            )

            def gradient(
                x: Tensor = x, g: Tensor = g, lines: Lines = lines, here: Results = here
            ) -> Results:
                leaf = x.detach().requires_grad_()
                return torch.autograd.grad(function(leaf, *here, lines.dim, TRITON), leaf, g)

            yield Case(
                f"gradient, {_words(lines)}",
                gradient,
                (slope,),
                (backward(lines, slope, values, above),),
            )

    return cases


def _logs(factor: float) -> Bound:
    def bound(lines: Lines, truth: Tensor, *_: Tensor) -> Tensor:
        rounding, eps, _least = precision(lines.dtype)
        return 2 * factor * eps + 2 * rounding * truth.abs()

    return bound


def _slopes(lines: Lines, truth: Tensor, *_: Tensor) -> Tensor:
    """Of g / (x + delta) / std; what float16 cannot hold is left out."""
    rounding, eps, _least = precision(lines.dtype)
    near = (12 * eps + 2 * rounding) * truth.abs() + torch.finfo(lines.dtype).smallest_normal
    return torch.where(truth.abs() < torch.finfo(lines.dtype).max / 2, near, torch.inf)


def _shares(lines: Lines, truth: Tensor, *_: Tensor) -> Tensor:
    rounding, eps, least = precision(lines.dtype)
    return 2 * ((40 + lines.shape[lines.dim] / 8) * eps + rounding) * truth + least


def _share_slopes(standard: bool) -> Bound:
    def bound(lines: Lines, truth: Tensor, values: Tensor, above: Tensor) -> Tensor:
        """Of x (g - sum g x), x rounded before and after: relative to the size of what is summed."""
        rounding, eps, least = precision(lines.dtype)
        mean, std = statistics(lines.shape[lines.dim])
        if standard:
            x = standardized_softmax(values, mean, std, lines.dim, backend=CPU)
            shape = [1] * values.ndim
            shape[lines.dim] = -1
            above = above * std.view(shape)
        else:
            x = simplex_softmax(values, lines.dim, backend=CPU)
        size = x * (above.abs() + (above.abs() * x).sum(lines.dim, keepdim=True))
        return (512 * eps + 4 * rounding) * size + 10 * least

    return bound


def _abundances(values: Tensor) -> Tensor:
    return values.mul(0.3).clamp_min(-0.01)


def decodes(device: torch.device) -> Iterator[Case]:
    """softmax_decode: endmembers and bands around the tiles' sides."""
    sizes = [
        (2, 9, 3, 11, 65, torch.float32, 0),
        (1, 17, 1, 31, 63, torch.float32, 1),
        (1, 40, 3, 11, 20, torch.float64, 0),
        (2, 16, 5, 7, 64, torch.bfloat16, 0),
        (1, 16, 4, 8, 64, torch.float16, 0),
    ]
    for B, D, H, W, C, dtype, offset in sizes:
        z = put(draw((B, D, H, W), 0), dtype, device, offset)
        A = draw((D, C), 1).abs()
        if dtype != torch.float64:
            A = A.float().double()
        mean, std = statistics(D)
        truth = softmax_decode(z.cpu().double(), A, mean=mean, std=std, backend=CPU)
        rounding, eps, least = precision(dtype)

        def call(
            z: Tensor = z,
            A: Tensor = A.to(device),
            mean: Tensor = mean.to(device),
            std: Tensor = std.to(device),
        ) -> Results:
            return (softmax_decode(z, A, mean=mean, std=std, backend=TRITON),)

        yield Case(
            _words(Lines((B, D, H, W), 1, dtype, offset)) + f", {C} bands",
            call,
            (truth,),
            (2 * ((40 + D / 4) * eps + rounding) * truth + least,),
            (z,),
            lambda call=call: call,
        )


# Counts around a group of 64 numbers and a tile; the dtype, and an odd start of what is read.
COUNTS = (
    (1025, torch.float32, 0),
    (65, torch.float32, 1),
    (63, torch.float64, 0),
    (1025, torch.bfloat16, 0),
    (1023, torch.float16, 3),
)


def _near(dtype: torch.dtype, truth: Tensor, noise: float = _NOISE) -> Tensor:
    rounding, eps, _least = precision(dtype)
    return noise + (2 * rounding + 4 * eps) * truth.abs()


def _count_words(count: int, dtype: torch.dtype, offset: int) -> str:
    return _words(Lines((2, count), 1, dtype, offset))


def noises(device: torch.device) -> Iterator[Case]:
    """normal_noise, its step a number and on the device."""
    for count, dtype, _ in COUNTS:
        truth = normal_noise((2, count), **_ADDRESS, dtype=torch.float64, backend=CPU)
        at = torch.tensor([_ADDRESS["step"]], device=device)

        def call(count: int = count, dtype: torch.dtype = dtype, at: Tensor = at) -> Results:
            address = {"seed": _ADDRESS["seed"], "first": _ADDRESS["first"]}
            kind = {"dtype": dtype, "device": device, "backend": TRITON}
            whole = normal_noise((2, count), step=_ADDRESS["step"], **address, **kind)
            return whole, normal_noise((2, count), step=at, **address, **kind)

        near = _near(dtype, truth)
        yield Case(
            _count_words(count, dtype, 0),
            call,
            (truth, truth),
            (near, near),
            (at,),
            lambda call=call: call,
        )


def forward_processes(device: torch.device) -> Iterator[Case]:
    """q_sample: z at its time, and the noise."""
    signal = torch.tensor([0.3, 1.0], dtype=torch.float64)
    for count, dtype, offset in COUNTS:
        z = put(draw((2, count), 0), dtype, device, offset)
        truth = q_sample(z.cpu().double(), signal, **_ADDRESS, backend=CPU)

        def call(z: Tensor = z, signal: Tensor = signal.to(device)) -> Results:
            return q_sample(z, signal, **_ADDRESS, backend=TRITON)

        yield Case(
            _count_words(count, dtype, offset),
            call,
            truth,
            tuple(_near(dtype, t) for t in truth),
            (z,),
            lambda call=call: call,
        )


def steps(device: torch.device) -> Iterator[Case]:
    """sampler_step: noise drawn, given, and none."""
    for count, dtype, offset in COUNTS:
        z, eps, noise = (put(draw((2, count), k), dtype, device, offset) for k in range(3))
        options = (
            {"noise_factor": 0.3, **_ADDRESS},
            {"noise_factor": 0.3, "noise": noise},
            {"noise_factor": 0.0},
        )

        def ask(
            z: Tensor, eps: Tensor, backend: str, options: tuple[dict[str, object], ...] = options
        ) -> Results:
            found = []
            for option in options:
                given = option.get("noise")
                if isinstance(given, Tensor):
                    option = option | {"noise": given.to(z)}
                found.append(
                    sampler_step(z, eps, z_factor=1.1, eps_factor=-0.2, backend=backend, **option)  # type: ignore[arg-type]
                )
            return tuple(found)

        truth = ask(z.cpu().double(), eps.cpu().double(), CPU)

        def call(
            z: Tensor = z, eps: Tensor = eps, ask: Callable[..., Results] = ask
        ) -> Results:
            return ask(z, eps, TRITON)

        bounds = zip(truth, (_NOISE, 2e-6, 2e-6), strict=True)
        yield Case(
            _count_words(count, dtype, offset),
            call,
            truth,
            tuple(_near(dtype, t, noise) for t, noise in bounds),
            (z,),
            lambda call=call: call,
        )


def steps_at(device: torch.device) -> Iterator[Case]:
    """sampler_step_at: a row of the table on the device, without and with a past, eps of another dtype, in place."""
    table = torch.tensor(
        [[0.9, 0.1, 0.0, 0.2, 0.5, 0.5], [1.1, -0.2, 0.3, 0.3, -0.2, 1.1]], dtype=torch.float64
    )
    for count, dtype, offset in COUNTS:
        z, past = (put(draw((2, count), k), dtype, device, offset) for k in (0, 2))
        other = torch.float32 if dtype == torch.bfloat16 else torch.bfloat16
        eps = put(draw((2, count), 1), other, device)

        def ask(z: Tensor, eps: Tensor, past: Tensor, backend: str) -> Results:
            row, rows = torch.ones(1, dtype=torch.int64, device=z.device), table.to(z.device)
            address = {"seed": 9, "step": 7, "first": 4}
            plain = sampler_step_at(
                z, eps, rows[:, :3].contiguous(), row, **address, backend=backend
            )
            kept, out = past.clone(), z.clone()
            sampler_step_at(out, eps, rows, row, **address, past=kept, out=out, backend=backend)
            return plain, out, kept

        truth = ask(z.cpu().double(), eps.cpu().double(), past.cpu().double(), CPU)

        def call(
            z: Tensor = z,
            eps: Tensor = eps,
            past: Tensor = past,
            ask: Callable[..., Results] = ask,
        ) -> Results:
            return ask(z, eps, past, TRITON)

        yield Case(
            _count_words(count, dtype, offset),
            call,
            truth,
            tuple(_near(dtype, t) for t in truth),
        )


CASES: dict[str, Callable[[torch.device], Iterator[Case]]] = {
    "normal_noise": noises,
    "q_sample": forward_processes,
    "sampler_step": steps,
    "sampler_step_at": steps_at,
    "log_project": _differentiable(
        lambda x, mean, std, dim, backend: log_project(x, dim, backend=backend),
        _abundances,
        _logs(8),
        _slopes,
    ),
    "log_standardize": _differentiable(
        lambda x, mean, std, dim, backend: log_standardize(x, mean, std, dim, backend=backend),
        _abundances,
        _logs(64),
        _slopes,
    ),
    "simplex_softmax": _differentiable(
        lambda z, mean, std, dim, backend: simplex_softmax(z, dim, backend=backend),
        lambda z: 4 * z,
        _shares,
        _share_slopes(False),
    ),
    "standardized_softmax": _differentiable(
        lambda z, mean, std, dim, backend: standardized_softmax(
            z, mean, std, dim, backend=backend
        ),
        lambda z: z,
        _shares,
        _share_slopes(True),
    ),
    "softmax_decode": decodes,
}
