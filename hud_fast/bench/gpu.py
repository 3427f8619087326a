"""What the GPU groups share: where their tensors lie, a clock that waits for the device, and the rehearsal.

On a machine without a GPU the groups can be rehearsed: small inputs on the CPU, our own providers through the emulation
that the tests use, the same checks of the answers. A rehearsal's times mean nothing.
"""

from __future__ import annotations

import time

import torch


def device() -> torch.device:
    """The GPU, or the CPU in a rehearsal."""
    return torch.device("cpu" if rehearsing() else "cuda")


def rehearsing() -> bool:
    """True on a machine without a GPU."""
    return not torch.cuda.is_available()


def clock() -> float:
    """Seconds, once everything that was launched has been done."""
    if not rehearsing():
        torch.cuda.synchronize()
    return time.perf_counter()
