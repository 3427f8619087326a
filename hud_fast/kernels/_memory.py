"""Memory for results. A fresh large array costs more than the kernel that fills it: torch's lie on 4 KiB pages, each a
fault of the operating system's, several times dearer than filling it; NumPy asks for huge pages.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

HUGE = 4 << 20  # bytes from which NumPy asks for huge pages
LINE = 64  # results begin on whole lines of memory, which stores past the caches need


def empty(shape: tuple[int, ...] | torch.Size, like: Tensor) -> Tensor:
    """An uninitialised contiguous tensor of like's dtype and device."""
    size = math.prod(shape) * like.itemsize
    if size < HUGE or like.device.type != "cpu":
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    buffer = np.empty(size + LINE, dtype=np.uint8)
    start = -buffer.ctypes.data % LINE
    return torch.from_numpy(buffer[start : start + size]).view(like.dtype).view(shape)
