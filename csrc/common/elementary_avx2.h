// What the AVX2 level has an instruction for.
#pragma once

#include "common/vector.h"

HUD_CORE_BEGIN

// common/elementary.h's functions, with the maximum in one instruction.
template <>
struct Elementary<Float32s> {
  static HUD_HD Float32s log_positive(Float32s x) {
    return x <= splat<Float32s>(3.402823466e38f) ? log_positive_float(x) : x;
  }
  static HUD_HD Float32s exp_nonpositive(Float32s x) {
    return exp_bounded_float(larger(splat<Float32s>(-104.0f), x));
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
