r"""The loss: eq. 15, or the same for v, with or without weights of the times.

    loss = E || eps - eps_theta(sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps, t) ||^2   (eq. 15)

A network that says v is trained on v = sqrt(abar_t) eps - sqrt(1 - abar_t) z_0. ``loss_weight="min_snr"`` weights the
times so that the error in z_0 has weight min(SNR_t, gamma) (Hang et al. 2023, arXiv 2303.09556), SNR = abar / (1 -
abar): the error in eps then has min(SNR, gamma) / SNR, that in v min(SNR, gamma) / (SNR + 1).

Where K channels of class shares follow the abundances (`joint`), each group has its own mean, and the classes' counts
`CLASSES` of the abundances'. By the number of channels, the classes of Indian Pines (K = 16) would be half of the loss;
yet they say one thing a pixel, which class it is of, and spectra are mixed from abundances alone. A class channel's
error counts as far as the pixel's shares are certain: not at all where nothing is known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hud_fast.diffusion.presets import Preset
from hud_fast.diffusion.schedule import NoiseSchedule

CLASSES = 0.5  # of the abundances' part of the loss


def loss_weights(preset: Preset) -> Tensor | None:  # (T,) float32
    """Weight of each time's error in what the network says; None where all are 1.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from hud_fast.diffusion.presets import PRESETS
    >>> weights = loss_weights(replace(PRESETS["paper"], loss_weight="min_snr"))
    >>> round(float(weights[0]), 4), float(weights[-1])
    (0.0005, 1.0)
    """
    if preset.loss_weight == "uniform":
        return None
    signal = NoiseSchedule.of(preset).alphas_cumprod
    # both times (1 - abar), so that nothing is divided by it
    capped = torch.minimum(signal, preset.min_snr_gamma * (1 - signal))
    return (capped if preset.prediction == "v" else capped / signal).float()


def squared_error(
    said: Tensor,  # (B, D, H, W)
    target: Tensor,  # (B, D, H, W)
    weight: Tensor | None,  # (B,)
    certainty: Tensor | None = None,  # (B, H, W), in [0, 1]
    K: int = 0,
) -> Tensor:  # ()
    """Mean square, each item times its weight; the last K channels count by `certainty` and `CLASSES`."""
    error = (said - target).square()
    if certainty is not None:
        D = error.shape[1] - K
        classes = (certainty[:, None] * error[:, D:]).mean(dim=(1, 2, 3))
        each = (error[:, :D].mean(dim=(1, 2, 3)) + CLASSES * classes) / (1 + CLASSES)
        return (each if weight is None else weight * each).mean()
    if weight is None:
        return error.mean()
    return (weight * error.mean(dim=(1, 2, 3))).mean()
