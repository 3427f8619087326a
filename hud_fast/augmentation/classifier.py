"""What every classifier of the downstream test can do, and the loop that trains the two networks.

Rows of a table may differ in their data alone. So a classifier's steps, learning rate and size are fixed, spectra are
standardised with the row's own training data, and everything random follows from the seed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hud_fast._torch_state import plain_torch
from hud_fast.augmentation.windows import Training, cut_windows

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[np.float32]
BATCH = 64
BLOCK = 4096  # windows scored at a time


class Classifier(ABC):
    """A classifier of pixels that was trained on windows.

    Attributes
    ----------
    numbers : tuple of int
        The classes, in the order of the scores.
    title : str
        For tables.
    reach : int
        How many pixels around a pixel it looks at.
    """

    title: ClassVar[str]
    reach: ClassVar[int]
    numbers: tuple[int, ...]

    @classmethod
    @abstractmethod
    def fit(cls, training: Training, *, seed: int, steps: int | None = None) -> Classifier:
        """Train it; `steps` in place of the classifier's own, where it has any."""

    @abstractmethod
    def features(self, spectra: Array) -> Array:  # (..., C) -> (..., F)
        """What it looks at in place of spectra: standardised, perhaps fewer."""

    @abstractmethod
    def scores(self, windows: Array) -> Array:  # (n, s, s, F) -> (n, K)
        """How much speaks for each class, of windows of `features`."""

    def scores_at(
        self,
        images: Array,  # (n, H, W, C)
        places: tuple[NDArray[np.integer], ...],  # image, row, column: (m,) each
    ) -> Array:  # (m, K)
        """The scores of some pixels."""
        seen = self.features(images)
        found = [np.empty((0, len(self.numbers)), np.float32)]
        for start in range(0, len(places[0]), BLOCK):
            some = tuple(axis[start : start + BLOCK] for axis in places)
            found.append(self.scores(cut_windows(seen, some, self.reach)))
        return np.concatenate(found)

    def predict(
        self,
        image: Array,  # (H, W, C)
        where: NDArray[np.bool_] | None = None,  # (H, W)
    ) -> NDArray[np.int64]:  # (H, W)
        """The class of every pixel, or of those in `where` and 0 elsewhere."""
        asked = np.ones(image.shape[:2], bool) if where is None else where
        rows, columns = np.nonzero(asked)
        scores = self.scores_at(image[None], (np.zeros_like(rows), rows, columns))
        classes = np.zeros(asked.shape, np.int64)
        classes[asked] = np.asarray(self.numbers)[scores.argmax(axis=1)]
        return classes


class Standard:
    """Bands with mean 0 and standard deviation 1 over the (weighted) training data."""

    def __init__(self, spectra: Array, weights: NDArray[np.float64]) -> None:  # (n, C), (n,)
        share = weights / weights.sum()
        self.mean = (share @ spectra.astype(np.float64)).astype(np.float32)
        centred = spectra - self.mean
        deviation = np.sqrt(share @ (centred.astype(np.float64) ** 2))
        # a band that is the same everywhere tells nothing: it stays 0
        flat = deviation <= 1e-7 * np.abs(self.mean)
        self.factor = np.where(flat, 0, 1 / np.where(flat, 1, deviation)).astype(np.float32)

    def __call__(self, spectra: Array) -> Array:
        found: Array = (spectra - self.mean) * self.factor
        return found


def train_network(
    network: nn.Module,
    inputs: Array,  # (n, ...)
    classes: NDArray[np.int64],  # (n,) places among the scores
    weights: NDArray[np.float64],  # (n,)
    *,
    steps: int,
    rate: float,
    seed: int,
) -> None:
    """AdamW on batches drawn with the weights as probabilities; the rate rises and falls to nothing."""
    import torch
    from torch.nn.functional import cross_entropy

    with plain_torch():
        x, y = torch.from_numpy(inputs), torch.from_numpy(classes)
        rng = np.random.default_rng([seed, 3])
        drawn = rng.choice(len(y), size=(steps, BATCH), p=weights / weights.sum())
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
        rises = max(1, steps // 10)
        network.train()
        for step, batch in enumerate(torch.from_numpy(drawn)):
            for group in optimizer.param_groups:
                group["lr"] = rate * min((step + 1) / rises, 1 - step / steps)
            optimizer.zero_grad()
            cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
        network.eval().requires_grad_(False)


def network_scores(network: nn.Module, inputs: Array) -> Array:  # (n, ...) -> (n, K)
    """Log-probabilities."""
    import torch

    with plain_torch(), torch.no_grad():
        scores: Array = network(torch.from_numpy(inputs)).log_softmax(dim=-1).numpy()
    return scores
