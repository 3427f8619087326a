"""Random generators without state: every draw is named by what it is for.

A draw is addressed by the user's seed, a stream (what it is for) and keys (which step, which
sample). Nothing is carried from draw to draw, so a training that resumes at step k draws what it
would have drawn, and sample i gets the noise of sample i whichever process, batch or order it is
made in. NumPy's SeedSequence mixes the address into 64 bits; torch's CPU generator (Mersenne
twister) expands them. The noise itself, the bulk of what is drawn, comes from a counter-based generator
that every device has (`noise`).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a draw is for. The values are part of the meaning of a seed: never renumber."""

    NETWORK = 0  # initial weights
    TRAINING = 1  # crops and t; key: step
    SAMPLING = 2  # noise of a sample; its sample and step are Philox addresses
    TRAINING_NOISE = 3  # noise of a training step; likewise
    LAYOUT = 4  # patches of a layout; key: sample
    BALANCING = 5  # likewise, of the trial blocks that patches are weighted by
    STEERING = 6  # likewise, of those that bring the classes asked for
    RESIDUALS = 7  # which residuals a sample's pixels get; key: sample


def number(seed: int, stream: Stream, *keys: int) -> int:
    """The 64-bit number at the address (seed, stream, keys)."""
    address = np.random.SeedSequence(entropy=seed, spawn_key=(int(stream), *keys))
    return int(address.generate_state(1, np.uint64)[0])


def generator(seed: int, stream: Stream, *keys: int) -> torch.Generator:
    """A fresh CPU generator for the draws at the address (seed, stream, keys).

    Examples
    --------
    >>> a = torch.rand(2, generator=generator(0, Stream.TRAINING, 7))
    >>> b = torch.rand(2, generator=generator(0, Stream.TRAINING, 7))
    >>> bool((a == b).all())
    True
    """
    return torch.Generator("cpu").manual_seed(number(seed, stream, *keys))
