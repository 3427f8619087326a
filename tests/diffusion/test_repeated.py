"""Work that is captured, and what a device is told, without a GPU: torch.cuda as far as they go is a notebook here."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusion.test_capture import Watch, on_device
from diffusion.test_training import assert_same_bits, make, weights
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion import capture, training
from hud_fast.diffusion.capture import WARM, Repeated, Told
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.prior import Prior
from hud_fast.diffusion.training import Trainer

GPU = torch.device("cuda:1")


class Stream(str):
    device_index = 1


class Cuda:
    """Notes what is asked of torch.cuda, and on which stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.notes: list[str] = []
        self.made = 0
        self.device_now = 0
        self.now = Stream("default")
        # "" for a capture that comes to its end; else it ends in this error, its stream left the current one
        self.fails = ""
        for name, value in {
            "Stream": self.new_stream,
            "current_stream": lambda _: self.now,
            "stream": self.stream,
            "device": self.device,
            "CUDAGraph": lambda: self,
            "graph_pool_handle": lambda: "pool",
            "graph": self.graph,
            "default_generators": [None, self],
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            monkeypatch.setattr(torch._C, name, self.pool_call(name), raising=False)
        monkeypatch.setattr(Stream, "wait_stream", self.wait_stream, raising=False)
        monkeypatch.setattr(capture, "_failed", [])

    def new_stream(self, device: torch.device) -> Stream:
        assert device == GPU
        self.made += 1
        return Stream(f"stream {self.made}")

    def wait_stream(self, other: Stream) -> None:
        self.notes.append(f"wait for {other}")

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.now = self.now, stream
        try:
            yield
        finally:
            self.now = before

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, self.device_now = self.device_now, device.index
        try:
            yield
        finally:
            self.device_now = before

    @contextlib.contextmanager
    def graph(self, graph: Any, *, pool: str, stream: Stream) -> Iterator[None]:
        assert graph is self
        assert self.device_now == 1
        assert pool == "pool"
        before, self.now = self.now, stream
        self.notes.append(f"capture on {stream}")
        try:
            yield
        finally:
            if self.fails:
                raise RuntimeError(self.fails)
            self.now = before

    def pool_call(self, name: str) -> Any:
        def call(device: int, pool: str) -> None:
            assert (device, pool) == (1, "pool")
            if not self.fails:
                raise RuntimeError("the capture has done that itself")
            self.notes.append(name)

        return call

    def replay(self) -> None:
        self.notes.append("replay")

    def reset(self) -> None:
        self.notes.append("reset")

    def clone_state(self) -> str:
        return "before"

    def graphsafe_set_state(self, state: str) -> None:
        self.notes.append(f"generator as it was {state}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def test_one_stream_of_the_work_s_own_device_warms_up_and_captures(cuda: Cuda) -> None:
    done: list[str] = []
    work = Repeated(lambda: done.append(f"{cuda.now}"), GPU, capture=True)
    for _ in range(WARM + 3):
        work()
    assert done == ["stream 1"] * (WARM + 1)
    warm = ["wait for default", "wait for stream 1"] * WARM
    assert cuda.notes == [*warm, "capture on stream 1", "replay", "replay", "replay"]
    assert cuda.now == "default"
    # another device's, or another work's, is no business of ours
    Repeated(lambda: None, GPU, capture=True)()
    assert cuda.made == 2


@pytest.mark.parametrize(
    ("work_fails", "end_fails", "said"),
    [
        ("read on the host", "a previous error", "ValueError: read on the host"),
        ("read on the host", "", "ValueError: read on the host"),
        ("", "another thread's call", "RuntimeError: another thread's call"),
    ],
)
def test_what_cannot_be_captured_goes_on_launch_by_launch(
    cuda: Cuda, work_fails: str, end_fails: str, said: str
) -> None:
    done: list[int] = []

    def step() -> None:
        if work_fails and len(cuda.notes) and cuda.notes[-1].startswith("capture"):
            raise ValueError(work_fails)
        done.append(1)

    work = Repeated(step, GPU, capture=True)
    for _ in range(WARM):
        work()
    cuda.notes.clear()
    cuda.fails = end_fails
    with pytest.warns(RuntimeWarning, match=f"captured as a CUDA graph .*: {said}$") as caught:
        work()
    assert len(caught) == 1
    assert caught[0].filename == __file__, "it points at whoever called"
    ended = ["_cuda_endAllocateToPool", "_cuda_releasePool"] if end_fails else []
    assert cuda.notes == [
        "capture on stream 1",
        *ended,
        "reset",
        "generator as it was before",
    ]
    assert (cuda.now, cuda.device_now) == ("default", 0)
    assert capture._failed == [cuda]
    before = len(done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        work()
        work()
    assert len(done) == before + 2
    assert len(done) == WARM + 3 + (not work_fails)


def test_a_failed_capture_leaves_no_trace_in_a_training(
    abundances: NDArray[np.float32], micro: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It breaks off after the gradients of a batch that is then done again."""
    plain, broken = (make(abundances, micro) for _ in range(2))
    for _ in range(WARM + 3):
        plain.step()
    cuda = Cuda(monkeypatch)
    broken._repeated = Repeated(broken.compute, GPU, capture=True)
    for _ in range(WARM):
        broken.step()
    move, loss = broken.optimiser.step, broken._loss_sum.clone()

    def recorded() -> None:
        broken._loss_sum.copy_(loss)  # nothing of a recording is done
        monkeypatch.setattr(broken.optimiser, "step", move)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(broken.optimiser, "step", recorded)
    cuda.fails = "a previous error"
    with pytest.warns(RuntimeWarning, match="OutOfMemoryError: CUDA out of memory"):
        broken.step()
    assert all(parameter.grad is not None for parameter in broken.parameters)
    broken.step()
    broken.step()
    assert_same_bits(weights(broken), weights(plain))


class Events:
    """Stands for torch.cuda.Event."""

    notes: list[str]
    made: int

    def __init__(self, *, blocking: bool) -> None:
        assert blocking
        Events.made += 1
        self.name = f"event {Events.made}"

    def synchronize(self) -> None:
        Events.notes.append(f"{self.name} awaited")

    def record(self, stream: str) -> None:
        Events.notes.append(f"{self.name} recorded on {stream}")


class Copies(Watch):
    """Copies from the CPU to the device, and whether each may be overtaken."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        name = func.overloadpacket.__name__
        if name in ("copy_", "_to_copy"):
            source = args[1] if name == "copy_" else args[0]
            if source.device != out.device:
                ahead = args[2] if len(args) > 2 else (kwargs or {}).get("non_blocking", False)
                self.ahead.append(bool(ahead))
        return out


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The tensors that were pinned; events are noted."""
    found: list[Tensor] = []

    def pin_memory(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    Events.notes, Events.made = [], 0
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.cuda, "Event", Events)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    return found


def test_a_device_is_told_through_pinned_memory_that_is_not_written_while_read(
    pinned: list[Tensor],
) -> None:
    told = Told((3, 2), torch.device("meta"))
    place = told.there
    for k in range(3):
        with Copies() as copies:
            told.tell(torch.full((3, 2), k + 1))
        assert copies.ahead == [True]
        assert copies.waits == []
    assert told.there is place
    assert [int(buffer[0, 0]) for buffer in pinned] == [3, 2]
    told_on = "recorded on the stream of meta"
    assert Events.notes == [
        "event 1 awaited",
        f"event 1 {told_on}",
        "event 2 awaited",
        f"event 2 {told_on}",
        "event 1 awaited",
        f"event 1 {told_on}",
    ]


def test_a_cpu_is_told_at_once(pinned: list[Tensor]) -> None:
    told = Told((2,), torch.device("cpu"))
    for numbers in ([1, 2], [3, 4]):
        told.tell(torch.tensor(numbers))
        assert told.there.tolist() == numbers
    assert pinned == []
    assert Events.notes == []


@pytest.mark.parametrize("scenes", [1, 2])
def test_no_part_of_a_training_step_waits(
    micro: Preset, pinned: list[Tensor], monkeypatch: pytest.MonkeyPatch, scenes: int
) -> None:
    """Draws, rate, loss, clipping and average, on a device that has no numbers to give: the meta device.

    AdamW, which wants a real one, has a test on the CPU.
    """
    monkeypatch.setattr(training, "addressed_noise", on_device)
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda parameters, lr, **_: torch.optim.SGD(parameters, lr)
    )
    preset = replace(micro, prediction="residual", log_every=100, loss_weight="min_snr")
    prior = Prior.normal(2)
    network = build_network(preset, 2, prior=prior if scenes == 1 else [prior] * scenes)
    maps = [torch.empty(2, 20, 24, device="meta") for _ in range(scenes)]
    crops = CropSampler(maps, [np.ones((20, 24), bool)] * scenes, crop=preset.crop)
    trainer = Trainer(network, crops, preset, seed=0)
    trainer.step()
    with Copies() as copies:
        trainer.step()
    assert copies.waits == []
    assert copies.count > 100
    assert copies.ahead == [True], "one copy a step, of what was drawn"
