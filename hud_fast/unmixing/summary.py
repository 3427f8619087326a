"""How well a set of endmembers and abundances explains a scene, in a few numbers.

Per pixel, with y its spectrum and y' = x A its reconstruction: cosine <y, y'> / (|y| |y'|), error
|y - y'|. A pixel that is masked, not finite or zero in every band (no data) is left out and
counted.
"""

from __future__ import annotations

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
    name = "unmixing_summary"
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

    used, cosine_sum, cosine_min, error, power = 0, 0.0, np.inf, 0.0, 0.0
    zeros, negatives, sum_error = 0, 0, 0.0
    for rows, block in reader.blocks():
        xp = space_of(block)
        x = xp.asarray(X[rows], dtype=xp.float64)
        good = reader.valid_in(rows, block) & xp.isfinite(x).all(axis=1)
        if not good.any():
            continue
        y, x = block[good], x[good]
        again = x @ spectra
        norms = xp.linalg.norm(y, axis=1) * xp.linalg.norm(again, axis=1)
        cosine = xp.einsum("nc,nc->n", y, again) / xp.where(norms > 0, norms, np.inf)
        used += len(y)
        cosine_sum += float(cosine.sum())
        cosine_min = min(cosine_min, float(cosine.min()))
        error += float(((y - again) ** 2).sum())
        power += float((y**2).sum())
        zeros += int((x == 0).sum())
        negatives += int((x < 0).sum())
        sum_error = max(sum_error, float(abs(x.sum(axis=1) - 1).max()))
    if used == 0 or power == 0:
        raise ValueError(
            f"{name}: `pixels` must hold at least one valid pixel with finite abundances, got none"
        )
    values = used * len(A)
    return {
        "pixels": used,
        "left_out": reader.P - used,
        "reconstruction_cosine": min(cosine_sum / used, 1.0),
        "reconstruction_cosine_min": min(cosine_min, 1.0),
        "rmse": float(np.sqrt(error / (used * reader.C))),
        "relative_rmse": float(np.sqrt(error / power)),
        "share_zero": zeros / values,
        "share_clipped": negatives / values,
        "largest_sum_error": sum_error,
        "mean_active": len(A) * (1 - (zeros + negatives) / values),
    }
