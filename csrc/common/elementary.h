// Branch-free log and exp that compilers vectorise; errors below 1 ulp + rounding (tests/kernels
// measures them).
//
// The argument reductions and polynomials are the classical ones of Tang / fdlibm: log x = e ln2 +
// log m with m in [sqrt(1/2), sqrt(2)), log m by s = f / (2 + f); exp x = 2^k exp r with |r| <= ln2
// / 2. The C library's own functions stay scalar without -ffast-math, which this project does not
// use.
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

template <typename V>
HUD_HD V log_positive_float(V x) {
  using U = BitsOf<V>;
  const U shifted = bits_to<U>(x) + (0x3f800000U - 0x3f3504f3U);
  const V e = bits_to<V>((shifted >> 23) | 0x4b000000U) - (8388608.0f + 127.0f);
  const V m = bits_to<V>((shifted & 0x007fffffU) + 0x3f3504f3U);
  const V f = m - 1.0f;
  const V s = f / (2.0f + f);
  const V z = s * s;
  const V w = z * z;
  const V r = w * (0.40000972152f + w * 0.24279078841f) + z * (0.66666662693f + w * 0.28498786688f);
  const V half = 0.5f * f * f;
  const V low = s * (half + r) + e * 9.0580006145e-6f;
  return e * 6.9313812256e-01f - ((half - low) - f);
}

// x is at most 0, and not below what underflows to nothing.
template <typename V>
HUD_HD V exp_bounded_double(V x) {
  using U = BitsOf<V>;
  const double magic =
      6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer in the low bits
  const V k = (x * 1.44269504088896338700 + magic) - magic;
  const V high = x - k * 6.93147180369123816490e-01;
  const V low = k * 1.90821492927058770002e-10;
  const V r = high - low;
  const V t = r * r;
  const V c =
      r - t * (1.66666666666666019037e-01 +
               t * (-2.77777777770155933842e-03 +
                    t * (6.61375632143793436117e-05 +
                         t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
  const V y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
  // 2^k in two factors, so that results below 2^-1022 round to subnormals instead of vanishing.
  const V first = k * 0.5 + magic;
  const V second = (k - (first - magic)) + magic;
  const V scale_a = bits_to<V>((bits_to<U>(first) << 52) + 0x3ff0000000000000ULL);
  const V scale_b = bits_to<V>((bits_to<U>(second) << 52) + 0x3ff0000000000000ULL);
  return y * scale_a * scale_b;
}

template <typename V>
HUD_HD V exp_bounded_float(V x) {
  using U = BitsOf<V>;
  const float magic = 12582912.0f;  // 1.5 * 2^23
  const V k = (x * 1.4426950216e+00f + magic) - magic;
  // exp r = 1 + r + r^2 q(r), q fitted at Chebyshev's points: 1e-8 relative to exp r. No division.
  const V r = (x - k * 6.93145751953125e-01f) - k * 1.428606765330187e-06f;
  const V q = 5.000000000e-01f +
              r * (1.666657627e-01f +
                   r * (4.166655615e-02f + r * (8.363178931e-03f + r * 1.392618404e-03f)));
  const V y = 1.0f + (r + (r * r) * q);
  const V first = k * 0.5f + magic;
  const V second = (k - (first - magic)) + magic;
  const V scale_a = bits_to<V>((bits_to<U>(first) << 23) + 0x3f800000U);
  const V scale_b = bits_to<V>((bits_to<U>(second) << 23) + 0x3f800000U);
  return y * scale_a * scale_b;
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
