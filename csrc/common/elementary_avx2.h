// What the AVX2 level has an instruction for.
#pragma once

#include "common/vector.h"

HUD_CORE_BEGIN

// common/elementary.h's functions, with the maximum in one instruction, and exp in powers of two:
// fused products leave x log2 e - k exact, and the constant term costs no addition of its own.
template <>
struct Elementary<Float32s> {
  static HUD_HD Float32s log_positive(Float32s x) {
    return x <= splat<Float32s>(3.402823466e38f) ? log_positive_float(x) : x;
  }
  static HUD_HD Float32s exp_nonpositive(Float32s x) {
    const Float32s bounded = larger(splat<Float32s>(-104.0f), x);  // NaN passes
    const Float32s to_twos = splat<Float32s>(1.4426950216e+00f);
    const Float32s magic = splat<Float32s>(12582912.0f + 127.0f + 64.0f);
    const Float32s t = _mm256_fmadd_ps(bounded, to_twos, magic);
    const Float32s f = _mm256_fmadd_ps(bounded, splat<Float32s>(1.925963033500e-8f),
                                       _mm256_fmsub_ps(bounded, to_twos, t - magic));
    // 2^f, |f| <= 1/2: fitted at Chebyshev's points, 5e-9 relative.
    const Float32s y =
        1.0f +
        f * (6.931471880e-01f +
             f * (2.402265076e-01f +
                  f * (5.550357114e-02f +
                       f * (9.618082557e-03f + f * (1.339086336e-03f + f * 1.545316295e-04f)))));
    return y * bits_to<Float32s>(bits_to<Bits32s>(t) << 23) * 5.421010862427522e-20f;  // 2^-64
  }
  static HUD_HD Float32s larger(Float32s a, Float32s b) { return _mm256_max_ps(a, b); }
};
template <>
struct Elementary<Float64s> {
  static HUD_HD Float64s log_positive(Float64s x) {
    return x <= splat<Float64s>(1.7976931348623157e308) ? log_positive_double(x) : x;
  }
  static HUD_HD Float64s exp_nonpositive(Float64s x) {
    return exp_bounded_double(larger(splat<Float64s>(-746.0), x));
  }
  static HUD_HD Float64s larger(Float64s a, Float64s b) { return _mm256_max_pd(a, b); }
};

HUD_CORE_END
