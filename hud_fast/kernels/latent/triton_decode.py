"""Channel-first z to a band-last cube: softmax of z std + mean in registers, then times the endmembers."""

import triton
import triton.language as tl
from torch import Tensor

from hud_fast.kernels.triton.arithmetic import (
    exp_nonpositive,
    narrow,
    reciprocal,
    widen,
)
from hud_fast.kernels.triton.launch import Launch, in_vectors, power_of_two, tiles

# The cube's bytes rule: 16 endmembers and 200 bands in float32 are 64 bytes in and 800 out a pixel, with 3.7
# multiplications a byte, half of what the plain float32 units do in that time. 16-bit types have half the bytes for
# the same sums: the tensor cores then, each factor split into parts of TF32's 11 bits, which keeps 2^-21, far below the
# result's own rounding. TF32 by itself would keep 2^-11, and is used nowhere.


@triton.jit
def _scaled(z, mean, std, base, pixel, here, inner, d, D, FAR: tl.constexpr):
    """z std + mean of endmembers d at this program's pixels, (endmembers, pixels); -inf beyond."""
    step = d.to(tl.int64) if FAR else d
    at = step[:, None] * inner + pixel[None, :]
    mask = (d < D)[:, None] & here[None, :]
    value = widen(tl.load(z + base + at, mask=mask, other=-float("inf")))
    if std is not None:
        s = tl.load(std + d, mask=d < D, other=1.0).to(value.dtype)
        m = tl.load(mean + d, mask=d < D, other=0.0).to(value.dtype)
        value = value * s[:, None] + m[:, None]
    return value


@triton.jit
def _mixed(x, endmembers, d, band, bands, mixed, D, PRECISION: tl.constexpr):
    """mixed + x' times some rows of the endmembers."""
    mask = (d < D)[:, None] & (band < bands)[None, :]
    spectra = tl.load(endmembers + d[:, None] * bands + band[None, :], mask=mask, other=0.0)
    wide: tl.constexpr = x.dtype
    return tl.dot(tl.trans(x), spectra.to(wide), mixed, input_precision=PRECISION, out_dtype=wide)


@triton.jit
def _softmax_decode(
    z, cube, endmembers, mean, std, inner, chunks, lines,
    D, PIXELS: tl.constexpr, BLOCK: tl.constexpr, BANDS: tl.constexpr,
    PRECISION: tl.constexpr, WHOLE: tl.constexpr, VECTOR: tl.constexpr, FAR: tl.constexpr,
):  # fmt: skip
    dtype: tl.constexpr = cube.dtype.element_ty
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    bands = lines * VECTOR
    outer = (tl.program_id(0) // chunks).to(tl.int64)
    first = (tl.program_id(0) % chunks).to(tl.int64) * PIXELS
    base = outer * D * inner + first
    pixel = tl.arange(0, PIXELS)
    here = pixel < tl.minimum(inner - first, PIXELS).to(tl.int32)
    inside = tl.arange(0, BLOCK)
    to = cube + (outer * inner + first) * bands + pixel.to(tl.int64)[:, None] * bands
    # Pixels beyond the map are NaN in what follows, and stay in rows that are not written.
    if WHOLE:
        value = _scaled(z, mean, std, base, pixel, here, inner, inside, D, FAR)
        e = exp_nonpositive(value - tl.max(value, 0, keep_dims=True))
        x = e * reciprocal(tl.sum(e, 0, keep_dims=True))
        for c in range(0, bands, BANDS):
            band = c + tl.arange(0, BANDS)
            mixed = tl.zeros((PIXELS, BANDS), wide)
            mixed = _mixed(x, endmembers, inside, band, bands, mixed, D, PRECISION)
            mask = here[:, None] & (band < bands)[None, :]
            tl.store(to + band[None, :], narrow(mixed, dtype), mask=mask)
    else:
        top = tl.full((1, PIXELS), -float("inf"), wide)
        weight = tl.zeros((1, PIXELS), wide)
        for start in range(0, D, BLOCK):
            value = _scaled(z, mean, std, base, pixel, here, inner, inside + start, D, FAR)
            top = tl.maximum(top, tl.max(value, 0, keep_dims=True))
        for start in range(0, D, BLOCK):
            value = _scaled(z, mean, std, base, pixel, here, inner, inside + start, D, FAR)
            weight += tl.sum(exp_nonpositive(value - top), 0, keep_dims=True)
        inverse = reciprocal(weight)
        for c in range(0, bands, BANDS):
            band = c + tl.arange(0, BANDS)
            mixed = tl.zeros((PIXELS, BANDS), wide)
            for start in range(0, D, BLOCK):
                d = inside + start
                # Again from the cache: a tile of all endmembers would not leave registers for the sums.
                value = _scaled(z, mean, std, base, pixel, here, inner, d, D, FAR)
                x = exp_nonpositive(value - top) * inverse
                mixed = _mixed(x, endmembers, d, band, bands, mixed, D, PRECISION)
            mask = here[:, None] & (band < bands)[None, :]
            tl.store(to + band[None, :], narrow(mixed, dtype), mask=mask)


# (block along D, pixels, bands, warps) of a tile: 16 sums a thread (8 of float64), as many as leave room for what plain
# multiplication holds in registers, 64 of each factor.
_TILES = {
    8: (16, 32, 32, 4),
    4: (16, 32, 64, 4),
    2: (16, 32, 64, 4),
}


def softmax_decode(
    z: Tensor,  # (B, D, H, W)
    cube: Tensor,  # (B, H, W, C)
    endmembers: Tensor,  # (D, C)
    mean: Tensor | None = None,  # (D,) float64
    std: Tensor | None = None,  # (D,) float64
) -> Launch:
    """cube = softmax over D of (z std + mean), times the endmembers. Contiguous tensors."""
    B, D, H, W = z.shape
    inner, bands = H * W, endmembers.shape[1]
    block, pixels, width, warps = _TILES[z.itemsize]
    if block < D and z.itemsize == 2:
        width //= 2  # the loops over D leave fewer registers
    chunks = tiles(inner, pixels)
    count, vector = in_vectors(bands, cube.itemsize)
    return Launch(
        _softmax_decode,
        B * chunks if bands else 0,
        {
            "z": z,
            "cube": cube,
            "endmembers": endmembers,
            "mean": mean,
            "std": std,
            "inner": inner,
            "chunks": chunks,
            "lines": count,
            "D": D,
        },
        {
            "PIXELS": pixels,
            "BLOCK": block,
            "BANDS": width,
            "PRECISION": "tf32x3" if z.itemsize == 2 else "ieee",
            "WHOLE": block >= D,
            "VECTOR": vector,
            "FAR": power_of_two(D) * inner >= 2**31,
        },
        warps,
    )
