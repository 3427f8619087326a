"""One piece of device work, done again and again: launch by launch, or as a captured CUDA graph.

A step of a small network is hundreds of launches of a few microseconds each, more than its arithmetic takes on a GPU. A
graph launches all of them at once. What it touches is fixed when it is captured: the work reads and writes tensors
that stay where they are, and decides nothing on the host.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

# Whether a GPU uses graphs where neither the caller nor the environment says: off until the tests in tests/gpu have
# passed on a GPU.
BY_DEFAULT = False
VARIABLE = "HUD_FAST_CUDA_GRAPHS"
WARM = 3  # calls before the capture, in which libraries choose their algorithms and ask for their memory


def captures(device: torch.device, wanted: bool | None) -> bool:
    """Whether work on `device` is captured: as wanted, else as HUD_FAST_CUDA_GRAPHS (1 or 0) says; never on a CPU.

    Raises
    ------
    ValueError
        The variable is set to something else.
    """
    text = os.environ.get(VARIABLE) or None
    if text not in (None, "0", "1"):
        raise ValueError(f"HUD: {VARIABLE} must be 0 or 1, got {text!r}")
    if wanted is None:
        wanted = BY_DEFAULT if text is None else text == "1"
    return device.type == "cuda" and wanted


class Repeated:
    """Work to be repeated: the first `WARM` calls launch by launch, the others as one graph if `capture`.

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
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work once."""
        if not self._capture:
            self._work()
        elif self._graph is not None:
            self._graph.replay()
        elif self._warmed < WARM:
            self._warmed += 1
            self._aside()
        else:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.device(self._device), torch.cuda.graph(self._graph):
                self._work()  # recorded, not done
            self._graph.replay()

    def _aside(self) -> None:
        """Once, on a stream of its own: what is to be captured must not have been tied to the default stream."""
        here, aside = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            self._work()
        here.wait_stream(aside)
