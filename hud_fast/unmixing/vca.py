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

Kept endmembers (`keep`) are projected as the pixels are and stand first: each further direction is orthogonal to them,
so what is found is what they leave unexplained.

Shapes: pixels (..., C) -> endmembers (D, C) and index (D,) into the flattened pixels. Cost: a pass
for the (C, C) moments in float64, then a few passes of O(P C D) for all runs together (`extremes`).
Memory: some blocks of pixels; the scene itself may lie in a memory map or a file.
"""

from __future__ import annotations

from typing import Any, Literal, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import (
    ArrayLike,
    ArrayT,
    as_numpy,
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_seed,
)
from hud_fast.unmixing.extremes import extreme_runs
from hud_fast.unmixing.moments import Moments, moments
from hud_fast.unmixing.pixels import Pixels, beside, to_host
from hud_fast.unmixing.views import Projection

Criterion = Literal["volume", "residual"]

# A direction that carries less than this share of the largest variance is rounding, not signal:
# float32 storage alone leaves about 1e-15 of the mean power, 12-bit sensors 1e-8.
_RANK_TOLERANCE = 1e-13
_RESIDUAL_PIXELS = (
    20_000  # enough to tell runs apart (they differ by percents), cheap at any scene size
)


class TooFewVertices(ValueError):
    """The pixels vary in fewer directions than D endmembers need: they span `most` vertices."""

    def __init__(self, message: str, most: int = 1) -> None:
        super().__init__(message, most)
        self.most = most

    def __str__(self) -> str:
        return str(self.args[0])


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
    keep: ArrayLike | None = ...,
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
    keep: ArrayLike | None = ...,
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
    keep: ArrayLike | None = None,  # (k, C)
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
    keep : array or tensor, (k, C), optional
        Endmembers that are known already, 1 <= k < D, in the unit of `pixels`: they come first, as they are, and the
        search finds D - k pixels beside them. The projections are still those of the pixels alone. Where a kept
        spectrum has no projective projection, the affine search is the only one.

    Returns
    -------
    endmembers : (D, C)
        The kind and device of `pixels`; its dtype if floating, else float64.
    index : (D,) int64
        Only with ``return_index=True``: positions in ``pixels.reshape(-1, C)``; -1 for kept ones.

    Raises
    ------
    TypeError
        `pixels` not numeric, `mask` not boolean, `D`, `seed` or `best_of` not an int.
    ValueError
        D larger than the number of bands, of valid pixels, or than the pixels' affine dimension
        allows; no valid pixel; a mask of another shape; an unknown criterion; kept spectra that are not finite, of
        other bands, or as many as D.

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

    Two of them are known:

    >>> vca(np.vstack([pure, shares @ pure]), 3, keep=pure[:2], return_index=True)[1].tolist()
    [-1, -1, 2]
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
    kept = _kept(keep, D, reader.C)  # (k, C)
    best = find_vertices(
        reader,
        moments(reader),
        D,
        seed=seed,
        best_of=best_of,
        criterion=criterion,
        snr_db=snr_db,
        kept=kept,
    )
    found = to_host(reader.take(best))
    if found.dtype.kind != "f":
        found = found.astype(np.float64)
    found = np.concatenate([kept.astype(found.dtype), found])
    best = np.concatenate([np.full(len(kept), -1, dtype=np.int64), best])
    if isinstance(pixels, Tensor):
        dtype = pixels.dtype if pixels.is_floating_point() else torch.float64
        endmembers: Any = torch.from_numpy(np.array(found)).to(device=pixels.device, dtype=dtype)
        index: Any = torch.from_numpy(best).to(pixels.device)
    else:
        endmembers, index = np.array(found), best
    if return_index:
        return cast("tuple[ArrayT, ArrayT]", (endmembers, index))
    return cast("ArrayT", endmembers)


def _kept(keep: ArrayLike | None, D: int, C: int) -> NDArray[np.float64]:  # (k, C)
    """Endmembers that are known already."""
    if keep is None:
        return np.empty((0, C))
    given = as_numpy("vca", "keep", keep).astype(np.float64)
    if given.ndim != 2 or given.shape[1] != C or not 1 <= len(given) < D:
        raise ValueError(
            f"vca: `keep` must have shape (k, C) with k from 1 to D - 1 = {D - 1} and C = {C} as in `pixels`, got "
            f"{given.shape}"
        )
    if not np.isfinite(given).all():
        raise ValueError("vca: `keep` must be finite, got NaN or infinity")
    return given


def find_vertices(
    reader: Pixels,
    stats: Moments,
    D: int,
    *,
    seed: int,
    best_of: int,
    criterion: Criterion,
    snr_db: float | None = None,
    kept: NDArray[np.float64],  # (k, C)
) -> NDArray[np.int64]:  # (D - k,)
    """As `vca`, of pixels whose moments are known: the places of the pixels found, beside the kept spectra."""
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
    known = kept / stats.scale
    either = Projection.of(stats, D, principal, affine=False).reaches(known)
    if not affine and not either:
        if snr_db is not None:
            raise ValueError(
                "vca: `keep` must have spectra on the side of the pixels' mean for the projective projection; "
                "snr_db=-inf takes the affine one"
            )
        affine = True
    projections = [Projection.of(stats, D, principal, affine)]
    if best_of > 1 and snr_db is None and D > 1 and either:
        projections.append(Projection.of(stats, D, principal, not affine))
    step = -(-stats.count // _RESIDUAL_PIXELS) if criterion == "residual" and best_of > 1 else 0
    runs, sample = extreme_runs(reader, stats, projections, known, D, best_of, seed, step)
    if best_of == 1:
        return runs[0].places
    best, best_score = runs[0].places, -np.inf
    for run in runs:
        spectra = to_host(reader.take(run.places)).astype(np.float64) / stats.scale
        spectra = np.concatenate([known, spectra])
        if criterion == "volume":
            score = _log_volume((spectra - stats.mean) @ principal)
        else:
            score = -_residual(sample, spectra)
        if score > best_score:
            best, best_score = run.places, score
    return best


def _principal_axes(stats: Moments, D: int) -> NDArray[np.float64]:  # (C, D - 1)
    """The D - 1 axes of largest variance; refuses pixels that cannot span D vertices."""
    values, vectors = np.linalg.eigh(stats.covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = _RANK_TOLERANCE * max(values[0], 0.0) + 1e-15 * float(stats.mean @ stats.mean)
    rank = int((values > floor).sum())
    if rank < D - 1:
        raise _too_few(rank, stats, D)
    return cast("NDArray[np.float64]", vectors[:, : D - 1])


def _too_few(rank: int, stats: Moments, D: int) -> TooFewVertices:
    """The error that says what the pixels are."""
    most, C = rank + 1, len(stats.mean)
    why = f"they vary in {rank} direction{'' if rank == 1 else 's'} only"
    if rank == 0:
        why = "all are the same spectrum"
    elif C > 1 and stats.copies.sum() == C - 1:
        why, most = f"all {C} bands are copies or multiples of one, which cannot be unmixed", 1
    return TooFewVertices(
        f"vca: `D` must be at most {most}, the number of vertices that the pixels can span ({why}), got {D}",
        most,
    )


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


def _log_volume(vertices: NDArray[np.float64]) -> float:  # vertices (D, D - 1)
    """Logarithm of the simplex volume, up to the constant log (D - 1)!."""
    edges = vertices[1:] - vertices[0]
    return float(np.linalg.slogdet(edges)[1]) if len(edges) else 0.0


def _residual(
    sample: Any,  # (n, C) float64, divided by scale, where the pixels lie
    endmembers: NDArray[np.float64],  # (D, C), divided by scale
) -> float:
    """Root-mean-square FCLS residual over pixels, in units of the scene's scale."""
    from hud_fast.kernels import fcls

    A = beside(sample, endmembers)
    return float(((sample - fcls(sample, A) @ A) ** 2).mean() ** 0.5)
