"""Noise by address: normal number e of sample i at step k of a seed, the same on every device.

`normal_noise` (Philox, no state) is the definition. Here the step may also be a tensor on the device, so that a
captured CUDA graph, which replays the same launches again and again, draws other numbers each time.
"""

from __future__ import annotations

from torch import Tensor

from hud_fast.diffusion.seeds import Stream, number
from hud_fast.kernels import normal_noise


def noise_key(seed: int, stream: Stream) -> int:
    """The seed of `normal_noise` for a user's seed: 63 bits."""
    return number(seed, stream) >> 1


def addressed_noise(
    key: int,
    first: Tensor,  # () int64: number of the first sample
    step: Tensor,  # () int64
    shape: tuple[int, ...],  # (B, ...)
) -> Tensor:  # (B, ...) float32, on the device of `first`
    """Noise of samples `first` to ``first + B - 1`` at a step.

    On a GPU nothing waits for a number: both addresses are read there.

    Examples
    --------
    >>> import torch
    >>> one = torch.tensor(1)
    >>> both = addressed_noise(5, 0 * one, 7 * one, (2, 3, 4))
    >>> bool((addressed_noise(5, one, 7 * one, (1, 3, 4)) == both[1:]).all())
    True
    """
    return normal_noise(shape, seed=key, step=step, first=first, device=first.device)
