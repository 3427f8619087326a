"""The projections of vertex component analysis: from C bands to the D coordinates in which it searches.

Affine, on D - 1 principal axes, or projective, on D singular axes: `vca` says when which. The signal-to-noise ratio
that decides is estimated here, too. All from the moments of the valid pixels, in units of their scale.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hud_fast.unmixing.pixels import Moments, Pixels, beside, flat_nonzero, space_of

# A direction that carries less than this share of the largest variance is rounding, not signal:
# float32 storage alone leaves about 1e-15 of the mean power, 12-bit sensors 1e-8.
_RANK_TOLERANCE = 1e-13


def principal_axes(stats: Moments, D: int) -> NDArray[np.float64]:  # (C, D - 1)
    """The D - 1 axes of largest variance; refuses pixels that cannot span D vertices."""
    values, vectors = np.linalg.eigh(stats.covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = _RANK_TOLERANCE * max(values[0], 0.0) + 1e-15 * float(stats.mean @ stats.mean)
    rank = int((values > floor).sum())
    if rank < D - 1:
        raise ValueError(
            f"vca: `D` must be at most {rank + 1}, the number of vertices that the pixels can span "
            f"(they vary in {rank} directions only), got {D}"
        )
    return cast("NDArray[np.float64]", vectors[:, : D - 1])


def estimated_snr_db(stats: Moments, D: int) -> float:
    """Signal-to-noise ratio in dB, from the power inside and outside of the D leading axes."""
    C = len(stats.mean)
    mean_power = float(stats.mean @ stats.mean)
    variances = np.linalg.eigvalsh(stats.covariance)[::-1]
    total = mean_power + float(np.trace(stats.covariance))
    inside = mean_power + float(variances[:D].sum())
    signal, noise = inside - D / C * total, total - inside
    if noise <= 1e-15 * total:  # nothing outside beyond rounding, D = C included
        return np.inf
    return float(10 * np.log10(signal / noise)) if signal > 0 else -np.inf


def project(
    reader: Pixels,
    stats: Moments,
    D: int,
    principal: NDArray[np.float64],  # (C, D - 1)
    affine: bool,
    known: NDArray[np.float64],  # (k, C), divided by scale
) -> tuple[Any, Any, NDArray[np.float64]]:  # (n, D), (n,), (k, D)
    """Valid pixels in the D coordinates of the search, and their places in the flattened scene, where that lies.

    Beside them the kept spectra in the same coordinates.
    """
    if D == 1:
        # One vertex: no simplex to search. The axis of the mean makes it the pixel brightest along
        # the mean.
        axes = (stats.mean / np.linalg.norm(stats.mean))[:, None]
    elif affine:
        axes = principal
    else:
        axes = _singular_axes(stats, D)
    there, mean = beside(reader.array, axes), beside(reader.array, stats.mean)
    xp, projected = space_of(stats.valid), []
    for rows, block in reader.blocks():
        kept = block[stats.valid[rows]] / stats.scale
        if affine and D > 1:
            kept = kept - mean
        projected.append(kept @ there)
    points, where = xp.concatenate(projected), flat_nonzero(stats.valid)
    if D == 1:
        return points, where, known @ axes
    if affine:
        radius = float((points**2).sum(axis=1).max()) ** 0.5
        first = np.pad((known - stats.mean) @ axes, ((0, 0), (0, 1)), constant_values=radius)
        return xp.concatenate([points, xp.full_like(points[:, :1], radius)], axis=1), where, first
    centre = axes.T @ stats.mean
    along = points @ beside(points, centre)
    # The projection divides by <x, mean>: a pixel at or behind that plane has no projection.
    ahead = along > 1e-9 * float(centre @ centre)
    if int(ahead.sum()) < D:
        raise ValueError(
            f"vca: `pixels` must have at least D = {D} spectra on the side of their mean for the "
            f"projective projection, got {int(ahead.sum())}; snr_db=-inf takes the affine one"
        )
    first = known @ axes
    first = first / (first @ centre)[:, None]
    return points[ahead] / along[ahead, None], where[ahead], first


def _singular_axes(stats: Moments, D: int) -> NDArray[np.float64]:  # (C, D)
    """The D axes of largest power."""
    axes: NDArray[np.float64] = np.linalg.eigh(stats.correlation)[1][:, ::-1][:, :D]
    return axes


def is_ahead(
    known: NDArray[np.float64],  # (k, C), divided by scale
    stats: Moments,
    D: int,
) -> NDArray[np.bool_]:  # (k,)
    """Which kept spectra have a projective projection: those on the mean's side, as of the pixels."""
    axes = _singular_axes(stats, D)
    centre = axes.T @ stats.mean
    found: NDArray[np.bool_] = known @ axes @ centre > 1e-9 * float(centre @ centre)
    return found
