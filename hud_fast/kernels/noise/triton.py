"""out = a z + b e + c n: the forward process, a sampler's step, or noise alone, with n read or drawn in the kernel.

The noise is csrc/noise/philox.h's, number for number: Philox 4x32-10 on the counter (block, step, sample), 16
neighbouring blocks make 64 normals, of which number 16 k + l is output k of block l.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from hud_fast.kernels.noise.normal_noise import Address
from hud_fast.kernels.triton.arithmetic import log_positive, narrow, widen
from hud_fast.kernels.triton.launch import INTERPRETED, Launch, in_vectors, tiles

# One block a thread and part: four values 16 places apart, so that a warp's access covers two whole runs of 16 values.
# Accesses of 4 bytes are enough here: 8 values a thread, of z, e and the result, are 64 bytes in flight, 100 KiB on a
# multiprocessor; and more neighbours a thread would need the noise handed round through shared memory. The generator
# takes some 45 instructions a value, of the 90 that fit beside float32's 12 bytes and the 45 beside a 16-bit type's 6:
# those are bound by arithmetic.
BLOCKS, PARTS, WARPS = 128, 2, 4
if INTERPRETED:  # where an operation costs the same for any number of values
    BLOCKS = 512

SCALARS, SIGNAL, TABLE = 0, 1, 2  # where the factors come from


@triton.jit
def philox(c0, c1, c2, c3, k0, k1):
    """Four 32-bit numbers of each counter."""
    for _ in tl.static_range(10):
        high0 = tl.umulhi(c0, tl.full(c0.shape, 0xD2511F53, tl.uint32))
        low0 = c0 * tl.full(c0.shape, 0xD2511F53, tl.uint32)
        high1 = tl.umulhi(c2, tl.full(c2.shape, 0xCD9E8D57, tl.uint32))
        low1 = c2 * tl.full(c2.shape, 0xCD9E8D57, tl.uint32)
        c0 = high1 ^ c1 ^ k0
        c1 = low1
        c2 = high0 ^ c3 ^ k1
        c3 = low0
        k0 = k0 + tl.full(k0.shape, 0x9E3779B9, tl.uint32)
        k1 = k1 + tl.full(k1.shape, 0xBB67AE85, tl.uint32)
    return c0, c1, c2, c3


@triton.jit
def box_muller(a, b):
    """Two normals from two uniform 32-bit numbers: radius from the first, quadrant and angle in it from the second."""
    uniform = a.to(tl.float32) * 2.3283064365386963e-10 + 1.1641532182693481e-10
    square = -2.0 * log_positive(uniform)
    radius = tl.sqrt(tl.maximum(square, 0.0))
    t = (b << 2).to(tl.int32, bitcast=True).to(tl.float32) * 3.6572952e-10  # pi / 4 * 2^-31
    z = t * t
    sine = 8.3333333e-3 + z * (-1.9841270e-4 + z * 2.7557319e-6)
    sine = t + (t * z) * (-1.6666667e-1 + z * sine)
    cosine = -1.3888889e-3 + z * (2.4801587e-5 + z * -2.7557319e-7)
    cosine = (1.0 - 0.5 * z) + (z * z) * (4.1666667e-2 + z * cosine)
    quadrant = b >> 30
    even = (quadrant & 1) == 0
    x = tl.where(even, cosine, sine) * radius
    y = tl.where(even, sine, cosine) * radius
    # (c, s), (-s, c), (-c, -s), (s, -c)
    x = tl.where(((quadrant + 1) & 2) == 0, x, -x)
    y = tl.where((quadrant & 2) == 0, y, -y)
    return x, y


@triton.jit
def normals(block, step, sample, seed):
    """The four normals of each block: output k of `block`. step, sample and seed are 64-bit numbers."""
    zero = tl.zeros(block.shape, tl.uint32)
    key = tl.zeros((1,), tl.uint32)
    a, b, c, d = philox(
        block,
        zero + step.to(tl.uint32),
        zero + sample.to(tl.uint32),
        zero + (sample >> 32).to(tl.uint32),
        key + seed.to(tl.uint32),
        key + (seed >> 32).to(tl.uint32),
    )
    n0, n1 = box_muller(a, b)
    n2, n3 = box_muller(c, d)
    return n0, n1, n2, n3


@triton.jit
def _output(
    z, e, past, noise, out, noise_out, drawn, at, left, a, b, c, p, q, r, dtype: tl.constexpr
):
    """One output of every block: a z + b e + c n + p past, and past <- q z + r e; what is None is left out."""
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    mask = at < left
    total = tl.zeros(at.shape, wide)
    if z is not None:
        value = widen(tl.load(z + at, mask=mask, other=0.0)).to(wide)
        total += a * value
    if e is not None:
        predicted = widen(tl.load(e + at, mask=mask, other=0.0)).to(wide)
        total += b * predicted
    if past is not None:
        total += p * widen(tl.load(past + at, mask=mask, other=0.0)).to(wide)
        tl.store(past + at, narrow(q * value + r * predicted, dtype), mask=mask)
    if noise is not None:
        total += c * widen(tl.load(noise + at, mask=mask, other=0.0)).to(wide)
    if drawn is not None:
        normal = drawn.to(wide)
        total += c * normal
        if noise_out is not None:
            tl.store(noise_out + at, narrow(normal, dtype), mask=mask)
    tl.store(out + at, narrow(total, dtype), mask=mask)


@triton.jit
def root(x):
    """To nearest."""
    if x.dtype == tl.float64:
        return tl.sqrt(x)
    else:
        return tl.sqrt_rn(x)


@triton.jit(do_not_specialize=["seed", "step", "first"])
def _affine(
    z, e, past, noise, out, noise_out, count, chunks,
    z_factor: tl.float64, e_factor: tl.float64, noise_factor: tl.float64,
    factors, place, seed: tl.int64, step: tl.int64, first: tl.int64, at_step, at_first,
    FACTORS: tl.constexpr, COLUMNS: tl.constexpr, DRAW: tl.constexpr, BLOCKS: tl.constexpr,
    PARTS: tl.constexpr, VECTOR: tl.constexpr,
):  # fmt: skip
    """PARTS runs of BLOCKS blocks, four values each, of one sample.

    FACTORS: 0 the three numbers; 1 the sample's abar in `factors`; 2 row place[0] of the table `factors`, COLUMNS wide.
    `at_step`, `at_first`: numbers on the device that are added to `step` and `first`, for graphs that replay.
    """
    dtype: tl.constexpr = out.dtype.element_ty
    wide: tl.constexpr = tl.float64 if dtype == tl.float64 else tl.float32
    count = count * VECTOR
    sample = (tl.program_id(0) // chunks).to(tl.int64)
    block = (tl.program_id(0) % chunks).to(tl.int64) * (BLOCKS * PARTS)
    a = tl.full((1,), z_factor, tl.float64).to(wide)
    b = tl.full((1,), e_factor, tl.float64).to(wide)
    c = tl.full((1,), noise_factor, tl.float64).to(wide)
    p, q, r = a, a, a
    if FACTORS == 1:
        signal = tl.load(factors + sample + tl.arange(0, 1))
        a = root(signal.to(wide))
        c = root((1.0 - signal).to(wide))
    if FACTORS == 2:
        row = factors + tl.load(place) * COLUMNS + tl.arange(0, 1)
        a = tl.load(row).to(wide)
        b = tl.load(row + 1).to(wide)
        c = tl.load(row + 2).to(wide)
        if past is not None:
            p = tl.load(row + 3).to(wide)
            q = tl.load(row + 4).to(wide)
            r = tl.load(row + 5).to(wide)
    key = tl.zeros((1,), tl.int64)
    now = key + step
    number = key + first + sample
    if at_step is not None:
        now += tl.load(at_step)
    if at_first is not None:
        number += tl.load(at_first)
    if FACTORS == 2:
        now += tl.load(place)
    base = sample * count + block * 4
    left = tl.minimum(count - block * 4, BLOCKS * PARTS * 4).to(tl.int32)
    out += base
    # not through a function: Triton 3.6 has none that returns None
    if z is not None:
        z += base
    if e is not None:
        e += base
    if past is not None:
        past += base
    if noise is not None:
        noise += base
    if noise_out is not None:
        noise_out += base
    for part in tl.static_range(PARTS):
        item = tl.arange(0, BLOCKS) + part * BLOCKS
        at = (item // 16) * 64 + item % 16
        n0, n1, n2, n3 = None, None, None, None
        if DRAW:
            n0, n1, n2, n3 = normals((block + item).to(tl.uint32), now, number, key + seed)
        _output(z, e, past, noise, out, noise_out, n0, at, left, a, b, c, p, q, r, dtype)
        _output(z, e, past, noise, out, noise_out, n1, at + 16, left, a, b, c, p, q, r, dtype)
        _output(z, e, past, noise, out, noise_out, n2, at + 32, left, a, b, c, p, q, r, dtype)
        _output(z, e, past, noise, out, noise_out, n3, at + 48, left, a, b, c, p, q, r, dtype)


def affine(
    out: Tensor,  # (B, ...)
    *,
    z: Tensor | None = None,
    e: Tensor | None = None,
    past: Tensor | None = None,
    noise: Tensor | None = None,
    noise_out: Tensor | None = None,
    factors: tuple[float, float, float] = (0.0, 0.0, 0.0),
    signal: Tensor | None = None,  # (B,) float64
    table: Tensor | None = None,  # (rows, 3), or (rows, 6) with `past`
    row: Tensor | None = None,  # (1,) int64
    address: Address | None = None,  # draw
) -> Launch:
    """out = a z + b e + c n + p past for each sample, contiguous tensors; n is `noise`, or drawn at `address`.

    Factors: `factors`, or (sqrt(abar), 0, sqrt(1 - abar)) of `signal`, or row `row` of `table`, whose last two make the
    next `past`. The noise's step is the address's plus `row`, which is read on the device.
    """
    drawn = address or Address(0, 0, 0)
    samples = out.shape[0]
    count = out.numel() // samples if samples else 0
    chunks = tiles(count, 4 * BLOCKS * PARTS)
    length, vector = in_vectors(count, out.itemsize)
    source = SIGNAL if signal is not None else TABLE if table is not None else SCALARS
    arguments: dict[str, Any] = {
        "z": z,
        "e": e,
        "past": past,
        "noise": noise,
        "out": out,
        "noise_out": noise_out,
        "count": length,
        "chunks": chunks,
        "z_factor": factors[0],
        "e_factor": factors[1],
        "noise_factor": factors[2],
        "factors": signal if table is None else table,
        "place": row,
        "seed": drawn.seed,
        "step": drawn.step,
        "first": drawn.first,
        "at_step": drawn.at,
        "at_first": drawn.start,
    }
    constants = {
        "FACTORS": source,
        "COLUMNS": 0 if table is None else table.shape[1],
        "DRAW": address is not None,
        "BLOCKS": BLOCKS,
        "PARTS": PARTS,
        "VECTOR": vector,
    }
    return Launch(_affine, samples * chunks, arguments, constants, WARPS)
