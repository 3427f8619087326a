"""What is asked of the elementwise and softmax operations: every dtype, lines and maps with tails, odd starts, slopes.

Truths are the CPU's in float64, of the very values that the kernels read; bounds are those of tests/gpu, twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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
from hud_fast.kernels.noise.sampler_step_at import sampler_step_at

CPU = "cpu"
TRITON = "triton"
_TINY = 1e-37  # where float32 ends
_SEED, _STEP, _FIRST = 2**62 + 12345, 2**32 - 1, 2**33 - 1
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


Cases = Callable[[torch.device], Iterator[Case]]
# of (values, mean, std, dim, backend)
Function = Callable[[Tensor, Tensor, Tensor, int, str], Tensor]
# of (lines, truth, values, gradient from above), float64 on the CPU
Bound = Callable[[Lines, Tensor, Tensor, Tensor], Tensor]


def _differentiable(
    function: Function, prepare: Callable[[Tensor], Tensor], forward: Bound, backward: Bound
) -> Cases:
    """Cases of an operation along an axis and of its gradient."""

    def both(device: torch.device, lines: Lines) -> tuple[Case, Case]:
        x = put(prepare(draw(lines.shape, 0)), lines.dtype, device, lines.offset)
        g = put(draw(lines.shape, 1), lines.dtype, device, lines.offset)
        mean, std = statistics(lines.shape[lines.dim])
        here = mean.to(device), std.to(device)
        wide = x.detach().cpu().double().requires_grad_()
        above = g.cpu().double()
        truth = function(wide, mean, std, lines.dim, CPU)
        (slope,) = torch.autograd.grad(truth, wide, above)
        truth, values = truth.detach(), wide.detach()

        def call() -> Results:
            return (function(x, *here, lines.dim, TRITON),)

        def gradient() -> Results:
            leaf = x.detach().requires_grad_()
            return torch.autograd.grad(function(leaf, *here, lines.dim, TRITON), leaf, g)

        near = forward(lines, truth, values, above)
        far = backward(lines, slope, values, above)
        return (
            Case(_words(lines), lambda: call, (truth,), (near,), (x,)),
            Case(
                f"gradient, {_words(lines)}", lambda: gradient, (slope,), (far,), (x,), graph=False
            ),
        )

    return lambda device: (case for lines in LINES for case in both(device, lines))


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


# Maps, endmembers and bands around the tiles' sides.
MAPS = (
    ((2, 9, 3, 11), 65, torch.float32, 0),
    ((1, 17, 1, 31), 63, torch.float32, 1),
    ((1, 40, 3, 11), 20, torch.float64, 0),
    ((2, 16, 5, 7), 64, torch.bfloat16, 0),
    ((1, 16, 4, 8), 64, torch.float16, 0),
)


def _decode(
    device: torch.device, shape: tuple[int, ...], C: int, dtype: torch.dtype, offset: int
) -> Case:
    z = put(draw(shape, 0), dtype, device, offset)
    D = shape[1]
    A = draw((D, C), 1).abs()
    if dtype != torch.float64:
        A = A.float().double()  # as the kernel rounds it
    mean, std = statistics(D)
    truth = softmax_decode(z.cpu().double(), A, mean=mean, std=std, backend=CPU)
    rounding, eps, least = precision(dtype)
    near = 2 * ((40 + D / 4) * eps + rounding) * truth + least
    spectra, m, s = A.to(device), mean.to(device), std.to(device)

    def call() -> Results:
        return (softmax_decode(z, spectra, mean=m, std=s, backend=TRITON),)

    what = f"{_words(Lines(shape, 1, dtype, offset))}, {C} bands"
    return Case(what, lambda: call, (truth,), (near,), (z,))


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


def _samples(count: int, dtype: torch.dtype, offset: int) -> str:
    return _words(Lines((2, count), 1, dtype, offset))


def _noise(device: torch.device, count: int, dtype: torch.dtype, offset: int) -> Case:
    """Drawn at a step that is a number, and at one on the device."""
    kind: dict[str, Any] = {"seed": _SEED, "first": _FIRST, "dtype": dtype, "device": device}
    truth = normal_noise(
        (2, count), seed=_SEED, step=_STEP, first=_FIRST, dtype=torch.float64, backend=CPU
    )
    at = torch.tensor([_STEP], device=device)

    def call() -> Results:
        steps: tuple[Any, ...] = (_STEP, at)
        return tuple(normal_noise((2, count), step=t, **kind, backend=TRITON) for t in steps)

    near = _near(dtype, truth)
    return Case(_samples(count, dtype, 0), lambda: call, (truth, truth), (near, near), (at,))


def _forward_process(device: torch.device, count: int, dtype: torch.dtype, offset: int) -> Case:
    """z at its time, and the noise."""
    signal = torch.tensor([0.3, 1.0], dtype=torch.float64)
    z, levels = put(draw((2, count), 0), dtype, device, offset), signal.to(device)
    address = {"seed": _SEED, "step": _STEP, "first": _FIRST}
    truth = q_sample(z.cpu().double(), signal, **address, backend=CPU)

    def call() -> Results:
        return q_sample(z, levels, **address, backend=TRITON)

    near = tuple(_near(dtype, t) for t in truth)
    return Case(_samples(count, dtype, offset), lambda: call, truth, near, (z,))


def _step(device: torch.device, count: int, dtype: torch.dtype, offset: int) -> Case:
    """With noise drawn, given, and none."""
    z, eps, noise = (put(draw((2, count), k), dtype, device, offset) for k in range(3))

    def ask(z: Tensor, eps: Tensor, noise: Tensor, backend: str) -> Results:
        factors: dict[str, Any] = {"z_factor": 1.1, "eps_factor": -0.2, "backend": backend}
        address: dict[str, Any] = {"seed": _SEED, "step": _STEP, "first": _FIRST}
        return (
            sampler_step(z, eps, noise_factor=0.3, **factors, **address),
            sampler_step(z, eps, noise_factor=0.3, noise=noise, **factors),
            sampler_step(z, eps, noise_factor=0.0, **factors),
        )

    truth = ask(z.cpu().double(), eps.cpu().double(), noise.cpu().double(), CPU)
    near = tuple(_near(dtype, t, n) for t, n in zip(truth, (_NOISE, 2e-6, 2e-6), strict=True))
    what = _samples(count, dtype, offset)
    return Case(what, lambda: lambda: ask(z, eps, noise, TRITON), truth, near, (z,))


def _step_at(device: torch.device, count: int, dtype: torch.dtype, offset: int) -> Case:
    """A row of the table on the device, without and with a past; eps of another dtype; in place."""
    table = torch.tensor(
        [[0.9, 0.1, 0.0, 0.2, 0.5, 0.5], [1.1, -0.2, 0.3, 0.3, -0.2, 1.1]], dtype=torch.float64
    )
    row = torch.ones(1, dtype=torch.int64)
    z, past = (put(draw((2, count), k), dtype, device, offset) for k in (0, 2))
    other = torch.float32 if dtype == torch.bfloat16 else torch.bfloat16
    eps = put(draw((2, count), 1), other, device)

    def ask(
        z: Tensor, eps: Tensor, past: Tensor, table: Tensor, row: Tensor, backend: str
    ) -> Results:
        step: dict[str, Any] = {"seed": 9, "step": 7, "first": 4, "backend": backend}
        kept, out = past.clone(), z.clone()
        plain = sampler_step_at(z, eps, table[:, :3].contiguous(), row, **step)
        sampler_step_at(out, eps, table, row, past=kept, out=out, **step)
        return plain, out, kept

    truth = ask(z.cpu().double(), eps.cpu().double(), past.cpu().double(), table, row, CPU)
    near = tuple(_near(dtype, t) for t in truth)
    rows, at = table.to(device), row.to(device)
    what = _samples(count, dtype, offset)
    return Case(what, lambda: lambda: ask(z, eps, past, rows, at, TRITON), truth, near, (z,))


CASES: dict[str, Cases] = {
    "normal_noise": lambda device: (_noise(device, *row) for row in COUNTS),
    "q_sample": lambda device: (_forward_process(device, *row) for row in COUNTS),
    "sampler_step": lambda device: (_step(device, *row) for row in COUNTS),
    "sampler_step_at": lambda device: (_step_at(device, *row) for row in COUNTS),
    "log_project": _differentiable(
        lambda x, _mean, _std, dim, backend: log_project(x, dim, backend=backend),
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
        lambda z, _mean, _std, dim, backend: simplex_softmax(z, dim, backend=backend),
        lambda z: 4 * z,
        _shares,
        _share_slopes(False),
    ),
    "standardized_softmax": _differentiable(
        lambda z, mean, std, dim, backend: standardized_softmax(z, mean, std, dim, backend=backend),
        lambda z: z,
        _shares,
        _share_slopes(True),
    ),
    "softmax_decode": lambda device: (_decode(device, *row) for row in MAPS),
}
