"""The networks of `classifier`: a body that gives 64 features a pixel, and a last layer of K classes.

"window": 1x1 C -> 64, two 3x3 64 -> 64, each with batch norm and ReLU: a pixel sees the 5 x 5
around it. The cube is continued beyond its edges by its outermost pixels, once, before the first layer.

"pixel" (the HUD authors'): 1x1 convolutions only, C -> 256, `layers` times 256 -> 256, dropout 0.5, 256 -> 128 -> 64,
each with batch norm and leaky ReLU.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

WIDTH = 64  # features of a pixel
KINDS = ("window", "pixel")
_WIDE = 256  # channels of the authors' layers
_DROPOUT = 0.5
_COUNTS = "num_batches_tracked"  # of batch norm: nothing reads them


class Network(nn.Module):
    """Cubes (n, h, w, C) in the caller's unit -> features (n, 64, h, w) -> logits (n, K, h, w)."""

    mean: Tensor  # (C,) of the scene learned from; 0 where values are taken as they are
    std: Tensor  # (C,)

    def __init__(self, kind: str, C: int, K: int, layers: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(C))
        self.register_buffer("std", torch.ones(C))
        self.halo = 2 if kind == "window" else 0  # pixels that a feature sees to each side
        self.body = _window(C) if kind == "window" else _pixel(C, layers)
        self.head = nn.Conv2d(WIDTH, K, 1)

    def prepared(self, values: Tensor, valid: Tensor | None = None) -> Tensor:
        """(n, h, w, C) values, standardised, as (n, C, h, w) float32; what is not `valid` is 0."""
        x = (values.to(self.mean.device, torch.float32) - self.mean) / self.std
        if valid is not None:
            x *= valid.to(x.device)[..., None]
        return x.permute(0, 3, 1, 2)

    def features(self, x: Tensor) -> Tensor:  # (n, C, h, w) prepared -> (n, 64, h, w)
        if self.halo:
            x = pad(x, 4 * (self.halo,), mode="replicate")
        found: Tensor = self.body(x)
        return found

    def forward(self, x: Tensor) -> Tensor:  # (n, C, h, w) prepared -> (n, K, h, w)
        logits: Tensor = self.head(self.features(x))
        return logits

    def weights(self) -> dict[str, Tensor]:
        """All that the network computes with, by name."""
        return {k: v for k, v in self.state_dict().items() if not k.endswith(_COUNTS)}


def _layer(wide: int, narrow: int, side: int, act: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(wide, narrow, side), nn.BatchNorm2d(narrow), act]


def _window(C: int) -> nn.Sequential:
    parts = [(C, 1), (WIDTH, 3), (WIDTH, 3)]
    return nn.Sequential(*(m for n, side in parts for m in _layer(n, WIDTH, side, nn.ReLU())))


def _pixel(C: int, layers: int) -> nn.Sequential:
    first = [C, *(layers + 1) * [_WIDE]]
    last = [_WIDE, _WIDE // 2, WIDTH]

    def stack(sizes: list[int]) -> list[nn.Module]:
        return [m for pair in pairwise(sizes) for m in _layer(*pair, 1, nn.LeakyReLU())]

    return nn.Sequential(*stack(first), nn.Dropout(_DROPOUT), *stack(last))
