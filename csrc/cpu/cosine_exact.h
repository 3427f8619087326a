// The float64 cosine that decides every search: one function, so that all paths give the same bits.
#pragma once

#include "core/platform.h"
#include "cpu/kernels.h"

HUD_CORE_BEGIN

// Never inlined: another caller's registers must not change the order of the sum.
template <typename T>
__attribute__((noinline)) double unit_cosine(const double* unit, const T* row, double inverse,
                                             int64_t bands) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < bands; ++c) sum += unit[c] * (static_cast<double>(row[c]) * inverse);
  return sum > 1 ? 1.0 : (sum < -1 ? -1.0 : sum);
}

template <typename T>
void unit_row(const T* row, double inverse, int64_t bands, double* unit) {
  HUD_SIMD
  for (int64_t c = 0; c < bands; ++c) unit[c] = static_cast<double>(row[c]) * inverse;
}

HUD_CORE_END
