"""The standardised logarithm, z = (ln(max(x, 0) + delta) - mean) / std with one mean and deviation an endmember."""

import triton
import triton.language as tl
from torch import Tensor

from hud_fast.kernels.latent.triton_simplex import VALUES, WARPS, log_projected
from hud_fast.kernels.triton.arithmetic import narrow, reciprocal, widen
from hud_fast.kernels.triton.launch import Launch, in_vectors, power_of_two, tiles


@triton.jit
def _tile(g, x, out, at, mask, mean, inverse, floor, BACKWARD: tl.constexpr):
    value = tl.load(x + at, mask=mask, other=0.0)
    if BACKWARD:
        slope = widen(tl.load(g + at, mask=mask, other=0.0)) * inverse
        kept = widen(value)
        result = tl.where(kept < 0, 0.0, slope / (kept + floor))
    else:
        result = (log_projected(value, floor) - mean) * inverse
    tl.store(out + at, narrow(result, out.dtype.element_ty), mask=mask)


@triton.jit
def _log_standardize(
    g, x, out, mean, std, total, height, width, chunks, delta: tl.float64,
    D: tl.constexpr, VECTOR: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    ALONG: tl.constexpr, BACKWARD: tl.constexpr,
):  # fmt: skip
    """A matrix (height, width x VECTOR) of `total` values, tile by tile; ALONG: endmembers count along its rows, else
    one a row.

    The parameters are read and inverted once a tile, for its columns or its rows.
    """
    dtype: tl.constexpr = out.dtype.element_ty
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    width = width * VECTOR
    first = (tl.program_id(0) // chunks).to(tl.int64) * ROWS
    row = first + tl.arange(0, ROWS)
    column = (tl.program_id(0) % chunks).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    at = row[:, None] * width + column[None, :]
    mask = (row < height)[:, None] & (column < width)[None, :]
    d = (column % D)[None, :] if ALONG else (row % D)[:, None]
    inverse = reciprocal(tl.load(std + d).to(wide))
    m = 0.0 if BACKWARD else tl.load(mean + d).to(wide)
    floor = tl.full((1, 1), delta, tl.float64).to(wide)
    # The last row of rows put together may be a part; asking every value would break up the 16-byte accesses.
    if ALONG:
        if first + ROWS < height:
            _tile(g, x, out, at, mask, m, inverse, floor, BACKWARD)
        else:
            _tile(g, x, out, at, mask & (at < total), m, inverse, floor, BACKWARD)
    else:
        _tile(g, x, out, at, mask, m, inverse, floor, BACKWARD)


def period(D: int, itemsize: int) -> int:
    """Columns of the matrix as which rows (n, D) are read: a multiple of D just below a power of two.

    D padded to a power of two would leave up to half of the lanes idle (9 of 16 work); 56 rows of 9 fill 504 of 512.
    Whole accesses of 16 bytes, too, where D allows it.
    """
    vector = 16 // itemsize
    candidates = [m * D for m in range(1, 2048 // itemsize // D + 1)] or [D]
    aligned = [p for p in candidates if p % vector == 0] or candidates
    # among equals one that a warp reads at once: 32 accesses of four values
    return max(aligned, key=lambda p: (p / power_of_two(p), -abs(p - 128)))


def log_standardize(
    x: Tensor,
    out: Tensor,
    sizes: tuple[int, int, int],  # outer, D, inner
    delta: float,
    mean: Tensor,  # (D,) float64
    std: Tensor,  # (D,) float64
    grad: Tensor | None = None,
) -> Launch:
    """out = the standardised logarithm of x, or with `grad` its gradient in x. Contiguous tensors of one dtype."""
    outer, D, inner = sizes
    total = outer * D * inner
    along = inner == 1
    width = period(D, x.itemsize) if along else inner
    height = tiles(total, width)
    columns = min(power_of_two(width), VALUES[x.itemsize])
    rows = VALUES[x.itemsize] // columns
    chunks = tiles(width, columns)
    count, vector = in_vectors(width, x.itemsize)
    return Launch(
        _log_standardize,
        tiles(height, rows) * chunks,
        {
            "g": grad,
            "x": x,
            "out": out,
            "mean": mean,
            "std": std,
            "total": total,
            "height": height,
            "width": count,
            "chunks": chunks,
            "delta": delta,
        },
        {
            "D": D,
            "VECTOR": vector,
            "ROWS": rows,
            "COLUMNS": columns,
            "ALONG": along,
            "BACKWARD": grad is not None,
        },
        WARPS,
    )
