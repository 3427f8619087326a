"""How well a set of endmembers and abundances explains a scene, in a few numbers.

Per pixel, with y its spectrum and y' = x A its reconstruction: cosine <y, y'> / (|y| |y'|), error
|y - y'|. A pixel that is masked, not finite or zero in every band (no data) is left out and
counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hud_fast._checks import as_numpy, as_wide, check_endmembers, check_flag
from hud_fast.unmixing.pixels import Pixels, beside, on_device, space_of


def unmixing_summary(
    pixels: Any,  # (..., C)
    endmembers: Any,  # (D, C)
    abundances: Any,  # (..., D)
    *,
    mask: Any = None,  # (...) bool
    zeros_are_data: bool = False,
) -> dict[str, float | int]:
    """Reconstruction quality and the make-up of the abundances, as plain numbers (JSON-able).

    Parameters
    ----------
    pixels : array or tensor, (..., C)
        The scene.
    endmembers : array or tensor, (D, C)
        One spectrum a row.
    abundances : array or tensor, (..., D)
        From `fcls` or `linear_abundances`.
    mask : array or tensor of bool, (...), optional
        True = valid pixel.
    zeros_are_data : bool
        Keep pixels that are zero in every band, with cosine 0, as the metrics do. See `Scene`.

    Returns
    -------
    dict
        ``pixels`` (used), ``left_out``, ``reconstruction_cosine`` (mean),
        ``reconstruction_cosine_min``, ``rmse`` (over pixels and bands, in the unit of `pixels`),
        ``relative_rmse`` (divided by the root-mean-square signal), ``share_zero`` (abundances that
        are exactly zero), ``share_clipped`` (negative ones, which the way into the logarithm
        clips), ``largest_sum_error`` (of |sum x - 1|), ``mean_active`` (endmembers above zero a
        pixel).

    Raises
    ------
    TypeError
        Input that is not numeric, or a mask that is not boolean.
    ValueError
        Shapes that do not fit, or no valid pixel.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    >>> x = np.array([[0.25, 0.75], [1.0, 0.0]])
    >>> s = unmixing_summary(x @ A, A, x)
    >>> round(s["reconstruction_cosine"], 6), s["share_zero"], s["rmse"]
    (1.0, 0.25, 0.0)
    """
    return summary_for("unmixing_summary", pixels, endmembers, abundances, mask, zeros_are_data)


def summary_for(
    name: str,
    pixels: Any,  # (..., C)
    endmembers: Any,  # (D, C)
    abundances: Any,  # (..., D)
    mask: Any,  # (...) bool
    zeros_are_data: bool,
) -> dict[str, float | int]:
    """As `unmixing_summary`, of the function whose name errors begin with."""
    reader = Pixels(name, pixels, mask, zeros=check_flag(name, "zeros_are_data", zeros_are_data))
    A = as_numpy(name, "endmembers", endmembers).astype(np.float64)  # small, wherever it lies
    check_endmembers(name, torch.from_numpy(A), reader.C, readable=False)
    X: Any
    if on_device(reader.array):
        X = as_wide(name, "abundances", abundances).detach().to(reader.array.device)
    else:
        X = as_numpy(name, "abundances", abundances)
    if tuple(X.shape) != (*reader.shape, len(A)):
        raise ValueError(
            f"{name}: `abundances` must have shape {(*reader.shape, len(A))}, got {tuple(X.shape)}"
        )
    X, spectra = X.reshape(-1, len(A)), beside(reader.array, A)
    sums = Sums()
    for part in reader.parts():
        places, block = reader.block(part)
        good = reader.valid_in(block, reader.kept_in(part))
        sums.add(part_sums(block, X[places], spectra, good))
    return sums.summary(name, reader.P)


@dataclass
class Sums:
    """What the summary is made of, added up over the parts of a scene."""

    used: int = 0
    cosine: float = 0.0
    least_cosine: float = np.inf
    error: float = 0.0  # squared
    power: float = 0.0
    zeros: int = 0
    negatives: int = 0
    sum_error: float = 0.0
    bands: int = 0
    endmembers: int = 0

    def add(self, part: Sums) -> None:
        """Add those of further pixels."""
        for name in ("used", "cosine", "error", "power", "zeros", "negatives"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.least_cosine = min(self.least_cosine, part.least_cosine)
        self.sum_error = max(self.sum_error, part.sum_error)
        self.bands, self.endmembers = part.bands, part.endmembers

    def summary(self, function: str, pixels: int) -> dict[str, float | int]:
        """The numbers of `unmixing_summary`, of a scene of so many pixels.

        Raises
        ------
        ValueError
            No pixel was valid.
        """
        if self.used == 0 or self.power == 0:
            raise ValueError(
                f"{function}: `pixels` must hold at least one valid pixel with finite abundances, got none"
            )
        values = self.used * self.endmembers
        return {
            "pixels": self.used,
            "left_out": pixels - self.used,
            "reconstruction_cosine": min(self.cosine / self.used, 1.0),
            "reconstruction_cosine_min": min(self.least_cosine, 1.0),
            "rmse": float(np.sqrt(self.error / (self.used * self.bands))),
            "relative_rmse": float(np.sqrt(self.error / self.power)),
            "share_zero": self.zeros / values,
            "share_clipped": self.negatives / values,
            "largest_sum_error": self.sum_error,
            "mean_active": self.endmembers * (1 - (self.zeros + self.negatives) / values),
        }


def part_sums(
    block: Any,  # (n, C) float64
    abundances: Any,  # (n, D)
    endmembers: Any,  # (D, C) float64
    good: Any,  # (n,) bool
) -> Sums:
    """Of some pixels, those that are good and have finite abundances."""
    xp = space_of(block)
    x = xp.asarray(abundances, dtype=xp.float64)
    good = good & xp.isfinite(x).all(axis=1)
    if not good.any():
        return Sums(bands=block.shape[1], endmembers=len(endmembers))
    y, x = (block, x) if good.all() else (block[good], x[good])
    again = x @ endmembers
    dots = xp.einsum("nc,nc->n", y, again)
    mine, theirs = xp.einsum("nc,nc->n", y, y), xp.einsum("nc,nc->n", again, again)
    norms = xp.sqrt(mine) * xp.sqrt(theirs)
    cosine = dots / xp.where(norms > 0, norms, np.inf)
    again -= y
    return Sums(
        used=len(y),
        cosine=float(cosine.sum()),
        least_cosine=float(cosine.min()),
        error=float(xp.einsum("nc,nc->", again, again)),
        power=float(mine.sum()),
        zeros=int((x == 0).sum()),
        negatives=int((x < 0).sum()),
        sum_error=float(abs(x.sum(axis=1) - 1).max()),
        bands=block.shape[1],
        endmembers=len(endmembers),
    )
