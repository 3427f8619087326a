"""One operation looked at: poisoned and fenced results, three runs equal to the bit, the truth, a replayed graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hud_fast.kernels._backend import REGISTERED, can_run

RUNS = 3
FENCE = 1 << 16  # poisoned bytes before and behind a result: more than a tile
POISON = 0xFF  # in every byte: NaN as a float, -1 as an integer
_GRAPHS = 2  # cases of an operation that are captured: a capture takes a tenth of a second
_WARM = 2  # calls before a capture: the first compiles and loads a kernel

Results = tuple[Tensor, ...]


@dataclass(frozen=True)
class Case:
    """One question to one operation."""

    what: str
    ready: Callable[[], Callable[[], Results]]  # prepares on the device, and returns the call
    truth: Results  # float64 or integers, on the CPU
    bound: Results  # the largest deviation from each
    inputs: Results  # what a call reads anew each time
    graph: bool = True  # whether a graph can hold the call


def examine(operation: str, device: torch.device) -> str:
    """What is wrong with an operation's kernels on a device; "" where nothing is.

    On a CPU device Triton's interpreter and the emulation of the CUDA kernels answer: so tests see every case.
    """
    from hud_fast.kernels.gpu_check import cases, graphs, searches

    if operation == "graphs":
        return graphs.why_not(device)
    backend = REGISTERED[operation].on_gpu
    if backend == "triton" or device.type == "cuda":
        can_run(backend, device=device, op=operation, raise_error=True)
    graphs_left = _GRAPHS if device.type == "cuda" else 0
    for case in {**cases.CASES, **searches.CASES}[operation](device):
        why = why_not(case, device)
        if not why and case.graph and graphs_left:
            why, graphs_left = _replayed(case, device), graphs_left - 1
        if why:
            return f"{case.what}: {why}"
    return ""


def why_not(case: Case, device: torch.device) -> str:
    """What is wrong with the answers to one question."""
    first: Results | None = None
    for _ in range(RUNS):
        with fenced(device) as fences:
            found = tuple(t.detach().clone() for t in case.ready()())
        if any(fence.broken() for fence in fences):
            return "wrote outside of its results"
        if first is None:
            first = found
        elif not same_bits(found, first):
            return "other bits in another run"
    assert first is not None
    for number, (value, truth, bound) in enumerate(
        zip(first, case.truth, case.bound, strict=True), 1
    ):
        wrong = _compare(value.cpu(), truth, bound)
        if wrong:
            return wrong if len(first) == 1 else f"result {number}: {wrong}"
    return ""


def _compare(found: Tensor, truth: Tensor, bound: Tensor) -> str:
    if found.shape != truth.shape:
        return f"shape {tuple(found.shape)} instead of {tuple(truth.shape)}"
    away = (found.double() - truth.double()).abs()
    right = (away <= bound) | (found.isnan() & truth.isnan())
    if bool(right.all()):
        return ""
    lost = int((found.isnan() & ~truth.isnan()).sum())
    if lost:
        return f"{lost} of {found.numel()} values not written, or not a number"
    excess = torch.where(right, -1.0, away / bound.clamp_min(1e-300))
    worst = int(excess.argmax())
    return (
        f"{int((~right).sum())} of {found.numel()} values are off, the worst {found.flatten()[worst].item():.9g} "
        f"instead of {truth.flatten()[worst].item():.9g}"
    )


def same_bits(a: Results, b: Results) -> bool:
    """Whether two answers are the same to the bit, NaN included."""
    return all(
        x.shape == y.shape and torch.equal(_bytes(x), _bytes(y)) for x, y in zip(a, b, strict=True)
    )


def _bytes(values: Tensor) -> Tensor:
    return values.contiguous().view(-1).view(torch.uint8)


@dataclass(frozen=True)
class Fence:
    """A buffer with a result in its middle."""

    buffer: Tensor  # uint8
    size: int  # bytes of the result

    def broken(self) -> bool:
        """Whether anything but the result has been written to."""
        sides = self.buffer[:FENCE], self.buffer[FENCE + self.size :]
        return any(bool((side != POISON).any()) for side in sides)


@contextlib.contextmanager
def fenced(device: torch.device) -> Iterator[list[Fence]]:
    """Poison all new memory on a device, results and scratch, and lay fences around it.

    The kernels' Python side asks torch for all of it by these three names. This holds for the whole process, as a
    gradient is computed in another thread: for the child of a check, and tests.
    """
    plain = torch.empty
    fences: list[Fence] = []

    def laid(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def empty(*args: Any, **more: Any) -> Tensor:
            wanted = make(*args, **more)
            if wanted.device != device or wanted.layout != torch.strided:
                return wanted
            size = wanted.numel() * wanted.itemsize
            buffer = plain(2 * FENCE + size, dtype=torch.uint8, device=device).fill_(POISON)
            fences.append(Fence(buffer, size))
            inside = buffer[FENCE : FENCE + size].view(wanted.dtype)
            return inside.as_strided(wanted.shape, wanted.stride())

        return empty

    names = [(torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")]
    before = [(owner, name, vars(owner).get(name)) for owner, name in names]
    for owner, name in names:
        setattr(owner, name, laid(getattr(owner, name)))
    try:
        yield fences
    finally:
        for owner, name, old in before:
            if old is None:  # inherited
                delattr(owner, name)
            else:
                setattr(owner, name, old)


def captured(call: Callable[[], Any], device: torch.device) -> tuple[torch.cuda.CUDAGraph, Any]:
    """A graph of one call, on one stream of this device, and where its results will lie."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = call()
    return graph, results


def _replayed(case: Case, device: torch.device) -> str:
    """Whether a graph gives the bits of the call: of what it was captured on, and of other values in their place.

    The values are put back: the next case may ask about the same ones.
    """
    before = case.inputs[0].clone()
    try:
        return _replays(case, device)
    finally:
        case.inputs[0].copy_(before)


def _replays(case: Case, device: torch.device) -> str:
    launch = case.ready()
    graph, results = captured(launch, device)
    for changed in (False, True):
        if changed:
            turn(case.inputs[0])
        expected = tuple(t.clone() for t in launch())
        for result in results:
            result.fill_(torch.nan if result.is_floating_point() else -1)
        graph.replay()
        torch.cuda.synchronize(device)
        if not same_bits(results, expected):
            return f"a replayed graph gives other numbers{' where its input has changed' if changed else ''}"
    return ""


def turn(values: Tensor) -> None:
    """Other valid values in the same place: rows in reverse, a counter's next number."""
    if values.is_floating_point():
        values.copy_(values.flip(0))
    else:
        values.add_(1)
