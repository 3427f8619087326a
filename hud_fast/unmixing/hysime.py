"""How many endmembers a scene holds: hyperspectral signal identification by minimum error (HySime).

    J. M. Bioucas-Dias, J. M. P. Nascimento, "Hyperspectral subspace identification", IEEE TGRS
    46(8), 2008.

1. Noise: each band is regressed on all others; the residual is that band's noise. With R = E[y y^T]
   (C, C) and W = I - B, B the regression (row i: the weights that predict band i, zero at i), noise
   covariance Rn = diag(W R W^T) and signal correlation Rx = B R B^T. With P = R^-1, W =
   diag(1 / P_ii) P, so no regression is solved one by one.
2. Subspace: along each eigenvector e of Rx, keeping it costs noise power, dropping it costs
   signal power. The count is the number of e with  -e^T R e + 2 e^T Rn e < 0.

All of it needs only R, accumulated in blocks, so a scene may be larger than memory.
Cost: O(P C^2 + C^3).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from hud_fast.unmixing.moments import Moments, moments
from hud_fast.unmixing.pixels import Pixels

# The reference program adds 1e-6 to the sum over pixels of reflectance-like data: relative to the
# mean power of a band about 5e-10 on the usual scenes. Stated relatively, the count does not depend
# on the unit.
_RIDGE = 5e-10


def count_endmembers(
    pixels: Any,  # (..., C)
    mask: Any = None,  # (...) bool
) -> int:
    """Estimate the number of endmembers, the dimension of the signal subspace, with HySime.

    Parameters
    ----------
    pixels : array or tensor, (..., C)
        Spectra in any unit.
    mask : array or tensor of bool, (...), optional
        True = valid pixel. Masked, non-finite and all-zero pixels are left out.

    Returns
    -------
    int
        At least 1, at most C. Real scenes often give more (Indian Pines 15 to 20) than one wants as
        materials: noise that varies over the scene counts as signal.

    Raises
    ------
    TypeError
        `pixels` not numeric or `mask` not boolean.
    ValueError
        Not more valid pixels than bands (the regression would explain the noise away); a mask of
        another shape.

    Warns
    -----
    UserWarning
        If bands are copies or multiples of others.

    References
    ----------
    Bioucas-Dias and Nascimento, IEEE TGRS 46(8), 2008, Algorithms 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> pure = rng.random((3, 20))
    >>> clean = rng.dirichlet([1, 1, 1], size=500) @ pure
    >>> count_endmembers(clean + 1e-3 * rng.standard_normal(clean.shape))
    3
    """
    return count_from(moments(Pixels("count_endmembers", pixels, mask)))


def count_from(stats: Moments) -> int:
    """As `count_endmembers`, of pixels whose moments are known."""
    copies = stats.copies
    vary = np.trace(stats.covariance) > 1e-15 * float(stats.mean @ stats.mean)
    if vary and copies.any():  # where all pixels are the same, all bands are, and nobody wonders
        warnings.warn(
            f"count_endmembers: {int(copies.sum())} of {len(copies)} bands left out of the estimate, copies or "
            "multiples of others: the regression would take what they share, noise too, for signal",
            UserWarning,
            stacklevel=3,
        )
    C = int((~copies).sum())
    if stats.count <= C:
        raise ValueError(
            f"count_endmembers: `pixels` must hold more valid pixels than bands, C = {C}, "
            f"got {stats.count}"
        )
    if C == 1:
        return 1
    R = stats.correlation[np.ix_(~copies, ~copies)]
    ridge = _RIDGE * float(np.trace(R)) / C
    precision = np.linalg.inv(R + ridge * np.eye(C))
    W = precision / np.diag(precision)[:, None]
    B = np.eye(C) - W
    noise = np.diag(W @ R @ W.T)
    signal = B @ R @ B.T
    axes = np.linalg.eigh(signal)[1]
    noise = noise + np.trace(signal) / C * 1e-5  # the paper's guard against noise-free scenes
    power = np.einsum("ij,ik,kj->j", axes, R, axes)
    noise_power = np.einsum("ij,i,ij->j", axes, noise, axes)
    return max(1, int((2 * noise_power < power).sum()))
