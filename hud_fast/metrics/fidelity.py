"""Point fidelity F_p (eq. 16 of arXiv 2506.02601): is every generated spectrum one that the scene could have?

    F_p = mean over generated pixels q of  max over real pixels u of  <q, u> / (|q| |u|)

Exact: the search is `kernels.cosine_max`, or a `kernels.CosineIndex` built once; the values are float64
from the raw bands. Higher is better; what real data reaches against itself (`real_reference`) is the
ceiling.

Shapes: generated (..., C), real (..., C) -> float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast._checks import check_flag, check_limit
from hud_fast.kernels import CosineIndex
from hud_fast.kernels.cosine import MemoryLimitError, read_endmembers
from hud_fast.metrics._nearest_pixels import nearest_pixels
from hud_fast.metrics.authors_scale import Scale, check_scale, mapped_spectra
from hud_fast.metrics.json_values import distribution
from hud_fast.metrics.mixtures import Mixtures
from hud_fast.metrics.progress import Progress
from hud_fast.metrics.real_blocks import groups
from hud_fast.metrics.samples import Counts, Spectra, read_pair, read_spectra


@dataclass(frozen=True, eq=False)
class PointFidelity:
    """F_p with everything it was made of."""

    value: float
    cosine: NDArray[np.float64]  # (...) of `generated`, NaN where left out
    index: NDArray[np.int64]  # (...) row of real.reshape(-1, C), -1 where left out
    scale: Scale | None
    full_scale: float | None
    generated: Counts
    real: Counts

    def to_dict(self) -> dict[str, Any]:
        """Value, distribution over pixels and counts, JSON-able."""
        return {
            "value": self.value,
            "scale": self.scale,
            "full_scale": self.full_scale,
            "pixels": distribution(self.cosine),
            "counts": {"generated": self.generated.to_dict(), "real": self.real.to_dict()},
        }


@overload
def point_fidelity(
    generated: Any,
    real: Any,
    *,
    generated_mask: Any = ...,
    mask: Any = ...,
    scale: Scale | None = ...,
    full_scale: float | None = ...,
    return_details: Literal[False] = ...,
    progress: Progress | None = ...,
    memory_limit: int | None = ...,
    backend: str | None = ...,
) -> float: ...
@overload
def point_fidelity(
    generated: Any,
    real: Any,
    *,
    generated_mask: Any = ...,
    mask: Any = ...,
    scale: Scale | None = ...,
    full_scale: float | None = ...,
    return_details: Literal[True],
    progress: Progress | None = ...,
    memory_limit: int | None = ...,
    backend: str | None = ...,
) -> PointFidelity: ...
def point_fidelity(
    generated: Any,  # (..., C), or Mixtures
    real: Any,  # (..., C), or CosineIndex
    *,
    generated_mask: Any = None,  # (...) bool
    mask: Any = None,  # (...) bool
    scale: Scale | None = None,
    full_scale: float | None = None,
    return_details: bool = False,
    progress: Progress | None = None,
    memory_limit: int | None = None,
    backend: str | None = None,
) -> float | PointFidelity:
    """Mean over generated pixels of the largest cosine with any real pixel.

    Parameters
    ----------
    generated : array or tensor, (..., C), or Mixtures
        Spectra, or the abundances and endmembers that they are mixed from: their C bands are then
        never formed. Any unit, as cosines ignore it; numpy and torch, integers and floats.
    real : array or tensor, (..., C), or CosineIndex
        The scene, or an index built from it once for many calls.
    generated_mask, mask : array or tensor of bool, (...), optional
        True = valid pixel of `generated` and of `real`. Masked and non-finite pixels are left out
        of both sides and counted; zero pixels stay in with cosine 0 and are counted. An index has
        its own mask: `mask` must be None beside one.
    scale, full_scale : {None, "paper"} and float, optional
        As of `block_diversity`: both sides in the authors' [-1, 1]. Not for `Mixtures` nor a CosineIndex.
    return_details : bool
        Return `PointFidelity`: per-pixel cosine and index of the nearest real pixel, and the
        counts.
    progress : callable, optional
        Called as progress(done, total) in pixels.
    memory_limit : int, optional
        Bytes of scratch of the search, however many pixels there are; of an index its own counts.
    backend : {None, "cpu", "torch", "cuda"}
        As of `kernels.cosine_max`; an index has its own.

    Returns
    -------
    float or PointFidelity
        F_p in [-1, 1].

    Raises
    ------
    TypeError
        Input that is not numeric, or a mask that is not boolean.
    ValueError
        Bands that differ, empty input, a mask of another shape, no valid pixel on either side, a
        `mask` beside an index, a `memory_limit` too small to work in, an unknown scale, a `full_scale` that is missing
        or not asked for.

    References
    ----------
    arXiv 2506.02601, eq. 16.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> point_fidelity(np.array([[3.0, 0.0], [1.0, 1.0]]), real).__round__(6)
    0.853553
    """
    name = "point_fidelity"
    return_details = check_flag(name, "return_details", return_details)
    limit = check_limit(name, memory_limit)
    full = check_scale(name, scale, full_scale, generated=generated, real=real)
    sides = _read(name, generated, real, generated_mask, mask, full)
    try:
        value, row = nearest_pixels(
            sides.left.rows(),
            sides.reference,
            endmembers=sides.endmembers,
            progress=progress,
            memory_limit=limit,
            backend=backend,
        )
    except MemoryLimitError as error:
        what = f"{len(sides.reference)} real pixels of {sides.reference.shape[-1]} bands"
        raise ValueError(
            f"{name}: `memory_limit` must be at least {error.least} bytes for {what}, got {limit}"
        ) from None
    if sides.place is not None:
        row = sides.place[row]
    valid = sides.left.valid
    cosine = torch.full(valid.shape, torch.nan, dtype=torch.float64, device=value.device)
    index = torch.full(valid.shape, -1, dtype=torch.int64, device=value.device)
    cosine[valid], index[valid] = value, row
    result = float(value.mean())
    if not return_details:
        return result
    return PointFidelity(
        result,
        cosine.cpu().numpy(),
        index.cpu().numpy(),
        scale,
        full,
        sides.left.counts,
        sides.counts,
    )


@dataclass(frozen=True, eq=False)
class _Sides:
    """What is looked up, and among what."""

    left: Spectra  # spectra, or abundances
    endmembers: Tensor | None  # (D, C) where `left` holds abundances
    reference: Tensor | CosineIndex  # (P, C)
    place: Tensor | None  # (P,) rows of the flattened scene; None where they are the same
    counts: Counts  # of the scene


def _read(
    name: str,
    generated: Any,
    real: Any,
    generated_mask: Any,
    mask: Any,
    full_scale: float | None,  # None wherever one side is no array of spectra
) -> _Sides:
    mixed = isinstance(generated, Mixtures)
    if not mixed and not isinstance(real, CosineIndex):
        left, right = (
            mapped_spectra(side, full_scale)
            for side in read_pair(name, generated, real, generated_mask, mask)
        )
        return _Sides(left, None, *_reference(name, right))
    if mixed:
        left = read_spectra(
            name, "generated.abundances", generated.abundances, "generated_mask", generated_mask
        )
        bands = generated.shape[-1]
        endmembers = read_endmembers(name, generated.endmembers, bands).to(left.values.device)
    else:
        left = read_spectra(name, "generated", generated, "generated_mask", generated_mask)
        bands, endmembers = left.C, None
    if isinstance(real, CosineIndex):
        if mask is not None:
            raise ValueError(
                f"{name}: `mask` must be None where `real` is a CosineIndex: give it to the index"
            )
        known = real.shape[-1]
        sides = _Sides(left, endmembers, real, None, Counts(**real.counts))
    else:
        right = read_spectra(name, "real", real, "mask", mask)
        known = right.C
        values = right.values.to(left.values.device)
        right = Spectra(values, right.valid.to(values.device), right.counts)
        sides = _Sides(left, endmembers, *_reference(name, right))
    if known != bands:
        raise ValueError(
            f"{name}: `generated` must have the C = {known} bands of `real`, got {bands}"
        )
    return sides


def _reference(name: str, right: Spectra) -> tuple[Tensor, Tensor | None, Counts]:
    if right.counts.zero == right.counts.used:
        raise ValueError(
            f"{name}: `real` must hold at least one spectrum that is not zero, got none in "
            f"{right.counts.used}"
        )
    whole = right.counts.used == right.valid.numel()
    place = None if whole else right.valid.reshape(-1).nonzero()[:, 0]
    return right.rows(), place, right.counts


def spectral_floor(
    real: Any,  # (..., C)
    *,
    mask: Any = None,  # (...) bool
    scale: Scale | None = None,
    full_scale: float | None = None,
) -> float:
    """F_p of a cube that holds no spectrum at all: the same value in every band of every pixel.

    What F_p means on a scene is read from here: a scene with a spectrum as flat as a wall scores anything near 1. With
    scale="paper" the better of a black cube (-1) and a white one (+1).

    Parameters
    ----------
    real : array or tensor, (..., C)
        The scene.
    mask : array or tensor of bool, (...), optional
        True = valid pixel; masked and non-finite pixels are left out.
    scale, full_scale
        As of `point_fidelity`.

    Returns
    -------
    float
        The largest cosine of a flat spectrum with any real pixel.

    Raises
    ------
    TypeError, ValueError
        As `point_fidelity`.

    Examples
    --------
    >>> import numpy as np
    >>> round(spectral_floor(np.array([[3.0, 4.0], [1.0, 0.0]])), 6)
    0.989949
    """
    name = "spectral_floor"
    full = check_scale(name, scale, full_scale, real=real)
    scene = mapped_spectra(read_spectra(name, "real", real, "mask", mask), full)
    rows, _, _ = _reference(name, scene)
    found = []
    for few in groups(rows):
        part = rows[few].double()
        size = part.norm(dim=1) * part.shape[1] ** 0.5
        cosine = part.sum(dim=1) / torch.where(size > 0, size, 1)
        found.append((cosine if full is None else cosine.abs()).max())
    return min(1.0, float(torch.stack(found).max()))
