// Branch-free log and exp that compilers vectorise; errors below 1 ulp + rounding (tests/kernels
// measures them).
//
// The argument reductions and polynomials are the classical ones of Tang / fdlibm: log x = e ln2 +
// log m with m in [sqrt(1/2), sqrt(2)), log m by s = f / (2 + f); exp x = 2^k exp r with |r| <= ln2
// / 2. The C library's own functions stay scalar without -ffast-math, which this project does not
// use.
#pragma once

#include "core/platform.h"

HUD_CORE_BEGIN

template <typename To, typename From>
HUD_HD To bits_to(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

// ln x for normal x > 0; +inf and NaN pass through. Zero, negative and subnormal x are the caller's
// to avoid (the callers add delta >= exp(-8) / D first).
HUD_HD double log_positive(double x) {
  const uint64_t bits = bits_to<uint64_t>(x);
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcdULL;
  const uint64_t shifted = bits + (0x3ff0000000000000ULL - sqrt_half);
  // The biased exponent as a double without an integer conversion (AVX2 has none for 64 bits).
  const double e =
      bits_to<double>((shifted >> 52) | 0x4330000000000000ULL) - (4503599627370496.0 + 1023.0);
  const double m = bits_to<double>((shifted & 0x000fffffffffffffULL) + sqrt_half);
  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double w = z * z;
  const double odd = w * (3.999999999940941908e-01 +
                          w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
  const double even = z * (6.666666666666735130e-01 +
                           w * (2.857142874366239149e-01 +
                                w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
  const double half = 0.5 * f * f;
  const double low = s * (half + (odd + even)) + e * 1.90821492927058770002e-10;
  const double y = e * 6.93147180369123816490e-01 - ((half - low) - f);
  return x <= 1.7976931348623157e308 ? y : x;
}

HUD_HD float log_positive(float x) {
  const uint32_t bits = bits_to<uint32_t>(x);
  const uint32_t sqrt_half = 0x3f3504f3U;
  const uint32_t shifted = bits + (0x3f800000U - sqrt_half);
  const float e = static_cast<float>(static_cast<int32_t>(shifted >> 23) - 127);
  const float m = bits_to<float>((shifted & 0x007fffffU) + sqrt_half);
  const float f = m - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  const float w = z * z;
  const float r =
      w * (0.40000972152f + w * 0.24279078841f) + z * (0.66666662693f + w * 0.28498786688f);
  const float half = 0.5f * f * f;
  const float low = s * (half + r) + e * 9.0580006145e-6f;
  const float y = e * 6.9313812256e-01f - ((half - low) - f);
  return x <= 3.402823466e38f ? y : x;
}

// exp x for x <= 0 (the softmax's range), gradual underflow included; NaN passes through.
HUD_HD double exp_nonpositive(double x) {
  const double bounded = x < -746.0 ? -746.0 : x;  // exp(-746) is 0; false for NaN
  const double magic =
      6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer in the low bits
  const double k = (bounded * 1.44269504088896338700 + magic) - magic;
  const double high = bounded - k * 6.93147180369123816490e-01;
  const double low = k * 1.90821492927058770002e-10;
  const double r = high - low;
  const double t = r * r;
  const double c =
      r - t * (1.66666666666666019037e-01 +
               t * (-2.77777777770155933842e-03 +
                    t * (6.61375632143793436117e-05 +
                         t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
  const double y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
  // 2^k in two factors, so that results below 2^-1022 round to subnormals instead of vanishing.
  const double first = k * 0.5 + magic;
  const double second = (k - (first - magic)) + magic;
  const double scale_a = bits_to<double>((bits_to<uint64_t>(first) << 52) + 0x3ff0000000000000ULL);
  const double scale_b = bits_to<double>((bits_to<uint64_t>(second) << 52) + 0x3ff0000000000000ULL);
  return y * scale_a * scale_b;
}

HUD_HD float exp_nonpositive(float x) {
  const float bounded = x < -104.0f ? -104.0f : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23
  const float k = (bounded * 1.4426950216e+00f + magic) - magic;
  const float high = bounded - k * 6.9314575195e-01f;
  const float low = k * 1.4286067653e-06f;
  const float r = high - low;
  const float t = r * r;
  const float c = r - t * (1.6666625440e-1f + t * -2.7667332906e-3f);
  const float y = 1.0f - ((low - (r * c) / (2.0f - c)) - high);
  const float first = k * 0.5f + magic;
  const float second = (k - (first - magic)) + magic;
  const float scale_a = bits_to<float>((bits_to<uint32_t>(first) << 23) + 0x3f800000U);
  const float scale_b = bits_to<float>((bits_to<uint32_t>(second) << 23) + 0x3f800000U);
  return y * scale_a * scale_b;
}

HUD_CORE_END
