"""A small transformer over the spectrum of a single pixel: neighbouring bands are one token.

After SpectralFormer (Hong et al. 2022, IEEE TGRS 60), pixel-wise, with groups of neighbouring bands embedded together;
small enough to be trained in seconds, thousands of times.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hud_fast._torch_state import plain_torch
from hud_fast.augmentation.classifier import (
    Array,
    Classifier,
    Standard,
    network_scores,
    train_network,
)
from hud_fast.augmentation.windows import Training

TOKENS = 16
WIDTH = 32
HEADS = 4
LAYERS = 2
STEPS = 200
RATE = 8e-3


class Spectral(nn.Module):
    """(n, C) to scores."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.tokens = min(TOKENS, bands)
        self.group = -(-bands // self.tokens)
        self.tokens = -(-bands // self.group)
        self.embed = nn.Linear(self.group, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(self.tokens, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        missing = self.tokens * self.group - x.shape[1]
        x = nn.functional.pad(x, (0, missing)).unflatten(1, (self.tokens, self.group))
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.norm(x).mean(dim=1))
        return scores


class Block(nn.Module):
    """Self-attention and a layer for each token, each normalised before and added."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.each = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:  # (n, T, WIDTH)
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in self.qkv(self.before(x)).chunk(3, dim=-1)
        )
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        added: Tensor = x + self.each(x)
        return added


class Transformer(Classifier):
    """Standardised bands in 16 tokens, width 32, two layers of four heads."""

    title: ClassVar[str] = "spectral transformer"
    reach: ClassVar[int] = 0

    def __init__(self, numbers: tuple[int, ...], standard: Standard, network: nn.Module) -> None:
        self.numbers, self.standard, self.network = numbers, standard, network

    @classmethod
    def fit(cls, training: Training, *, seed: int, steps: int | None = None) -> Transformer:
        """Train it for 200 steps of 64 spectra."""
        standard = Standard(training.spectra, training.weights)
        with plain_torch(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = Spectral(training.spectra.shape[1], len(training.numbers))
        train_network(
            network,
            standard(training.spectra),
            training.index,
            training.weights,
            steps=STEPS if steps is None else steps,
            rate=RATE,
            seed=seed,
        )
        return cls(training.numbers, standard, network)

    def features(self, spectra: Array) -> Array:
        """Standardised spectra."""
        return self.standard(spectra)

    def scores(self, windows: Array) -> Array:
        """Log-probabilities."""
        middle = windows.shape[1] // 2
        return network_scores(self.network, np.ascontiguousarray(windows[:, middle, middle]))
