"""What the searches for the nearest pixels (`_nearest_pixels`) and windows (`_nearest_windows`) share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["pixel", "block"]

_CALLS = 16  # kernel calls that a search with progress is split into, each of a multiple of ...


def paired_cosine(a: Tensor, b: Tensor) -> Tensor:  # (..., C), (..., C) -> (...) float64
    """Cosine of each pair, 0 where one of them is zero, at most 1 in magnitude."""
    a, b = a.double(), b.double()
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    cosine = (a * b).sum(dim=-1) / torch.where(norms > 0, norms, 1)
    return cosine.clamp(-1, 1)


def progress_step(n: int, unit: int) -> int:
    """How many of n things a search with progress takes at a time: a multiple of `unit`."""
    return -(-n // (_CALLS * unit)) * unit
