"""The few labels that a user would have: so many pixels of each class, drawn from the train side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_labels(
    train: NDArray[np.int64],  # (H, W)
    per_class: int,
    seed: int,
) -> NDArray[np.int64]:  # (H, W)
    """Keep `per_class` labelled pixels of each class, all where it has fewer.

    Draws of one seed are nested: the five pixels of a class are among the ten. So what more labels are worth is
    measured on the same ground.

    Examples
    --------
    >>> train = np.array([[1, 1, 1, 2, 0]])
    >>> few = draw_labels(train, 2, seed=0)
    >>> (few == 1).sum().item(), (few == 2).sum().item(), (few[few > 0] == train[few > 0]).all().item()
    (2, 1, True)
    """
    kept = np.zeros_like(train)
    for number in np.unique(train[train > 0]).tolist():
        places = np.flatnonzero(train == number)
        chosen = np.random.default_rng([seed, 2, number]).permutation(places)[:per_class]
        kept.ravel()[chosen] = number
    return kept


def number_of(*keys: int) -> int:
    """A seed of its own for whatever these keys name, below 2^31.

    Examples
    --------
    >>> number_of(0, 1) == number_of(0, 1), number_of(0, 1) == number_of(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(keys).generate_state(1)[0] >> 1)
