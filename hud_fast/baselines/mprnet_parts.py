"""The parts of MPRNet, from section 3 and figures 2 and 3 of its paper: no convolution has a bias."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate


def conv(before: int, after: int, side: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, side, padding=side // 2, bias=False)


class Attention(nn.Module):
    """Channel attention block: two convolutions, each channel then times what its own mean and the others' say."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, width, 3), nn.PReLU(), conv(width, width, 3))
        narrow = max(width // reduction, 1)
        self.weight = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            conv(width, narrow, 1),
            nn.ReLU(),
            conv(narrow, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        weighted: Tensor = y * self.weight(y)
        return x + weighted


class Halved(nn.Module):
    """Half the side (bilinear: the means of 2 x 2), then other channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.channels = conv(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.channels(avg_pool2d(x, 2))
        return y


class Doubled(nn.Module):
    """Twice the side (bilinear), then other channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.channels = conv(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.channels(
            interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        )
        return y


class EncoderDecoder(nn.Module):
    """Three levels of two attention blocks, down and up, with one on each skip; all levels' features come out.

    Where `fused`, the features of an earlier one, down and up, are added behind each level of the way down (cross-stage
    feature fusion).
    """

    def __init__(self, widths: tuple[int, int, int], reduction: int, *, fused: bool) -> None:
        super().__init__()

        def two(width: int) -> nn.Sequential:
            return nn.Sequential(Attention(width, reduction), Attention(width, reduction))

        self.down = nn.ModuleList(two(width) for width in widths)
        self.halved = nn.ModuleList(Halved(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(two(width) for width in widths)
        self.doubled = nn.ModuleList(Doubled(b, a) for a, b in pairwise(widths))
        self.skip = nn.ModuleList(Attention(width, reduction) for width in widths[:2])
        self.fused = fused
        if fused:
            self.from_down = nn.ModuleList(conv(width, width, 1) for width in widths)
            self.from_up = nn.ModuleList(conv(width, width, 1) for width in widths)

    def forward(
        self,
        x: Tensor,  # (n, widths[0], h, w)
        down_before: Sequence[Tensor] = (),
        up_before: Sequence[Tensor] = (),
    ) -> tuple[list[Tensor], list[Tensor]]:  # each level's, the widest image first
        down: list[Tensor] = []
        for level in range(3):
            x = self.down[level](x if level == 0 else self.halved[level - 1](x))
            if self.fused:
                x = x + self.from_down[level](down_before[level])
                x = x + self.from_up[level](up_before[level])
            down.append(x)
        x = self.up[2](x)
        up = [x]
        for level in (1, 0):
            x = self.up[level](self.doubled[level](x) + self.skip[level](down[level]))
            up.insert(0, x)
        return down, up


class FullResolution(nn.Module):
    """Three original-resolution blocks, each behind the features of one level of an encoder-decoder."""

    def __init__(
        self, widths: tuple[int, int, int], wide: int, blocks: int, reduction: int
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Attention(wide, reduction) for _ in range(blocks)), conv(wide, wide, 3))
            for _ in widths
        )
        self.from_down = nn.ModuleList(
            self._rising(widths[: level + 1], wide) for level in range(3)
        )
        self.from_up = nn.ModuleList(self._rising(widths[: level + 1], wide) for level in range(3))

    @staticmethod
    def _rising(widths: tuple[int, ...], wide: int) -> nn.Sequential:
        """From a level's size to the full one, then to `wide` channels."""
        doubled = [Doubled(b, a) for a, b in reversed(list(pairwise(widths)))]
        return nn.Sequential(*doubled, conv(widths[0], wide, 1))

    def forward(
        self,
        x: Tensor,  # (n, wide, h, w)
        down: Sequence[Tensor],
        up: Sequence[Tensor],
    ) -> Tensor:  # (n, wide, h, w)
        for level, block in enumerate(self.blocks):
            x = x + block(x)
            x = x + self.from_down[level](down[level]) + self.from_up[level](up[level])
        return x


class Supervised(nn.Module):
    """Supervised attention: an image from features, and the features weighted by it."""

    def __init__(self, width: int, C: int) -> None:
        super().__init__()
        self.features = conv(width, width, 1)
        self.residual = conv(width, C, 1)
        self.mask = conv(C, width, 1)

    def forward(
        self,
        x: Tensor,  # (n, width, h, w)
        image: Tensor,  # (n, C, h, w), the stage's input
    ) -> tuple[Tensor, Tensor]:  # (n, C, h, w), (n, width, h, w)
        restored = image + self.residual(x)
        return restored, x + self.features(x) * torch.sigmoid(self.mask(restored))
