"""Log-projection, and softmax over the endmembers: forward and backward, plain and standardised.

Both are memory-bound: a tile is read once, in accesses of 16 bytes a thread where the sizes allow it, and written once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hud_fast.kernels.triton.arithmetic import (
    exp_nonpositive,
    log_positive,
    narrow,
    reciprocal,
    widen,
)
from hud_fast.kernels.triton.launch import Launch, in_vectors, power_of_two, tiles

# 128 threads: 2048 values are four float32 accesses of 16 bytes a thread, all in flight before the first use (two of
# 16-bit values). With 8 blocks on a multiprocessor that is 64 KiB in flight; Hopper's memory needs about 30.
VALUES = {2: 2048, 4: 2048, 8: 1024}
WARPS = 4
# Values of one line that a tile holds in registers; longer lines are walked in blocks.
LONGEST_MAP, LONGEST_ROW = 256, 8192


@triton.jit
def log_projected(x, delta):
    """ln(max(x, 0) + delta) of values as they were read: csrc/latent/simplex.h."""
    value = widen(x)
    kept = tl.where(value < 0, 0.0, value)
    total = kept + delta
    z = log_positive(total)
    if x.dtype.primitive_bitwidth == 16:
        # Near 1 a 16-bit result is finer than float32's rounding of the sum: add back what that lost.
        z = tl.where(total < 2.0, z + (delta - (total - kept)), z)
    return z


@triton.jit
def _log_project_tile(g, x, out, at, mask, floor, BACKWARD: tl.constexpr):
    value = tl.load(x + at, mask=mask)
    if BACKWARD:
        slope = widen(tl.load(g + at, mask=mask))
        kept = widen(value)
        result = tl.where(kept < 0, 0.0, slope / (kept + floor))
    else:
        result = log_projected(value, floor)
    tl.store(out + at, narrow(result, out.dtype.element_ty), mask=mask)


@triton.jit
def _log_project(g, x, out, total, delta: tl.float64, BACKWARD: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0).to(tl.int64) * BLOCK
    at = tl.arange(0, BLOCK)
    dtype: tl.constexpr = out.dtype.element_ty
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    floor = tl.full((1,), delta, tl.float64).to(wide)
    x += first
    out += first
    if BACKWARD:
        g += first
    # Without a mask where nothing is masked: one of odd length would break up the 16-byte accesses.
    if first + BLOCK <= total:
        _log_project_tile(g, x, out, at, None, floor, BACKWARD)
    else:
        _log_project_tile(g, x, out, at, at < (total - first).to(tl.int32), floor, BACKWARD)


def log_project(x: Tensor, out: Tensor, delta: float, grad: Tensor | None = None) -> Launch:
    """out = ln(max(x, 0) + delta), or with `grad` the gradient in x. Contiguous tensors of one dtype."""
    block = VALUES[x.itemsize]
    return Launch(
        _log_project,
        tiles(x.numel(), block),
        {"g": grad, "x": x, "out": out, "total": x.numel(), "delta": delta},
        {"BACKWARD": grad is not None, "BLOCK": block},
        WARPS,
    )


@triton.jit
def _standard(mean, std, d, mask, dtype: tl.constexpr):
    """Mean and standard deviation of endmembers d, in the type of the arithmetic."""
    m = tl.load(mean + d, mask=mask, other=0.0).to(dtype)
    s = tl.load(std + d, mask=mask, other=1.0).to(dtype)
    return m, s


@triton.jit
def _lines(total, chunks, D, LINES: tl.constexpr, ROWS: tl.constexpr, VECTOR: tl.constexpr):
    """Where this program's lines begin, where each lies from there (one tile axis), and which there are.

    Rows (n, D): LINES neighbouring rows. Maps (outer, D, inner): LINES neighbouring places of one map; `total` is n or
    inner, in vectors.
    """
    total = total * VECTOR
    if ROWS:
        first = tl.program_id(0).to(tl.int64) * LINES
        base = first * D
        line = tl.arange(0, LINES)[:, None]
        at = line * D
    else:
        outer = tl.program_id(0) // chunks
        first = (tl.program_id(0) % chunks).to(tl.int64) * LINES
        base = outer.to(tl.int64) * D * total + first
        line = tl.arange(0, LINES)[None, :]
        at = line
    return base, at, line < tl.minimum(total - first, LINES).to(tl.int32)


@triton.jit
def _far(index, FAR: tl.constexpr):
    """As 64-bit numbers, where one map has 2^31 values or more."""
    if FAR:
        return index.to(tl.int64)
    else:
        return index


@triton.jit
def _softmax(
    a, b, out, mean, std, total, chunks,
    D: tl.constexpr, LINES: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, STANDARD: tl.constexpr, VECTOR: tl.constexpr, FAR: tl.constexpr,
):  # fmt: skip
    """Whole lines in registers: a is z, or with b (the softmax) the gradient of it."""
    dtype: tl.constexpr = out.dtype.element_ty
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    base, at, here = _lines(total, chunks, D, LINES, ROWS, VECTOR)
    axis: tl.constexpr = 1 if ROWS else 0
    stride = 1 if ROWS else total * VECTOR
    d = tl.arange(0, BLOCK)[None, :] if ROWS else tl.arange(0, BLOCK)[:, None]
    at = at + _far(d, FAR) * stride
    mask = here & (d < D)
    if STANDARD:
        m, s = _standard(mean, std, d, d < D, wide)
    if b is None:
        z = widen(tl.load(a + base + at, mask=mask, other=-float("inf")))
        if STANDARD:
            z = z * s + m
        e = exp_nonpositive(z - tl.max(z, axis, keep_dims=True))
        result = e * reciprocal(tl.sum(e, axis, keep_dims=True))
    else:
        g = widen(tl.load(a + base + at, mask=mask, other=0.0))
        x = widen(tl.load(b + base + at, mask=mask, other=0.0))
        result = x * (g - tl.sum(g * x, axis, keep_dims=True))
        if STANDARD:
            result = result * s
    tl.store(out + base + at, narrow(result, dtype), mask=mask)


@triton.jit
def _block_of_lines(
    a, mean, std, base, at, here, d, stride, other: tl.constexpr,
    D, STANDARD: tl.constexpr,
):  # fmt: skip
    value = widen(tl.load(a + base + at + d * stride, mask=here & (d < D), other=other))
    if STANDARD:
        m, s = _standard(mean, std, d, d < D, value.dtype)
        value = value * s + m
    return value


@triton.jit
def _softmax_long(
    a, b, out, mean, std, total, chunks,
    D, LINES: tl.constexpr, BLOCK: tl.constexpr,
    ROWS: tl.constexpr, STANDARD: tl.constexpr, VECTOR: tl.constexpr, FAR: tl.constexpr,
):  # fmt: skip
    """Lines longer than registers: read once a pass; the second and third time they come from the caches.

    D is a number of run time here: loops of known length would be unrolled, and spill.
    """
    dtype: tl.constexpr = out.dtype.element_ty
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    base, at, here = _lines(total, chunks, D, LINES, ROWS, VECTOR)
    axis: tl.constexpr = 1 if ROWS else 0
    stride = 1 if ROWS else total * VECTOR
    first = tl.arange(0, BLOCK)[None, :] if ROWS else tl.arange(0, BLOCK)[:, None]
    first = _far(first, FAR)
    smallest: tl.constexpr = -float("inf")
    none = tl.full((LINES, 1) if ROWS else (1, LINES), 0.0, wide)
    if b is None:
        top = none + smallest
        for start in range(0, D, BLOCK):
            z = _block_of_lines(
                a, mean, std, base, at, here, first + start, stride, smallest, D, STANDARD
            )
            top = tl.maximum(top, tl.max(z, axis, keep_dims=True))
        total_weight = none
        for start in range(0, D, BLOCK):
            z = _block_of_lines(
                a, mean, std, base, at, here, first + start, stride, smallest, D, STANDARD
            )
            total_weight += tl.sum(exp_nonpositive(z - top), axis, keep_dims=True)
        inverse = reciprocal(total_weight)
        for start in range(0, D, BLOCK):
            d = first + start
            z = _block_of_lines(a, mean, std, base, at, here, d, stride, smallest, D, STANDARD)
            x = narrow(exp_nonpositive(z - top) * inverse, dtype)
            tl.store(out + base + at + d * stride, x, mask=here & (d < D))
    else:
        dot = none
        for start in range(0, D, BLOCK):
            g = _block_of_lines(a, mean, std, base, at, here, first + start, stride, 0.0, D, False)
            x = _block_of_lines(b, mean, std, base, at, here, first + start, stride, 0.0, D, False)
            dot += tl.sum(g * x, axis, keep_dims=True)
        for start in range(0, D, BLOCK):
            d = first + start
            g = _block_of_lines(a, mean, std, base, at, here, d, stride, 0.0, D, False)
            x = _block_of_lines(b, mean, std, base, at, here, d, stride, 0.0, D, False)
            gz = x * (g - dot)
            if STANDARD:
                _, s = _standard(mean, std, d, d < D, wide)
                gz = gz * s
            tl.store(out + base + at + d * stride, narrow(gz, dtype), mask=here & (d < D))


def softmax_tile(D: int, inner: int, itemsize: int) -> tuple[bool, int, int, int]:
    """(whole lines fit, lines, block along D, warps) of a tile.

    32 values a thread (8 of float64, whose exponential takes more registers), in one warp where that holds a tile: its
    reductions are shuffles, no barrier, and 32 such warps on a multiprocessor have 128 KiB in flight. Maps: at least
    128 bytes of neighbouring places, one line of memory, for every endmember.
    """
    share = 8 if itemsize == 8 else 32
    rows = inner == 1
    longest = (LONGEST_ROW if itemsize < 8 else LONGEST_ROW // 2) if rows else LONGEST_MAP
    whole = longest >= D
    block = power_of_two(D) if whole else 2048 if rows else 64
    lines = max(1, share * 32 // block)
    if not rows:
        lines = min(power_of_two(inner), max(128 // itemsize, lines))
    if not whole:
        share //= (
            4  # three passes and their loops leave fewer registers; long lines want more threads
        )
    warps = min(16, max(1, power_of_two(lines * block // (32 * share))))
    return whole, lines, block, warps


def softmax(
    a: Tensor,
    out: Tensor,
    sizes: tuple[int, int, int],  # outer, D, inner
    *,
    x: Tensor | None = None,
    mean: Tensor | None = None,  # (D,) float64
    std: Tensor | None = None,  # (D,) float64
) -> Launch:
    """out = softmax of a (of a std + mean), or with `x`, the softmax, its gradient from a. Contiguous, one dtype."""
    outer, D, inner = sizes
    rows = inner == 1
    whole, lines, block, warps = softmax_tile(D, inner, a.itemsize)
    total = outer if rows else inner
    chunks = tiles(total, lines)
    count, vector = (total, 1) if rows else in_vectors(total, a.itemsize)
    return Launch(
        _softmax if whole else _softmax_long,
        chunks if rows else outer * chunks,
        {
            "a": a,
            "b": x,
            "out": out,
            "mean": mean,
            "std": std,
            "total": count,
            "chunks": chunks,
            "D": D,
        },
        {
            "LINES": lines,
            "BLOCK": block,
            "ROWS": rows,
            "STANDARD": std is not None,
            "VECTOR": vector,
            "FAR": power_of_two(D) * inner >= 2**31,
        },
        warps,
    )


def empty_like(x: Tensor) -> Tensor:
    """Memory for a result: contiguous, x's dtype and device."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)
