"""Point fidelity F_p (eq. 16 of arXiv 2506.02601): is every generated spectrum one that the scene could have?

    F_p = mean over generated pixels q of  max over real pixels u of  <q, u> / (|q| |u|)

Exact: the search is `kernels.cosine_max`, the winners are evaluated again in float64. Higher is
better; what real data reaches against itself (`real_reference`) is the ceiling.

Shapes: generated (..., C), real (..., C) -> float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from hud_fast.metrics._json import distribution
from hud_fast.metrics._samples import Counts, read_pair
from hud_fast.metrics._search import Progress, nearest_pixels


@dataclass(frozen=True, eq=False)
class PointFidelity:
    """F_p with everything it was made of."""

    value: float
    cosine: NDArray[np.float64]  # (...) of `generated`, NaN where left out
    index: NDArray[np.int64]  # (...) row of real.reshape(-1, C), -1 where left out
    generated: Counts
    real: Counts

    def to_dict(self) -> dict[str, Any]:
        """Value, distribution over pixels and counts, JSON-able."""
        return {
            "value": self.value,
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
    return_details: Literal[False] = ...,
    progress: Progress | None = ...,
) -> float: ...
@overload
def point_fidelity(
    generated: Any,
    real: Any,
    *,
    generated_mask: Any = ...,
    mask: Any = ...,
    return_details: Literal[True],
    progress: Progress | None = ...,
) -> PointFidelity: ...
def point_fidelity(
    generated: Any,  # (..., C)
    real: Any,  # (..., C)
    *,
    generated_mask: Any = None,  # (...) bool
    mask: Any = None,  # (...) bool
    return_details: bool = False,
    progress: Progress | None = None,
) -> float | PointFidelity:
    """Mean over generated pixels of the largest cosine with any real pixel.

    Parameters
    ----------
    generated, real : array or tensor, (..., C)
        Spectra; any unit, as cosines ignore it. numpy and torch, integers and floats.
    generated_mask, mask : array or tensor of bool, (...), optional
        True = valid pixel of `generated` and of `real`. Masked and non-finite pixels are left out
        of both sides and counted; zero pixels stay in with cosine 0 and are counted.
    return_details : bool
        Return `PointFidelity`: per-pixel cosine and index of the nearest real pixel, and the
        counts.
    progress : callable, optional
        Called as progress(done, total) in pixels.

    Returns
    -------
    float or PointFidelity
        F_p in [-1, 1].

    Raises
    ------
    TypeError
        Input that is not numeric, or a mask that is not boolean.
    ValueError
        Bands that differ, empty input, a mask of another shape, no valid pixel on either side.

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
    left, right = read_pair("point_fidelity", generated, real, generated_mask, mask)
    if right.counts.zero == right.counts.used:
        raise ValueError(
            "point_fidelity: `real` must hold at least one spectrum that is not zero, got none in "
            f"{right.counts.used}"
        )
    value, row = nearest_pixels(left.rows(), right.rows(), progress=progress)
    where = right.valid.reshape(-1).nonzero()[:, 0]
    cosine = torch.full(left.valid.shape, torch.nan, dtype=torch.float64, device=value.device)
    index = torch.full(left.valid.shape, -1, dtype=torch.int64, device=value.device)
    cosine[left.valid], index[left.valid] = value, where[row]
    result = float(value.mean())
    if not return_details:
        return result
    return PointFidelity(
        result, cosine.cpu().numpy(), index.cpu().numpy(), left.counts, right.counts
    )
