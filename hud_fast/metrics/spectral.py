"""Distances between paired spectra: reconstruction cosine and spectral angle (SAM).

    cosine(a, b) = <a, b> / (|a| |b|)        angle(a, b) = arccos of it, in degrees by default

The angle is computed as 2 atan2(|u - v|, |u + v|) of the unit spectra: arccos loses half of the
digits near zero, where reconstructions live. A zero spectrum has no direction: its cosine with
anything is 0 and its angle 90 degrees.

Shapes: a (..., C), b (..., C) -> (...), or their mean.
"""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import torch
from torch import Tensor

from hud_fast._checks import check_choice, check_flag, like_input
from hud_fast.metrics._search import paired_cosine
from hud_fast.metrics.samples import Spectra, read_spectra
from hud_fast.unmixing.pixels import BLOCK_VALUES


def reconstruction_cosine(
    a: Any,  # (..., C)
    b: Any,  # (..., C)
    *,
    mask: Any = None,  # (...) bool
) -> float:
    """Mean cosine of paired spectra, such as pixels and their reconstruction.

    Parameters
    ----------
    a, b : array or tensor, (..., C)
        Same shape; any unit.
    mask : array or tensor of bool, (...), optional
        True = valid pixel. Pixels that are masked, or not finite on either side, are left out; zero
        pixels count with cosine 0.

    Returns
    -------
    float
        In [-1, 1].

    Raises
    ------
    TypeError
        Input that is not numeric, or a mask that is not boolean.
    ValueError
        Shapes that differ, or no valid pixel.

    Examples
    --------
    >>> import numpy as np
    >>> reconstruction_cosine(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [1.0, 0.0]])).__round__(6)
    0.853553
    """
    left, right = _pairs("reconstruction_cosine", a, b, mask)
    rows = max(1, BLOCK_VALUES // left.shape[1])
    parts = zip(left.split(rows), right.split(rows), strict=True)
    return float(torch.cat([paired_cosine(p, q) for p, q in parts]).mean())


@overload
def spectral_angle(
    a: Any, b: Any, *, degrees: bool = ..., mask: Any = ..., reduction: Literal["mean"] = ...
) -> float: ...
@overload
def spectral_angle(
    a: Any, b: Any, *, degrees: bool = ..., mask: Any = ..., reduction: Literal["none"]
) -> Any: ...
def spectral_angle(
    a: Any,  # (..., C)
    b: Any,  # (..., C)
    *,
    degrees: bool = True,
    mask: Any = None,  # (...) bool
    reduction: Literal["mean", "none"] = "mean",
) -> float | Any:  # () or (...)
    """Spectral angle (SAM) of paired spectra, in degrees unless told otherwise.

    Parameters
    ----------
    a, b : array or tensor, (..., C)
        Same shape; any unit.
    degrees : bool
        Degrees in [0, 180], or radians in [0, pi].
    mask : array or tensor of bool, (...), optional
        True = valid pixel.
    reduction : {"mean", "none"}
        The mean over valid pixels, or the angle of each.

    Returns
    -------
    float or array or tensor, (...)
        Float64, the kind of `a`; NaN for pixels that are masked or not finite on either side; 90
        degrees where one of the spectra is zero.

    Raises
    ------
    TypeError
        Input that is not numeric, or a mask that is not boolean.
    ValueError
        Shapes that differ, no valid pixel, an unknown reduction.

    Examples
    --------
    >>> import numpy as np
    >>> spectral_angle(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [1.0, 0.0]])).__round__(6)
    22.5
    """
    name = "spectral_angle"
    check_choice(name, "reduction", reduction, ("mean", "none"))
    degrees = check_flag(name, "degrees", degrees)
    left, right = _read(name, a, b, mask)
    valid = left.valid & right.valid
    _check_any(name, valid)
    flat, other = left.values.reshape(-1, left.C), right.values.reshape(-1, left.C)
    rows = max(1, BLOCK_VALUES // left.C)
    parts = zip(flat.split(rows), other.split(rows), strict=True)
    angle = torch.cat([_angle(p, q) for p, q in parts]).reshape(valid.shape)
    if degrees:
        angle = angle * (180 / math.pi)
    if reduction == "mean":
        return float(angle[valid].mean())
    return like_input(torch.where(valid, angle, torch.nan), a)


def _angle(a: Tensor, b: Tensor) -> Tensor:  # (n, C), (n, C) -> (n,) radians
    a, b = a.double(), b.double()
    norm_a, norm_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    zero = (norm_a == 0) | (norm_b == 0)
    u, v = a / torch.where(zero, 1, norm_a), b / torch.where(zero, 1, norm_b)
    angle = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))
    return torch.where(zero[:, 0], math.pi / 2, angle)


def _read(function: str, a: Any, b: Any, mask: Any) -> tuple[Spectra, Spectra]:
    left = read_spectra(function, "a", a, "mask", mask)
    right = read_spectra(function, "b", b)
    if left.values.shape != right.values.shape:
        raise ValueError(
            f"{function}: `b` must have the shape {tuple(left.values.shape)} of `a`, "
            f"got {tuple(right.values.shape)}"
        )
    return left, Spectra(
        right.values.to(left.values.device), right.valid.to(left.valid.device), right.counts
    )


def _pairs(function: str, a: Any, b: Any, mask: Any) -> tuple[Tensor, Tensor]:  # (n, C) each
    left, right = _read(function, a, b, mask)
    valid = left.valid & right.valid
    _check_any(function, valid)
    return left.values[valid], right.values[valid]


def _check_any(function: str, valid: Tensor) -> None:
    if not bool(valid.any()):
        raise ValueError(
            f"{function}: `a` and `b` must share at least one valid pixel, got none: all of the "
            f"{valid.numel()} are masked or not finite on one side"
        )
