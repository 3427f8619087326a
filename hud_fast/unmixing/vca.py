"""Vertex component analysis: the endmembers are the scene's own purest pixels.

    J. M. P. Nascimento, J. M. Bioucas-Dias, "Vertex component analysis: a fast algorithm to unmix
    hyperspectral data", IEEE TGRS 43(4), 2005.

Pixels y (C,) are projected to D dimensions, then D times: draw a direction orthogonal to the
endmembers found so far, take the pixel with the largest absolute projection on it. The projection
depends on the signal-to-noise ratio, estimated from the moments (the paper's eqs. for SNR and its
threshold 15 + 10 log10 D dB):

* SNR below the threshold, "affine": x = U^T (y - mean) on D - 1 principal axes, lifted by a
  constant D-th coordinate;
* SNR above, "projective": x = U^T y on D singular axes, divided by <x, mean(x)>, which removes
  brightness.

Shapes: pixels (..., C) -> endmembers (D, C) and index (D,) into the flattened pixels. Cost: two
passes for the (C, C) moments in float64, one for the projection, then O(P D) per endmember and run.
Memory: one block of pixels and the (P, D) projection; the scene itself may lie in a memory map.
"""

from __future__ import annotations

from typing import Any, Literal, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import ArrayT, check_choice, check_count, check_flag, check_number, check_seed
from hud_fast.unmixing.pixels import (
    Moments,
    Pixels,
    beside,
    flat_nonzero,
    moments,
    space_of,
    to_host,
)

Criterion = Literal["volume", "residual"]

# A direction that carries less than this share of the largest variance is rounding, not signal:
# float32 storage alone leaves about 1e-15 of the mean power, 12-bit sensors 1e-8.
_RANK_TOLERANCE = 1e-13
_RESIDUAL_PIXELS = (
    20_000  # enough to tell runs apart (they differ by percents), cheap at any scene size
)


@overload
def vca(
    pixels: ArrayT,
    D: int,
    *,
    seed: int = ...,
    best_of: int = ...,
    criterion: Criterion = ...,
    return_index: Literal[False] = ...,
    snr_db: float | None = ...,
    mask: Any = ...,
) -> ArrayT: ...
@overload
def vca(
    pixels: ArrayT,
    D: int,
    *,
    seed: int = ...,
    best_of: int = ...,
    criterion: Criterion = ...,
    return_index: Literal[True],
    snr_db: float | None = ...,
    mask: Any = ...,
) -> tuple[ArrayT, ArrayT]: ...
def vca(
    pixels: ArrayT,  # (..., C)
    D: int,
    *,
    seed: int = 0,
    best_of: int = 1,
    criterion: Criterion = "volume",
    return_index: bool = False,
    snr_db: float | None = None,
    mask: Any = None,  # (...) bool
) -> ArrayT | tuple[ArrayT, ArrayT]:  # (D, C), (D,)
    """Extract D endmembers by vertex component analysis.

    The classic program returns the pixels it found after projection onto the signal subspace; here
    the scene's own pixels come back, so an endmember is a measured spectrum and never negative
    where the scene is not. Masked, non-finite and all-zero pixels are never chosen and enter no
    statistic.

    Parameters
    ----------
    pixels : array or tensor, (..., C)
        Spectra in any unit; the result does not depend on it. Integers and floats.
    D : int
        Number of endmembers, 1 <= D <= min(C, number of valid pixels).
    seed : int
        Seed of the random directions. The same seed gives the same endmembers.
    best_of : int
        Number of runs with different directions, of which the best is kept: VCA is a lottery on one
        seed. Without `snr_db`, every second run takes the other projection: the projective one
        ignores brightness, and under the sum-to-one constraint the affine one often reconstructs
        better.
    criterion : {"volume", "residual"}
        What "best" means: the largest simplex volume in the first D - 1 principal axes, or the
        smallest root-mean-square FCLS residual over at most 20 000 pixels taken evenly from the
        scene.
    return_index : bool
        Also return the positions of the endmembers.
    snr_db : float, optional
        Signal-to-noise ratio in dB, in place of the estimate: -inf forces the affine projection,
        inf the projective one.
    mask : array or tensor of bool, (...), optional
        True = valid pixel.

    Returns
    -------
    endmembers : (D, C)
        The kind and device of `pixels`; its dtype if floating, else float64.
    index : (D,) int64
        Only with ``return_index=True``: positions in ``pixels.reshape(-1, C)``.

    Raises
    ------
    TypeError
        `pixels` not numeric, `mask` not boolean, `D`, `seed` or `best_of` not an int.
    ValueError
        D larger than the number of bands, of valid pixels, or than the pixels' affine dimension
        allows; no valid pixel; a mask of another shape; an unknown criterion.

    References
    ----------
    Nascimento and Bioucas-Dias, IEEE TGRS 43(4), 2005, Algorithm 1.

    Examples
    --------
    Mixtures of three spectra; the pure pixels stand at 0, 1 and 2:

    >>> import numpy as np
    >>> pure = np.array([[1.0, 0.2, 0.1, 0.4], [0.1, 0.9, 0.3, 0.2], [0.2, 0.1, 0.8, 0.9]])
    >>> shares = np.random.default_rng(0).dirichlet([1, 1, 1], size=50)
    >>> endmembers, index = vca(np.vstack([pure, shares @ pure]), 3, return_index=True)
    >>> sorted(index.tolist())
    [0, 1, 2]
    """
    check_choice("vca", "criterion", criterion, ("volume", "residual"))
    D = check_count("vca", "D", D)
    best_of = check_count("vca", "best_of", best_of)
    seed = check_seed("vca", seed)
    return_index = check_flag("vca", "return_index", return_index)
    if snr_db is not None and np.isnan(snr_db := check_number("vca", "snr_db", snr_db)):
        raise ValueError("vca: `snr_db` must be a number of decibels or None, got nan")
    reader = Pixels("vca", pixels, mask)
    if reader.C < D:
        raise ValueError(f"vca: `D` must be at most the number of bands, C = {reader.C}, got {D}")
    if reader.P < D:
        raise ValueError(f"vca: `D` must be at most the number of pixels, {reader.P}, got {D}")
    stats = moments(reader)
    if stats.count < D:
        raise ValueError(
            f"vca: `D` must be at most the number of valid pixels, {stats.count}, got {D}"
        )
    principal = _principal_axes(stats, D)  # (C, D - 1)
    snr = _snr_db(stats, D) if snr_db is None else float(snr_db)
    affine = snr < 15 + 10 * np.log10(D)
    # The projective search ignores brightness, the affine one does not, and which of them suits a
    # scene does not show in its SNR alone: further runs alternate unless the caller has fixed the
    # ratio.
    searches = [_project(reader, stats, D, principal, affine)]
    if best_of > 1 and snr_db is None and D > 1:
        searches.append(_project(reader, stats, D, principal, not affine))

    valid = flat_nonzero(stats.valid)
    sample = valid[:: -(-len(valid) // _RESIDUAL_PIXELS)]
    best, best_score = None, -np.inf
    for run in range(best_of):
        points, rows = searches[run % len(searches)]
        chosen = to_host(rows[_vertices(points, D, np.random.default_rng([seed, run]))])
        score = 0.0
        if best_of > 1:
            spectra = to_host(reader.take(chosen)).astype(np.float64) / stats.scale
            if criterion == "volume":
                score = _log_volume((spectra - stats.mean) @ principal)
            else:
                score = -_residual(reader, sample, spectra, stats.scale)
        if best is None or score > best_score:
            best, best_score = chosen, score
    assert best is not None  # best_of >= 1

    found = to_host(reader.take(best))
    if found.dtype.kind != "f":
        found = found.astype(np.float64)
    if isinstance(pixels, Tensor):
        dtype = pixels.dtype if pixels.is_floating_point() else torch.float64
        endmembers: Any = torch.from_numpy(np.array(found)).to(device=pixels.device, dtype=dtype)
        index: Any = torch.from_numpy(best).to(pixels.device)
    else:
        endmembers, index = np.array(found), best
    if return_index:
        return cast("tuple[ArrayT, ArrayT]", (endmembers, index))
    return cast("ArrayT", endmembers)


def _principal_axes(stats: Moments, D: int) -> NDArray[np.float64]:  # (C, D - 1)
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


def _snr_db(stats: Moments, D: int) -> float:
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


def _project(
    reader: Pixels,
    stats: Moments,
    D: int,
    principal: NDArray[np.float64],  # (C, D - 1)
    affine: bool,
) -> tuple[Any, Any]:  # (n, D), (n,)
    """Valid pixels in the D coordinates of the search, and their places in the flattened scene, where that lies."""
    if D == 1:
        # One vertex: no simplex to search. The axis of the mean makes it the pixel brightest along
        # the mean.
        axes = (stats.mean / np.linalg.norm(stats.mean))[:, None]
    elif affine:
        axes = principal
    else:
        axes = np.linalg.eigh(stats.correlation)[1][:, ::-1][:, :D]
    there, mean = beside(reader.array, axes), beside(reader.array, stats.mean)
    xp, projected = space_of(stats.valid), []
    for rows, block in reader.blocks():
        kept = block[stats.valid[rows]] / stats.scale
        if affine and D > 1:
            kept = kept - mean
        projected.append(kept @ there)
    points, where = xp.concatenate(projected), flat_nonzero(stats.valid)
    if D == 1:
        return points, where
    if affine:
        radius = float((points**2).sum(axis=1).max()) ** 0.5
        return xp.concatenate([points, xp.full_like(points[:, :1], radius)], axis=1), where
    centre = axes.T @ stats.mean
    along = points @ beside(points, centre)
    # The projection divides by <x, mean>: a pixel at or behind that plane has no projection.
    ahead = along > 1e-9 * float(centre @ centre)
    if int(ahead.sum()) < D:
        raise ValueError(
            f"vca: `pixels` must have at least D = {D} spectra on the side of their mean for the "
            f"projective projection, got {int(ahead.sum())}; snr_db=-inf takes the affine one"
        )
    return points[ahead] / along[ahead, None], where[ahead]


def _vertices(
    points: Any,  # (n, D)
    D: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:  # (D,)
    """One run: D times the extreme point along a random direction orthogonal to those before.

    Of points on a GPU only the places and coordinates of those found come to the host.
    """
    found = np.zeros((D, D))
    found[D - 1, 0] = 1.0  # the paper's start: keeps the first direction off the lifted coordinate
    if D == 1:
        found[0, 0] = 0.0
    index = np.empty(D, dtype=np.int64)
    for i in range(D):
        direction = generator.random(D)
        direction -= found @ (np.linalg.pinv(found) @ direction)
        extent = abs(points @ beside(points, direction / np.linalg.norm(direction)))
        extent[
            beside(points, index[:i])
        ] = -1.0  # never the same pixel twice, whatever the rounding
        index[i] = int(extent.argmax())
        found[:, i] = to_host(points[index[i]])
    return index


def _log_volume(vertices: NDArray[np.float64]) -> float:  # vertices (D, D - 1)
    """Logarithm of the simplex volume, up to the constant log (D - 1)!."""
    edges = vertices[1:] - vertices[0]
    return float(np.linalg.slogdet(edges)[1]) if len(edges) else 0.0


def _residual(
    reader: Pixels,
    rows: Any,  # (n,)
    endmembers: NDArray[np.float64],  # (D, C), divided by scale
    scale: float,
) -> float:
    """Root-mean-square FCLS residual over pixels, in units of the scene's scale."""
    from hud_fast.kernels import fcls

    taken = reader.take(rows)
    sample = (taken.double() if isinstance(taken, Tensor) else taken.astype(np.float64)) / scale
    A = beside(sample, endmembers)
    return float(((sample - fcls(sample, A) @ A) ** 2).mean() ** 0.5)
