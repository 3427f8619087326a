"""The scale that the HUD authors compute every metric in: [0, full_scale] clipped and mapped linearly to [-1, 1].

    x -> 2 clip(x, 0, full_scale) / full_scale - 1

with full_scale 8192 for Indian Pines, 512 for KSC and 4096 for Pavia, PaviaU and Salinas. The map is not linear in the
spectrum, so cosines there are not cosines of reflectance: dark pixels become vectors of nearly -1, alike whatever
their material, and values of the two scales must not be compared.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from hud_fast._checks import check_choice, check_number
from hud_fast.kernels import CosineIndex, WindowIndex
from hud_fast.metrics.mixtures import Mixtures
from hud_fast.metrics.samples import Spectra

Scale = Literal["paper"]


def check_scale(function: str, scale: Any, full_scale: Any, **given: Any) -> float | None:
    """`full_scale` where the authors' scale is wanted, else None; refuses what cannot be mapped among `given`."""
    if scale is None:
        if full_scale is not None:
            raise ValueError(
                f'{function}: `full_scale` is for scale="paper" only, got {full_scale!r} without it'
            )
        return None
    check_choice(function, "scale", scale, ("paper",))
    if full_scale is None:
        raise ValueError(
            f'{function}: `full_scale` must be given with scale="paper": the value that becomes 1'
        )
    full = check_number(function, "full_scale", full_scale)
    if not 0 < full < np.inf:
        raise ValueError(f"{function}: `full_scale` must be positive and finite, got {full}")
    for argument, value in given.items():
        if isinstance(value, Mixtures):
            raise ValueError(
                f'{function}: `{argument}` must hold spectra with scale="paper", got Mixtures: the map is not linear, '
                "so a mixture of mapped endmembers is not the mapped mixture"
            )
        if isinstance(value, (CosineIndex, WindowIndex)):
            raise ValueError(
                f'{function}: `{argument}` must hold spectra with scale="paper", got a {type(value).__name__}, which '
                "was built of other values"
            )
    return full


def mapped(values: Tensor, full_scale: float) -> Tensor:
    """In the authors' scale; NaN stays NaN.

    Examples
    --------
    >>> import torch
    >>> mapped(torch.tensor([-5.0, 0.0, 256.0, 512.0, 9000.0]), 512.0).tolist()
    [-1.0, -1.0, 0.0, 1.0, 1.0]
    """
    return values.clamp(0, full_scale).mul_(2 / full_scale).sub_(1)


def mapped_spectra(spectra: Spectra, full_scale: float | None) -> Spectra:
    """Spectra in the authors' scale, their left-out pixels still zeros; as they are where `full_scale` is None."""
    if full_scale is None:
        return spectra
    values = mapped(spectra.values, full_scale)
    values[~spectra.valid] = 0
    zero = int((spectra.valid & (values == 0).all(-1)).sum())
    return Spectra(values, spectra.valid, replace(spectra.counts, zero=zero))
