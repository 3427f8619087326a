"""A small spectral-spatial network: a few principal components of 7 x 7 windows, two convolutions.

As in HybridSN (Roy, Krishna, Dubey & Chaudhuri 2020, IEEE GRSL 17(2)) the spectra are first brought to their principal
components; the rest is small enough to be trained in seconds, thousands of times.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hud_fast._torch_state import plain_torch
from hud_fast.augmentation.classifier import (
    Array,
    Classifier,
    Standard,
    network_scores,
    train_network,
)
from hud_fast.augmentation.windows import REACH, SIDE, Training

COMPONENTS = 24
LEAST = 1e-4  # of the largest variance: smaller ones are not brought up further
PIXELS = 20_000  # that standardisation and components are of
WIDTH = 32
STEPS = 150
RATE = 5e-3


class Convolutions(nn.Module):
    """(n, F, 7, 7) to scores: 7 x 7 to 5 x 5 to 3 x 3, and the mean of that."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 2 * WIDTH, 3, bias=False),
            nn.BatchNorm2d(2 * WIDTH),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * WIDTH, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


class CNN(Classifier):
    """Standardised bands, 24 principal components, two layers of 3 x 3 convolutions with batch normalisation."""

    title: ClassVar[str] = "CNN"
    reach: ClassVar[int] = REACH

    def __init__(
        self,
        numbers: tuple[int, ...],
        standard: Standard,
        axes: Array,  # (C, F)
        network: nn.Module,
    ) -> None:
        self.numbers, self.standard, self.axes, self.network = numbers, standard, axes, network

    @classmethod
    def fit(cls, training: Training, *, seed: int, steps: int | None = None) -> CNN:
        """Train it for 150 steps of 64 windows."""
        values = training.windows.values
        spectra = values.reshape(-1, values.shape[-1])
        # evenly among all pixels of all windows: more of them would cost more than the training
        some = np.linspace(0, len(spectra) - 1, min(len(spectra), PIXELS)).astype(np.int64)
        spectra, weights = spectra[some], training.weights[some // (SIDE * SIDE)]
        standard = Standard(spectra, weights)
        axes = principal_axes(standard(spectra), weights)
        with plain_torch(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = Convolutions(axes.shape[1], len(training.numbers))
        made = cls(training.numbers, standard, axes, network)
        inputs = _channels_first(made.features(values))
        train_network(
            network,
            inputs,
            training.index,
            training.weights,
            steps=STEPS if steps is None else steps,
            rate=RATE,
            seed=seed,
        )
        return made

    def features(self, spectra: Array) -> Array:
        """Principal components of the standardised spectra."""
        found: Array = self.standard(spectra) @ self.axes
        return found

    def scores(self, windows: Array) -> Array:
        """Log-probabilities."""
        return network_scores(self.network, _channels_first(windows))


def principal_axes(
    spectra: Array,  # (n, C) standardised
    weights: NDArray[np.float64],  # (n,)
) -> Array:  # (C, F)
    """Axes of the largest variance, each over the fourth root of it: small components count, noise stays small."""
    wide = spectra.astype(np.float64)
    values, axes = np.linalg.eigh((wide * (weights / weights.sum())[:, None]).T @ wide)
    values, axes = values[::-1][:COMPONENTS], axes[:, ::-1][:, :COMPONENTS]
    # an axis has no direction of its own: its largest entry is positive
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    least = max(float(values[0]) * LEAST, float(np.finfo(np.float32).tiny))
    scale = (float(values[0]) * values.clip(least, None)) ** 0.25
    return np.ascontiguousarray(axes / scale, dtype=np.float32)


def _channels_first(windows: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(windows, -1, 1))
