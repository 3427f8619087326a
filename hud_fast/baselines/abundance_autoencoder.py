"""The unmixing autoencoder of UnmixDiff and of Unmixing Before Fusion: spectra in [0, 1] to abundances and back.

    encoder   3 x 3 convolution, five groups w -> 2w -> 4w -> 3w -> 1.5w -> D, softmax over D
    group     pairs of (3 x 3 residual block, 1 x 1 residual block with channel attention), a skip around all of them,
              3 x 3 convolution
    decoder   y = W a, W (C, D) free: no bias, no sign

    loss = mean sqrt(|x - y|^2 + 1e-6) + 0.1 mean angle(x, y) + 0.015 mean (W[c + 1] - W[c])^2

Yu et al., IEEE GRSL 2024 (UnmixDiff); w = 32, D = 5 and three pairs there.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

RESIDUAL = 0.1  # of what a residual block adds
REDUCTION = 16  # of channels inside an attention
SOFTNESS = 1e-3  # of the Charbonnier loss, in reflectance
ANGLE, VARIATION = 0.1, 0.015  # weights of the loss's other terms
# Of a cosine: the arc cosine's slope is infinite at 1, and 0 times that is NaN. The angle here is 1.4e-3.
NEAREST = 1 - 1e-6


class _Residual(nn.Module):
    """x plus a tenth of two convolutions of it, of `side` x `side`, with or without channel attention."""

    def __init__(self, width: int, side: int, *, attention: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, side, padding=side // 2)
        self.second = nn.Conv2d(width, width, side, padding=side // 2)
        inner = max(1, width // REDUCTION)
        self.gate = (
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(width, inner, 1),
                nn.ReLU(),
                nn.Conv2d(inner, width, 1),
                nn.Sigmoid(),
            )
            if attention
            else None
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, width, H, W), twice
        change: Tensor = self.second(self.first(x).relu())
        if self.gate is not None:
            change = change * self.gate(change)
        return x + RESIDUAL * change


class _Group(nn.Module):
    """Pairs of residual blocks under one skip, then a convolution to another width."""

    def __init__(self, width: int, to: int, pairs: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for _ in range(pairs):
            blocks += [_Residual(width, 3, attention=False), _Residual(width, 1, attention=True)]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Conv2d(width, to, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, width, H, W) -> (B, to, H, W)
        to: Tensor = self.last(x + self.blocks(x))
        return to


class AbundanceAutoencoder(nn.Module):
    """Abundances of windows by a convolutional encoder, spectra by a linear decoder.

    Parameters
    ----------
    inputs : int
        Bands that the encoder sees.
    C : int
        Bands of the spectra.
    D : int
        Endmembers.
    width : int
        Channels after the first convolution; even.
    pairs : int
        Pairs of residual blocks in each group.

    Examples
    --------
    >>> import torch
    >>> network = AbundanceAutoencoder(12, 12, D=3, width=4, pairs=1)
    >>> abundances = network.encode(torch.rand(2, 12, 8, 8))
    >>> abundances.shape, bool((abundances.sum(dim=1) - 1).abs().max() < 1e-5)
    (torch.Size([2, 3, 8, 8]), True)
    >>> network.decode(abundances).shape
    torch.Size([2, 12, 8, 8])
    """

    def __init__(self, inputs: int, C: int, *, D: int, width: int, pairs: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 3 * width, 3 * width // 2, D]
        groups = [_Group(a, b, pairs) for a, b in pairwise(widths)]
        self.encoder = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), *groups)
        self.decoder = nn.Conv2d(D, C, 1, bias=False)

    @property
    def spectra(self) -> Tensor:  # (C, D)
        """The decoder's weights: a spectrum a column."""
        return self.decoder.weight[:, :, 0, 0]

    def encode(self, x: Tensor) -> Tensor:  # (B, inputs, H, W) -> (B, D, H, W)
        """Abundances: above 0, of sum one."""
        scores: Tensor = self.encoder(x)
        return scores.softmax(dim=1)

    def decode(self, abundances: Tensor) -> Tensor:  # (B, D, H, W) -> (B, C, H, W)
        """Spectra mixed from abundances, which need not sum to one."""
        mixed: Tensor = self.decoder(abundances)
        return mixed

    def loss(
        self,
        x: Tensor,  # (B, inputs, H, W), in [0, 1]
        target: Tensor,  # (B, C, H, W), in [0, 1]
    ) -> Tensor:  # ()
        """What the training lowers: reconstruction, angle, and roughness of the decoder's spectra."""
        made = self.decode(self.encode(x))
        return (
            charbonnier(made, target)
            + ANGLE * mean_angle(made, target)
            + VARIATION * roughness(self.spectra)
        )


def charbonnier(a: Tensor, b: Tensor) -> Tensor:  # of one shape -> ()
    """Mean of sqrt((a - b)^2 + 1e-6).

    Examples
    --------
    >>> import torch
    >>> round(float(charbonnier(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0]))), 4)
    0.5005
    """
    return ((a - b).square() + SOFTNESS**2).sqrt().mean()


def mean_angle(a: Tensor, b: Tensor) -> Tensor:  # (B, C, ...) -> ()
    """Mean angle between spectra along axis 1, in radians; below 1.4e-3 it has no gradient.

    Examples
    --------
    >>> import torch
    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    >>> round(float(mean_angle(a, b)), 4)
    0.7854
    """
    cosine = nn.functional.cosine_similarity(a, b, dim=1)
    return cosine.clamp(-NEAREST, NEAREST).acos().mean()


def roughness(spectra: Tensor) -> Tensor:  # (C, D) -> ()
    """Squared total variation along the bands: mean of the squared steps; 0 of one band.

    Examples
    --------
    >>> import torch
    >>> float(roughness(torch.tensor([[0.0, 1.0], [1.0, 1.0], [3.0, 1.0]])))
    1.25
    """
    if len(spectra) < 2:
        return spectra.sum() * 0
    return spectra.diff(dim=0).square().mean()
