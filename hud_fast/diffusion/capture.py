"""One piece of device work, done again and again: launch by launch, or as a captured CUDA graph.

A step of a small network is hundreds of launches of a few microseconds each, more than its arithmetic takes on a GPU. A
graph launches all of them at once. What it touches is fixed when it is captured: the work reads and writes tensors
that stay where they are, and decides nothing on the host. What changes from one time to the next it is `Told`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hud_fast.kernels import GPU_KERNELS, proven

VARIABLE = "HUD_FAST_CUDA_GRAPHS"
WARM = 3  # calls before the capture, in which libraries choose their algorithms and ask for their memory
# Kept: torch's allocators go on asking them what is theirs.
_failed: list[torch.cuda.CUDAGraph] = []


def captures(device: torch.device, wanted: bool | None) -> bool:
    """Whether work on `device` is captured: as wanted, else as HUD_FAST_CUDA_GRAPHS (1 or 0) says, else where
    `check_gpu` has proved graphs on this machine; never on a CPU.

    Raises
    ------
    ValueError
        The variable is set to something else.
    """
    text = os.environ.get(VARIABLE) or None
    if text not in (None, "0", "1"):
        raise ValueError(f"HUD: {VARIABLE} must be 0 or 1, got {text!r}")
    if device.type != "cuda":
        return False
    if wanted is None:
        wanted = text == "1"
        if text is None and os.environ.get(GPU_KERNELS) != "0":
            wanted = proven("graphs", device)
    return wanted


class Repeated:
    """Work to be repeated: the first `WARM` calls launch by launch, the others as one graph if `capture`.

    Where the work cannot be captured, a RuntimeWarning says why and all calls are launch by launch.

    Parameters
    ----------
    work : callable
        Launches the device work; no arguments, nothing returned. Each call of it is one time the work is done.
    device : torch.device
        Where it runs.
    capture : bool
        Whether to make a graph of it.
    """

    def __init__(self, work: Callable[[], None], device: torch.device, *, capture: bool) -> None:
        self._work, self._device, self._capture = work, device, capture
        self._warmed = 0
        self._stream: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work once."""
        if self._capture and self._graph is None and self._warmed == WARM:
            self._graph = self._recorded()
            self._capture = self._graph is not None
        if self._graph is not None:
            self._graph.replay()
        elif self._capture:
            self._warmed += 1
            self._aside()
        else:
            self._work()

    def _aside(self) -> None:
        """Once, on a stream of its own: what is to be captured must not have been tied to the default stream.

        All on one stream and the capture, too: each has its own workspaces of cuBLAS and its own store of memory.
        """
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            self._work()
        here.wait_stream(self._stream)

    def _recorded(self) -> torch.cuda.CUDAGraph | None:
        """The work as a graph, recorded and not done; None where that fails, with all as it was before."""
        assert self._stream is not None
        device = self._stream.device_index
        draws = torch.cuda.default_generators[device]
        before = draws.clone_state()
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        # in words: an error would keep alive what its frames hold, the memory of a whole step
        reason = ""
        try:
            # The stream twice: where a capture fails to end, torch.cuda.graph leaves its own the current one.
            with (
                torch.cuda.device(self._device),
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, pool=pool, stream=self._stream),
            ):
                try:
                    self._work()
                except Exception as error:  # the end of the capture raises another one
                    reason = f"{type(error).__name__}: {error}"
                    raise
        except Exception as error:
            reason = reason or f"{type(error).__name__}: {error}"
        else:
            return graph
        # A failed capture leaves the allocator recording and the generator refusing to draw. What was recorded did not
        # run, and the work begins by forgetting what it left behind, such as gradients.
        _failed.append(graph)
        with contextlib.suppress(AttributeError, RuntimeError):  # over where only the work failed
            torch._C._cuda_endAllocateToPool(device, pool)
            torch._C._cuda_releasePool(device, pool)
        with contextlib.suppress(RuntimeError):
            graph.reset()
        draws.graphsafe_set_state(before)
        warnings.warn(
            f"HUD: the work could not be captured as a CUDA graph and goes on launch by launch: {reason}",
            RuntimeWarning,
            stacklevel=3,
        )
        return None


class Told:
    """Integers that the host tells a device again and again, in a tensor that stays where it is.

    On a GPU nobody waits, as for a copy from ordinary memory the host would until the device has done all that it was
    asked before. Two buffers of pinned memory take turns; one is filled again when the copy out of it is over, so the
    host is at most two tellings ahead.

    Parameters
    ----------
    shape : tuple of int
        Of the integers.
    device : torch.device
        Of `there`, the int64 tensor that holds what was told last, at first zeros.

    Examples
    --------
    >>> told = Told((2,), torch.device("cpu"))
    >>> told.tell(torch.tensor([3, 4]))
    >>> told.there
    tensor([3, 4])
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.there = torch.zeros(shape, dtype=torch.int64, device=device)
        self._buffers: Iterator[tuple[Tensor, torch.cuda.Event]] | None = None
        if device.type != "cpu":
            pinned = [torch.zeros(shape, dtype=torch.int64).pin_memory() for _ in range(2)]
            # an event that lets the processor sleep: there is a whole step's time
            self._buffers = itertools.cycle([(b, torch.cuda.Event(blocking=True)) for b in pinned])

    def tell(self, numbers: Tensor) -> None:
        """Write `numbers`, which lie on the CPU, for what the device does from here on."""
        if self._buffers is None:
            self.there.copy_(numbers)
            return
        buffer, copied = next(self._buffers)
        copied.synchronize()
        buffer.copy_(numbers)
        self.there.copy_(buffer, non_blocking=True)
        copied.record(torch.cuda.current_stream(self.there.device))
