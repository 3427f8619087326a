"""Memory for results. A fresh large array costs about as much as the kernel that fills it: the operating system clears
every page before it hands it out, and torch's lie on 4 KiB pages, each a fault besides. So large results lie on huge
pages, which NumPy asks for, and what the last of them lay on serves the next: as the C library has it up to 32 MiB.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HUGE = 4 << 20  # bytes from which NumPy asks for huge pages
LINE = 64  # results begin on whole lines of memory, which stores past the caches need
LONGEST, MOST = 64 << 20, 3  # bytes of a block that is kept, and how many are

# Taken from and added to in one step each, by whatever thread: no lock, which the collector could find taken.
_kept: deque[NDArray[np.uint8]] = deque(maxlen=MOST)


class _Loan:
    """Lends a block to the arrays and tensors made of it, and keeps it when the last of them has gone."""

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self.block = block
        self.__array_interface__: dict[str, Any] = block.__array_interface__

    def __del__(self, kept: deque[NDArray[np.uint8]] = _kept) -> None:
        if self.block.nbytes <= LONGEST:
            kept.append(self.block)


def _block(size: int) -> NDArray[np.uint8]:
    """A kept block of that size, or a fresh one."""
    for _ in range(len(_kept)):
        try:
            block = _kept.popleft()
        except IndexError:  # another thread was quicker
            break
        if block.nbytes == size:
            return block
        _kept.append(block)
    try:
        return np.empty(size, dtype=np.uint8)
    except MemoryError:
        _kept.clear()
        return np.empty(size, dtype=np.uint8)


def empty(shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
    """An uninitialised contiguous tensor of like's dtype and device."""
    size = math.prod(shape) * like.itemsize
    if size < HUGE or like.device.type != "cpu":
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    buffer = np.asarray(_Loan(_block(size + LINE)))
    start = -buffer.ctypes.data % LINE
    return torch.from_numpy(buffer[start : start + size]).view(like.dtype).view(shape)
