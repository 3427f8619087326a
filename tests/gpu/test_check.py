"""The check of the GPU's kernels: what it asks passes where the kernels are right, and what is wrong is caught.

The CUDA kernels' cases are asked of their emulation, Triton's of its interpreter, in the check's own child process.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import itertools

import pytest
import torch

from hud_fast.kernels._backend import REGISTERED
from hud_fast.kernels._native import C
from hud_fast.kernels.cosine.device import TileIndex
from hud_fast.kernels.fcls import device as fcls_device
from hud_fast.kernels.gpu_check import OPERATIONS, cases, graphs, searches
from hud_fast.kernels.gpu_check.asking import ask
from hud_fast.kernels.gpu_check.examine import Case, examine, fenced, same_bits, why_not
from hud_fast.kernels.windows import device as windows_device

CPU = torch.device("cpu")
CUDA_KERNELS = [op for op, known in REGISTERED.items() if known.on_gpu == "cuda"]
QUICK = ("log_project", "softmax_decode")
SLOW = tuple(op for op in OPERATIONS if op not in (*QUICK, *CUDA_KERNELS, "graphs"))
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def test_every_operation_has_cases():
    assert {*cases.CASES, *searches.CASES, "graphs"} == set(OPERATIONS)
    on_a_gpu = {name for name, op in REGISTERED.items() if op.on_gpu != "torch"}
    assert {*cases.CASES, *searches.CASES} == on_a_gpu


@pytest.mark.parametrize("op", CUDA_KERNELS)
def test_the_right_kernels_pass(op):
    assert examine(op, CPU) == ""


@needs_triton
@pytest.mark.parametrize("operations", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_triton_s_kernels_pass_in_the_child(operations):
    answers = list(ask("cpu", operations, limit=500, environment={"TRITON_INTERPRET": "1"}))
    assert [(a.operation, a.why) for a in answers] == [(op, "") for op in operations]


@needs_triton
def test_where_triton_cannot_run_the_reason_is_told():
    (answer,) = ask("cpu", ["log_project"], environment={"TRITON_INTERPRET": "0"})
    assert "backend 'triton' cannot run: the Triton kernels need tensors on a GPU" in answer.why


def test_graphs_are_for_gpus_and_their_training_repeats():
    assert examine("graphs", CPU) == "graphs are for GPUs"
    losses, weights = graphs.train(CPU, capture=False)
    assert same_bits((losses, weights), graphs.train(CPU, capture=False))
    assert len(losses.unique()) == len(losses)  # other noise in every step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("op", OPERATIONS)
def test_on_a_gpu(op):
    assert examine(op, torch.device("cuda", 0)) == ""


def altered(monkeypatch, alter):
    """FCLS whose results are altered after each launch: alter(to, before), `before` what memory held."""
    solve = fcls_device.solve

    def wrong(pixels, tables, to, **options):
        before = [None if field is None else field.clone() for field in to]
        ways = solve(pixels, tables, to, **options)
        alter(to, before)
        return ways

    monkeypatch.setattr(fcls_device, "solve", wrong)


def a_little_off(to, before):
    to.abundances.view(-1)[7] += 2e-9 + 2e-7 * (to.abundances.dtype == torch.float32)


def leaves_poison(to, before):
    to.residual[-1] = before[1][-1]


def no_certificate(to, before):
    to.gap[3] = 2e-12


def outside(to, before):
    behind = to.status.storage_offset() + to.status.numel()
    to.status.as_strided((1,), (1,), behind).fill_(0)


def in_front(to, before):
    to.status.as_strided((1,), (1,), to.status.storage_offset() - 1).fill_(0)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (a_little_off, r"result 1: 1 of \d+ values are off, the worst"),
        (leaves_poison, r"result 2: 1 of \d+ values not written, or not a number"),
        (no_certificate, "result 3: 1 of 333 values are off, the worst 2e-12 instead of 0"),
        (outside, "wrote outside of its results"),
        (in_front, "wrote outside of its results"),
    ],
)
def test_a_wrong_kernel_is_caught(monkeypatch, alter, words):
    altered(monkeypatch, alter)
    why = examine("fcls", CPU)
    assert why.startswith("9 endmembers, 333 pixels of 91 bands, torch.float32, FCLS: ")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(why)


def test_other_bits_in_another_run_are_caught(monkeypatch):
    """A last bit, far below every bound: what a race between threads looks like."""
    runs = itertools.count()

    def restless(to, before):
        if next(runs) == 2:
            first = to.residual[:1]
            first.copy_(torch.nextafter(first, first + 1))

    altered(monkeypatch, restless)
    assert examine("fcls", CPU).endswith(": other bits in another run")


class WrongWindows:
    """The compiled module, its windows' values a little off."""

    def __getattr__(self, name):
        return getattr(C, name)

    def emulated_window_answer(self, job, *rest):
        C.emulated_window_answer(job, *rest)
        job["value"] -= 1e-6


def test_a_search_that_is_contradicted_in_its_first_call_is_caught(monkeypatch):
    search = TileIndex.search

    def wrong(self, query, work=None):
        value, index = search(self, query)
        return value * 0.999, index

    monkeypatch.setattr(TileIndex, "search", wrong)
    monkeypatch.setattr(windows_device, "C", WrongWindows())
    for op in ("cosine_max", "window_search"):
        with pytest.raises(RuntimeError, match=f"^{op}: the GPU's search is wrong"):
            examine(op, CPU)


def test_values_that_nobody_looks_at_twice_are_compared(monkeypatch):
    """A wrong answer that the search's own look misses: the comparison with the CPU finds it."""
    search = TileIndex.search

    def wrong(self, query, work=None):
        value, index = search(self, query)
        value[1] -= 1e-13
        return value, index

    monkeypatch.setattr(TileIndex, "search", wrong)
    assert "result 1: 1 of 129 values are off" in examine("cosine_max", CPU)


def plain(call, truth, bound=0.0):
    return Case("a case", lambda: call, (truth,), (torch.full_like(truth, bound),), ())


def test_fences_and_poison():
    with fenced(CPU) as fences:
        made = torch.empty(3, 2)
        alike = torch.empty_like(made.T.double())
        new = made.new_empty(4, dtype=torch.int8)
        assert made.isnan().all()
        assert alike.isnan().all()
        assert alike.stride() == torch.zeros(3, 2).T.double().stride()
        assert (new == -1).all()
        for values in (made, alike, new):
            values.fill_(1)
        assert not any(fence.broken() for fence in fences)
        assert made.data_ptr() % 64 == 0
    assert len(fences) == 3
    assert "empty" not in vars(torch.Tensor)
    assert torch.empty(2).untyped_storage().nbytes() == 8
    # an allocation that fails leaves nothing behind
    with pytest.raises(RuntimeError), fenced(CPU):
        torch.empty(-1)
    assert torch.empty(2).untyped_storage().nbytes() == 8


def test_what_a_comparison_says():
    truth = torch.tensor([1.0, torch.nan, 3.0], dtype=torch.float64)
    assert why_not(plain(lambda: (truth.clone(),), truth), CPU) == ""
    assert why_not(plain(lambda: (truth[:2],), truth), CPU) == "shape (2,) instead of (3,)"
    assert why_not(plain(lambda: (truth.nan_to_num(0),), truth), CPU).startswith(
        "1 of 3 values are off"
    )
    near = plain(lambda: (truth + 1e-9,), truth, 1e-10)
    assert why_not(near, CPU) == "2 of 3 values are off, the worst 1 instead of 1"
    assert why_not(dataclasses.replace(near, bound=(truth * 0 + 1e-8,)), CPU) == ""


@pytest.mark.parametrize("op", sorted({*cases.CASES, *searches.CASES}))
def test_cases_cover_tails_odd_starts_and_dtypes(op):
    """Made, not run: inputs off an access's boundary, two dtypes at least, a graph for each operation."""
    made = list({**cases.CASES, **searches.CASES}[op](CPU))
    inputs = [t for case in made for t in case.inputs if t.is_floating_point()]
    if op != "normal_noise":  # it reads none
        assert any(t.data_ptr() % 16 for t in inputs)
        assert len({t.dtype for t in inputs}) >= 2
        assert all(t.is_contiguous() for t in inputs)
    assert any(case.graph for case in made)
    for case in made:
        for truth, bound in zip(case.truth, case.bound, strict=True):
            assert truth.shape == bound.shape
            assert truth.is_cpu
            assert truth.isfinite().all()
            assert not bound.isnan().any()


class Recorded:
    """What `captured` gives, of a "graph" on the CPU: its replay does the call again, or goes wrong."""

    def __init__(self, call, wrong):
        self.call, self.wrong, self.results = call, wrong, tuple(t.clone() for t in call())
        self.first = tuple(t.clone() for t in self.results)

    def replay(self):
        if self.wrong == "does nothing":
            return
        found = self.first if self.wrong == "keeps its input" else self.call()
        for result, value in zip(self.results, found, strict=True):
            result.copy_(value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("", ""),
        ("does nothing", "a replayed graph gives other numbers"),
        ("keeps its input", "a replayed graph gives other numbers where its input has changed"),
    ],
)
@pytest.mark.parametrize("op", CUDA_KERNELS)
def test_a_graph_that_replays_something_else_is_caught(monkeypatch, op, wrong, words):
    module = importlib.import_module("hud_fast.kernels.gpu_check.examine")

    def recorded(call, device):
        graph = Recorded(call, wrong)
        return graph, graph.results

    monkeypatch.setattr(module, "captured", recorded)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    case = list(searches.CASES[op](CPU))[-1]
    before = [values.clone() for values in case.inputs]
    assert module._replayed(case, CPU) == words
    # the next case may ask about the same values: the gradient of four operations did, on the first card
    assert all(map(torch.equal, case.inputs, before))
