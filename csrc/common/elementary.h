// Branch-free log and exp that compilers vectorise; errors below 1 ulp + rounding (tests/kernels
// measures them).
//
// The argument reductions are the classical ones of Tang / fdlibm: log x = e ln2 + log m with m =
// 1 + f in [sqrt(1/2), sqrt(2)), for double by s = f / (2 + f); exp x = 2^k exp r with |r| <= ln2 /
// 2. Polynomials take a division's place where that costs more. The C library's own functions stay
// scalar without -ffast-math, which this project does not use.
//
// V is float, double, or a vector of either through the compiler's vector types: one text for all.
// Elementary<V> is what the operations call, so that a level may put something faster in its place
// (common/elementary_avx512.h does).
#pragma once

#include "common/platform.h"

HUD_CORE_BEGIN

// The element type of V, and integers of V's shape; common/vector.h adds the vectors.
template <typename V>
struct Shape;
template <>
struct Shape<float> {
  using Element = float;
  using Bits = uint32_t;
};
template <>
struct Shape<double> {
  using Element = double;
  using Bits = uint64_t;
};
template <typename V>
using Element = typename Shape<V>::Element;
template <typename V>
using BitsOf = typename Shape<V>::Bits;

template <typename To, typename From>
HUD_HD To bits_to(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

// A value in every lane.
template <typename V>
HUD_HD V splat(Element<V> value) {
  return value - V{};
}

template <typename V>
HUD_HD V log_positive_double(V x) {
  using U = BitsOf<V>;
  const U shifted = bits_to<U>(x) + (0x3ff0000000000000ULL - 0x3fe6a09e667f3bcdULL);
  // The biased exponent as a double without an integer conversion (AVX2 has none for 64 bits).
  const V e = bits_to<V>((shifted >> 52) | 0x4330000000000000ULL) - (4503599627370496.0 + 1023.0);
  const V m = bits_to<V>((shifted & 0x000fffffffffffffULL) + 0x3fe6a09e667f3bcdULL);
  const V f = m - 1.0;
  const V s = f / (2.0 + f);
  const V z = s * s;
  const V w = z * z;
  const V odd = w * (3.999999999940941908e-01 +
                     w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const V even = z * (6.666666666666735130e-01 +
                      w * (2.857142874366239149e-01 +
                           w * (1.818357216161805012e-01 + w * 1.479819860510658591e-01)));
  const V half = 0.5 * f * f;
  const V low = s * (half + (odd + even)) + e * 1.90821492927058770002e-10;
  return e * 6.93147180369123816490e-01 - ((half - low) - f);
}

// log1p f = f + f^2 q(f), q fitted at Chebyshev's points: 1e-8 relative to log1p f. No division.
template <typename V>
HUD_HD V log_positive_float(V x) {
  using U = BitsOf<V>;
  const U shifted = bits_to<U>(x) + (0x3f800000U - 0x3f3504f3U);
  const V e = bits_to<V>((shifted >> 23) | 0x4b000000U) - (8388608.0f + 127.0f);
  const V f = bits_to<V>((shifted & 0x007fffffU) + 0x3f3504f3U) - 1.0f;
  const V z = f * f;
  const V even = -4.999999765e-01f +
                 z * (-2.500078124e-01f +
                      z * (-1.662664563e-01f + z * (-1.312755565e-01f + z * -7.673641502e-02f)));
  const V odd =
      3.333333003e-01f + z * (2.000123446e-01f + z * (1.420485595e-01f + z * 1.272267279e-01f));
  const V low = e * 1.428606765330187e-06f + (f + z * (even + f * odd));
  return e * 6.93145751953125e-01f + low;
}

// x is at most 0, and not below what underflows to nothing.
//
// The scale is 2^(k + an offset), whose bits are the low ones of the sum that rounds to k; the
// offset is taken back by a product, so that results below the least normal round once.
template <typename V>
HUD_HD V exp_bounded_double(V x) {
  using U = BitsOf<V>;
  // 1.5 * 2^52, whose sum rounds to an integer in the low bits; the exponent's bias; the offset.
  const double magic = 6755399441055744.0 + 1023.0 + 512.0;
  const V t = x * 1.44269504088896338700 + magic;
  const V k = t - magic;
  const V r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10;
  // exp r = 1 + r + r^2 q(r), q fitted at Chebyshev's points: 2e-17 relative to exp r.
  const V z = r * r;
  const V even = 5.00000000000000102e-01 +
                 z * (4.16666666666241619e-02 +
                      z * (1.38888889171967191e-03 +
                           z * (2.48015213223686933e-05 + z * 2.76200758799833666e-07)));
  const V odd = 1.66666666666666675e-01 +
                z * (8.33333333333006445e-03 +
                     z * (1.98412698630405453e-04 +
                          z * (2.75572684803100255e-06 + z * 2.51003758325612337e-08)));
  const V y = 1.0 + (r + z * (even + r * odd));
  return y * bits_to<V>(bits_to<U>(t) << 52) * 7.458340731200207e-155;  // 2^-512
}

// For -104 <= x <= 43.
template <typename V>
HUD_HD V exp_bounded_float(V x) {
  using U = BitsOf<V>;
  const float magic = 12582912.0f + 127.0f + 64.0f;  // of 1.5 * 2^23
  const V t = x * 1.4426950216e+00f + magic;
  const V k = t - magic;
  // 1e-8 relative to exp r.
  const V r = (x - k * 6.93145751953125e-01f) - k * 1.428606765330187e-06f;
  const V q = 5.000000000e-01f +
              r * (1.666657627e-01f +
                   r * (4.166655615e-02f + r * (8.363178931e-03f + r * 1.392618404e-03f)));
  const V y = 1.0f + (r + (r * r) * q);
  return y * bits_to<V>(bits_to<U>(t) << 23) * 5.421010862427522e-20f;  // 2^-64
}

template <typename V>
struct Elementary {
  // ln x for normal x > 0; +inf and NaN pass through. Zero, negative and subnormal x are the
  // caller's to avoid (the callers add delta >= exp(-8) / D first).
  static HUD_HD V log_positive(V x) {
    if constexpr (sizeof(Element<V>) == 8) {
      return x <= splat<V>(1.7976931348623157e308) ? log_positive_double(x) : x;
    } else {
      return x <= splat<V>(3.402823466e38f) ? log_positive_float(x) : x;
    }
  }
  // exp x for x <= 0 (the softmax's range), gradual underflow included; NaN passes through.
  static HUD_HD V exp_nonpositive(V x) {
    if constexpr (sizeof(Element<V>) == 8) {
      const V least = splat<V>(-746.0);  // its exp is 0
      return exp_bounded_double(x < least ? least : x);
    } else {
      const V least = splat<V>(-104.0f);
      return exp_bounded_float(x < least ? least : x);
    }
  }
  // The larger; either one where one is NaN.
  static HUD_HD V larger(V a, V b) { return a > b ? a : b; }
};

HUD_CORE_END
