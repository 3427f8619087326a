// The float64 cosine that decides every search: one function, so that all paths give the same bits.
#pragma once

#include "common/platform.h"
#include "common/vector.h"
#include "cosine/job.h"

HUD_CORE_BEGIN

constexpr int kPartialSums = 16;

HUD_HD Vector<double> widen(const double* p) { return load(p); }
HUD_HD Vector<double> widen(const float* p) {
  typedef float Half __attribute__((vector_size(HUD_VECTOR_BYTES / 2), aligned(4)));
  return __builtin_convertvector(*reinterpret_cast<const Half*>(p), Vector<double>);
}

// The last bands of a row, zeros after them. Left to a scalar loop, the compiler would fuse
// products and sums for one type of row and not for the other.
template <typename T>
HUD_HD void last_bands(const T* row, int64_t count, double* padded) {
  for (int l = 0; l < kPartialSums; ++l) padded[l] = l < count ? static_cast<double>(row[l]) : 0.0;
}

// Sixteen partial sums whatever the row's type, added in one order: the same bits for float32 and
// float64 rows that hold the same numbers. Never inlined: another caller's code must not change it.
template <typename T>
__attribute__((noinline)) double unit_cosine(const double* unit, const T* row, double inverse,
                                             int64_t bands) {
  constexpr int n = kPartialSums / kWidth<double>;
  Vector<double> sum[n] = {};
  const int64_t whole = bands - bands % kPartialSums;
  for (int64_t c = 0; c < whole; c += kPartialSums)
    for (int j = 0; j < n; ++j)
      sum[j] +=
          load(unit + c + j * kWidth<double>) * (widen(row + c + j * kWidth<double>) * inverse);
  double part[kPartialSums];
  if (whole < bands) {
    double other[kPartialSums];
    last_bands(unit + whole, bands - whole, part);
    last_bands(row + whole, bands - whole, other);
    for (int j = 0; j < n; ++j)
      sum[j] += load(part + j * kWidth<double>) * (load(other + j * kWidth<double>) * inverse);
  }
  for (int j = 0; j < n; ++j) store(part + j * kWidth<double>, sum[j]);
  double total = 0;
  for (int l = 0; l < kPartialSums; ++l) total += part[l];
  return total > 1 ? 1.0 : (total < -1 ? -1.0 : total);
}

template <typename T>
void unit_row(const T* row, double inverse, int64_t bands, double* unit) {
  HUD_SIMD
  for (int64_t c = 0; c < bands; ++c) unit[c] = static_cast<double>(row[c]) * inverse;
}

HUD_CORE_END
