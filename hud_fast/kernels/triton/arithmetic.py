"""Values in registers: 16-bit types widened and rounded, logarithm, exponential, division.

Triton's own `log` and `exp` are the processor's approximations in float32 (lg2.approx, ex2.approx): 2^-22 absolute near
1, subnormals flushed. What stands here is csrc/common/elementary.h's, rewritten where a GPU wants it otherwise: the
float32 logarithm has no division, the exponential scales once by a power of two that stays normal.
"""

import triton
import triton.language as tl

# The interpreter cuts float32 to bfloat16 and mistakes subnormals; compiled code rounds to nearest even.
EMULATED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def widen(x):
    """16-bit floats as float32; the others as they are."""
    if x.dtype == tl.bfloat16:
        return (x.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    elif x.dtype == tl.float16:
        return x.to(tl.float32)
    else:
        return x


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """Rounded once to nearest even."""
    if EMULATED and dtype == tl.bfloat16:
        bits = x.to(tl.uint32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        quiet = (bits >> 16) | 0x40
        return tl.where(x == x, rounded, quiet).to(tl.uint16).to(tl.bfloat16, bitcast=True)
    else:
        return x.to(dtype)


@triton.jit
def reciprocal(x):
    """1 / x to nearest: once a line, so that equal values give exactly 1 / D."""
    if x.dtype == tl.float64:
        return 1.0 / x
    else:
        return tl.div_rn(tl.full(x.shape, 1.0, tl.float32), x)


@triton.jit
def _log_float(x):
    shifted = x.to(tl.int32, bitcast=True) - 0x3F3504F3  # sqrt(1/2)
    e = (shifted >> 23).to(tl.float32)
    m = ((shifted & 0x007FFFFF) + 0x3F3504F3).to(tl.float32, bitcast=True)
    f = m - 1.0
    # ln(1 + f) = f - f^2 / 2 + f^3 p(f), p fitted over [sqrt(1/2), sqrt(2)] - 1: 6e-9 relative to the logarithm.
    p = 1.277903629e-01 + f * -7.645907717e-02
    p = -1.316422353e-01 + f * p
    p = 1.419970882e-01 + f * p
    p = -1.662276235e-01 + f * p
    p = 2.000129209e-01 + f * p
    p = -2.500083803e-01 + f * p
    p = 3.333333120e-01 + f * p
    low = (f * f) * (-0.5 + f * p) + e * 9.0580006145e-06
    return e * 6.9313812256e-01 + (f + low)


@triton.jit
def _log_double(x):
    shifted = x.to(tl.int64, bitcast=True) - 0x3FE6A09E667F3BCD
    e = (shifted >> 52).to(tl.float64)
    m = ((shifted & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD).to(tl.float64, bitcast=True)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = w * (
        3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    )
    even = 1.818357216161805012e-01 + w * 1.479819860510658591e-01
    even = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * even))
    half = 0.5 * f * f
    low = s * (half + (odd + even)) + e * 1.90821492927058770002e-10
    return e * 6.93147180369123816490e-01 - ((half - low) - f)


@triton.jit
def log_positive(x):
    """ln x for normal x > 0; +inf and NaN pass through."""
    if x.dtype == tl.float64:
        return tl.where(x <= 1.7976931348623157e308, _log_double(x), x)
    else:
        return tl.where(x <= 3.402823466e38, _log_float(x), x)


@triton.jit
def _exp_float(x):
    k = x * 1.4426950216 + 12582912.0  # 1.5 * 2^23: the integer lies in the low bits
    power = ((k.to(tl.int32, bitcast=True) << 23) + 0x5F800000).to(tl.float32, bitcast=True)
    k = k - 12582912.0
    r = (x - k * 6.93145751953125e-01) - k * 1.428606765330187e-06
    q = 4.166655615e-02 + r * (8.363178931e-03 + r * 1.392618404e-03)
    q = 0.5 + r * (1.666657627e-01 + r * q)
    y = 1.0 + (r + (r * r) * q)
    # 2^(k + 64) is normal down to k = -150; the second factor rounds to subnormals.
    return y * power * 5.421010862427522e-20


@triton.jit
def _exp_double(x):
    k = x * 1.44269504088896338700 + 6755399441055744.0  # 1.5 * 2^52
    power = ((k.to(tl.int64, bitcast=True) << 52) + 0x5FF0000000000000).to(tl.float64, bitcast=True)
    k = k - 6755399441055744.0
    high = x - k * 6.93147180369123816490e-01
    low = k * 1.90821492927058770002e-10
    r = high - low
    t = r * r
    c = t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
    c = t * (-2.77777777770155933842e-03 + t * (6.61375632143793436117e-05 + c))
    c = r - t * (1.66666666666666019037e-01 + c)
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    return y * power * 7.458340731200207e-155  # 2^(k + 512), 2^-512


@triton.jit
def exp_nonpositive(x):
    """exp x for x <= 0, gradual underflow included; NaN passes through."""
    if x.dtype == tl.float64:
        return _exp_double(tl.where(x < -746.0, -746.0, x))
    else:
        return _exp_float(tl.where(x < -104.0, -104.0, x))
