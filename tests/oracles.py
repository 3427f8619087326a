"""Slow, independent float64 truths that the tests compare with. Plain NumPy, no code of the package."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray


def random_simplex(
    rng: np.random.Generator,
    count: int,
    D: int,
    concentration: float = 0.3,
) -> NDArray[np.float64]:  # (count, D)
    """Dirichlet abundances; a small concentration gives many near-zeros, as FCLS does."""
    return rng.dirichlet(np.full(D, concentration), size=count)


def log_project(x: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """Eq. 4 in extended precision."""
    D = x.shape[axis]
    wide = np.maximum(x.astype(np.longdouble), 0)
    return np.log(wide + np.exp(np.longdouble(-8)) / D)


def softmax(z: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """Softmax in extended precision."""
    wide = z.astype(np.longdouble)
    e = np.exp(wide - wide.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def fcls_gap(
    pixels: NDArray[np.floating],  # (P, C)
    endmembers: NDArray[np.floating],  # (D, C)
    abundances: NDArray[np.floating],  # (P, D)
) -> NDArray[np.float64]:  # (P,)
    """Frank-Wolfe duality gap of feasible abundances, in extended precision, over the scene's mean |y|^2.

    With g the gradient of |y - A' x|^2 / 2, g.x - min_i g_i >= f(x) - min f: a certificate without a solver.
    """
    A = endmembers.astype(np.longdouble)
    y = pixels.astype(np.longdouble)
    x = abundances.astype(np.longdouble)
    gradient = (x @ A - y) @ A.T
    gap = (gradient * x).sum(1) - gradient.min(1)
    return (gap / max((y * y).sum(1).mean(), np.longdouble(1e-300))).astype(np.float64)


def fcls_by_enumeration(
    pixel: NDArray[np.floating],  # (C,)
    endmembers: NDArray[np.floating],  # (D, C)
    sum_to_one: bool = True,
) -> NDArray[np.float64]:  # (D,)
    """The best feasible least-squares solution over every support (D <= 8)."""
    from itertools import combinations

    D = len(endmembers)
    best, best_error = np.zeros(D), np.inf if sum_to_one else float(pixel @ pixel)
    for size in range(1, D + 1):
        for support in combinations(range(D), size):
            A = endmembers[list(support)].astype(np.float64)
            if sum_to_one:  # x = e_0 + differences
                base, rest = A[0], A[1:] - A[0]
                tail = np.linalg.lstsq(rest.T, pixel - base, rcond=None)[0] if size > 1 else []
                x = np.concatenate([[1 - np.sum(tail)], tail])
            else:
                x = np.linalg.lstsq(A.T, pixel, rcond=None)[0]
            if np.min(x) < -1e-12:
                continue
            error = float(np.sum((pixel - x @ A) ** 2))
            if error < best_error - 1e-15:
                best, best_error = np.zeros(D), error
                best[list(support)] = np.maximum(x, 0)
    return best


def extended_lstsq(
    columns: NDArray[np.longdouble],  # (C, k)
    target: NDArray[np.longdouble],  # (C,)
) -> NDArray[np.longdouble]:  # (k,)
    """Least squares by Gram-Schmidt, twice over, in extended precision."""
    k = columns.shape[1]
    basis, triangle = columns.copy(), np.zeros((k, k), np.longdouble)
    for j in range(k):
        for _ in range(2):
            along = basis[:, :j].T @ basis[:, j]
            basis[:, j] -= basis[:, :j] @ along
            triangle[:j, j] += along
        triangle[j, j] = np.sqrt(basis[:, j] @ basis[:, j])
        basis[:, j] /= triangle[j, j]
    x = basis.T @ target
    for j in reversed(range(k)):
        x[j] = (x[j] - triangle[j, j + 1 :] @ x[j + 1 :]) / triangle[j, j]
    return x


def fcls_extended(
    pixel: NDArray[np.floating],  # (C,)
    endmembers: NDArray[np.floating],  # (D, C), affinely independent
) -> NDArray[np.longdouble]:  # (D,)
    """A monotone active set in extended precision, from the nearest endmember on."""
    A, y = endmembers.astype(np.longdouble), pixel.astype(np.longdouble)
    D = len(A)
    x = np.zeros(D, np.longdouble)
    x[((A - y) ** 2).sum(1).argmin()] = 1
    for _ in range(20 * D):
        descent = A @ (y - x @ A)
        outside = np.where(x > 0, -np.inf, descent - x @ descent)
        if outside.max() <= 1e-16 * (np.abs(A).max() + np.abs(y).max()) ** 2 * len(y):
            return x
        support = np.flatnonzero((x > 0) | (np.arange(D) == outside.argmax()))
        while True:
            base, rest = A[support[0]], A[support[1:]] - A[support[0]]
            tail = extended_lstsq(rest.T, y - base)
            wanted = np.concatenate([[1 - tail.sum()], tail])
            room = np.where(wanted < 0, x[support] / (x[support] - wanted), np.inf)
            step = min(np.longdouble(1), room.min())
            x[support] += step * (wanted - x[support])
            if step == 1:
                break
            x[support[room.argmin()]] = 0
            support = support[x[support] > 0]
    raise AssertionError("the active set did not end")


def cosine_max(
    query: NDArray[np.floating],  # (Q, C)
    reference: NDArray[np.floating],  # (P, C)
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Brute force in float64; zero queries 0, non-finite queries NaN and -1, bad references left out."""
    q, u = query.astype(np.float64), reference.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        q_norm = np.abs(q).max(1) * np.linalg.norm(q / np.abs(q).max(1, keepdims=True), axis=1)
        u_norm = np.abs(u).max(1) * np.linalg.norm(u / np.abs(u).max(1, keepdims=True), axis=1)
        keep = np.isfinite(u_norm) & (u_norm > 0)
        unit = np.where(keep[:, None], u / u_norm[:, None], 0)
        zero = (q == 0).all(1)
        bad = ~np.isfinite(q).all(1)
        scores = np.where((zero | bad)[:, None], 0, q / q_norm[:, None]) @ unit.T
    scores[:, ~keep] = -np.inf
    value, index = scores.max(1), scores.argmax(1)
    value[zero], index[zero] = 0.0, int(keep.argmax())
    value[bad], index[bad] = np.nan, -1
    return value, index


def window_search(
    blocks: NDArray[np.floating],  # (B, h, w, C)
    scene: NDArray[np.floating],  # (H, W, C)
    stride: int = 1,
    norm: str = "pixel",
    mask: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Every window, one by one, in float64."""

    def unit(a: NDArray[np.floating]) -> NDArray[np.float64]:
        length = np.linalg.norm(a, axis=-1, keepdims=True)
        return np.divide(a, length, out=np.zeros_like(a, dtype=np.float64), where=length > 0)

    H, W, _ = scene.shape
    B, h, w, _ = blocks.shape
    blocks, scene = blocks.astype(np.float64), scene.astype(np.float64)
    valid = np.isfinite(scene).all(-1) & (True if mask is None else mask)
    scene = np.where(valid[..., None], scene, 0.0)
    value, position = np.full(B, -np.inf), np.full((B, 2), -1)
    for y in range(0, H - h + 1, stride):
        for x in range(0, W - w + 1, stride):
            if not valid[y : y + h, x : x + w].all():
                continue
            window = scene[y : y + h, x : x + w]
            for b in range(B):
                if norm == "pixel":
                    score = (unit(window) * unit(blocks[b])).sum(-1).mean()
                else:
                    length = np.linalg.norm(window) * np.linalg.norm(blocks[b])
                    score = (window * blocks[b]).sum() / length if length > 0 else 0.0
                if score > value[b]:
                    value[b], position[b] = score, (y, x)
    return value, position


def standardized(
    values: NDArray[np.floating],
    mean: NDArray[np.floating],  # (D,)
    std: NDArray[np.floating],  # (D,)
    axis: int,
    *,
    undo: bool = False,
) -> NDArray[np.longdouble]:
    """(values - mean) / std along an axis, or values std + mean, in extended precision."""
    moved = np.moveaxis(values.astype(np.longdouble), axis, -1)
    m, s = mean.astype(np.longdouble), std.astype(np.longdouble)
    return np.moveaxis(moved * s + m if undo else (moved - m) / s, -1, axis)


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x32 of 10 rounds with Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b % 2**32, (a >> 32) ^ c[3] ^ k[1], a % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@functools.cache  # asked once for each dtype and way
def normal_noise(count: int, seed: int, step: int, sample: int) -> NDArray[np.float64]:  # (count,)
    """The noise of one sample: 16 blocks a group, output k of block l is number 16 k + l of the group."""
    noise = np.empty(-(-count // 64) * 64)
    for block in range(len(noise) // 4):
        counter = [block, step, sample % 2**32, sample >> 32]
        numbers = philox(counter, [seed % 2**32, seed >> 32])
        group, lane = divmod(block, 16)
        for pair in (0, 2):
            radius = np.sqrt(-2 * np.log((numbers[pair] + 0.5) / 2**32))
            rest = (numbers[pair + 1] * 4 + 2**31) % 2**32 - 2**31
            angle = (numbers[pair + 1] >> 30) * np.pi / 2 + rest / 2**31 * np.pi / 4
            noise[group * 64 + pair * 16 + lane] = radius * np.cos(angle)
            noise[group * 64 + (pair + 1) * 16 + lane] = radius * np.sin(angle)
    noise.flags.writeable = False
    return noise[:count]


def radial_power(block: NDArray[np.floating]) -> NDArray[np.float64]:  # (h, w) -> (J,)
    """Radially averaged power of one map under Hann's window, from the definition of the Fourier sum."""
    h, w = block.shape
    y, x = np.arange(h), np.arange(w)
    window = np.outer(
        0.5 - 0.5 * np.cos(2 * np.pi * (y + 0.5) / h), 0.5 - 0.5 * np.cos(2 * np.pi * (x + 0.5) / w)
    )
    window = window / np.sqrt((window**2).mean())
    values = window * (block - (window * block).sum() / window.sum())
    rings: list[list[float]] = [[] for _ in range(min(h, w) // 2)]
    for ky in range(h):
        for kx in range(w):
            fy, fx = min(ky, h - ky) / h, min(kx, w - kx) / w
            j = int(np.rint(np.hypot(fy, fx) * min(h, w)))
            if 1 <= j <= len(rings):
                wave = np.exp(-2j * np.pi * (ky * y[:, None] / h + kx * x[None, :] / w))
                rings[j - 1].append(abs((values * wave).sum()) ** 2 / (h * w))
    return np.array([np.mean(ring) for ring in rings])
