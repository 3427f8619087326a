"""The float64 (or wider) truths that errors are measured against: plain NumPy, no kernel of the package.

The test suite compares them with its own oracles. They look at a part of the answer where the whole would take
longer than the benchmark.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
_ROWS = 32_768  # reference rows whose scores are held at once


def fcls_error(
    pixels: Floats,  # (P, C)
    endmembers: Floats,  # (D, C)
    abundances: Floats,  # (P, D)
) -> float:
    """Largest Frank-Wolfe duality gap over the mean |y|^2, or error of the sum, whichever is larger.

    With g the gradient of |y - A' x|^2 / 2 at x on the simplex, g.x - min_i g_i >= f(x) - min f: a certificate in
    extended precision that needs no other solver. It says nothing off the simplex, hence the second number.
    """
    A, y, x = (np.asarray(part).astype(np.longdouble) for part in (endmembers, pixels, abundances))
    gradient = (x @ A - y) @ A.T
    gap = (gradient * x).sum(1) - gradient.min(1)
    size = max((y * y).sum(1).mean(), np.longdouble(1e-300))
    return max(float(gap.max() / size), infeasible(abundances))


def infeasible(abundances: Floats) -> float:  # (P, D)
    """How far abundances are off the simplex: the sum's error or the most negative one, whichever is larger."""
    x = np.asarray(abundances, np.float64)
    return float(max(np.abs(x.sum(1) - 1).max(), -min(x.min(), 0.0)))


def unit(rows: Floats) -> NDArray[np.float64]:  # (..., C)
    """Rows of length 1, zero rows zero."""
    wide = np.asarray(rows, np.float64)
    length = np.linalg.norm(wide, axis=-1, keepdims=True)
    found: NDArray[np.float64] = np.zeros_like(wide)
    np.divide(wide, length, out=found, where=length > 0)
    return found


def cosine_max(
    query: Floats,  # (Q, C)
    reference: Floats,  # (P, C)
) -> NDArray[np.float64]:  # (Q,)
    """Largest cosine of each query, by brute force."""
    q = unit(query)
    best = np.full(len(q), -np.inf)
    for start in range(0, len(reference), _ROWS):
        scores = q @ unit(reference[start : start + _ROWS]).T
        np.maximum(best, scores.max(1), out=best)
    return best


def window_value(
    block: Floats,  # (h, w, C)
    scene: Floats,  # (H, W, C)
) -> float:
    """Largest mean cosine of one block with any window at stride 1.

    SciPy's FFT in float64, one band after another, finds the best windows (to 1e-12); their sums are then formed
    one pixel after another.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    h, w, C = block.shape
    H, W = scene.shape[:2]
    b, s = unit(block), unit(scene)
    shape = (next_fast_len(H, real=True), next_fast_len(W, real=True))
    spectrum = np.zeros((shape[0], shape[1] // 2 + 1), np.complex128)
    for c in range(C):
        spectrum += rfft2(s[..., c], shape) * np.conj(rfft2(b[..., c], shape))
    scores = irfft2(spectrum, shape)[: H - h + 1, : W - w + 1]
    near = np.argwhere(scores >= scores.max() - 1e-9 * h * w)[:64]
    return max(float((b * s[y : y + h, x : x + w]).sum(-1).mean()) for y, x in near)


def log_project(x: Floats, axis: int) -> NDArray[np.float64]:
    """Eq. 4 in extended precision."""
    wide = np.maximum(np.asarray(x).astype(np.longdouble), 0)
    z: NDArray[np.float64] = np.log(wide + np.exp(np.longdouble(-8)) / x.shape[axis]).astype(float)
    return z


def softmax(z: Floats, axis: int) -> NDArray[np.float64]:
    """Softmax in extended precision."""
    wide = np.asarray(z).astype(np.longdouble)
    e = np.exp(wide - wide.max(axis=axis, keepdims=True))
    x: NDArray[np.float64] = (e / e.sum(axis=axis, keepdims=True)).astype(float)
    return x


def relative(found: Floats, true: Floats) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(np.asarray(found, np.float64) - true).max() / np.abs(true).max())
