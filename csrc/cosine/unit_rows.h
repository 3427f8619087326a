// Row norms, unit rows and packed panels: what the cosine kernels need of their inputs, one pass
// each.
#pragma once

#include "common/platform.h"
#include "cosine/exact.h"
#include "cosine/job.h"

HUD_CORE_BEGIN

// 1 / |row|; 0 for a zero row, NaN where a value is not finite. Scaled by the largest value, so no
// square overflows. The same bits for float32 and float64 rows that hold the same numbers.
template <typename T>
double inverse_norm(const T* row, int64_t bands) {
  constexpr int n = kPartialSums / kWidth<double>;
  const int64_t whole = bands - bands % kPartialSums;
  double last[kPartialSums], part[kPartialSums];
  last_bands(row + whole, bands - whole, last);
  const Vector<double> zero = {};
  Vector<double> most[n] = {}, check[n] = {}, square[n] = {};
  for (int j = 0; j < n; ++j) {
    for (int64_t c = 0; c <= whole; c += kPartialSums) {
      const int64_t at = c + j * kWidth<double>;
      const Vector<double> value = c < whole ? widen(row + at) : load(last + j * kWidth<double>);
      const Vector<double> size = value < zero ? -value : value;
      most[j] = size > most[j] ? size : most[j];
      check[j] += value * 0.0;  // NaN once any value is NaN or infinite
    }
  }
  double odd = 0, largest = 0, sum = 0;
  for (int j = 0; j < n; ++j) store(part + j * kWidth<double>, check[j]);
  for (int l = 0; l < kPartialSums; ++l) odd += part[l];
  if (odd != 0) return __builtin_nan("");
  for (int j = 0; j < n; ++j) store(part + j * kWidth<double>, most[j]);
  for (int l = 0; l < kPartialSums; ++l) largest = part[l] > largest ? part[l] : largest;
  if (!(largest > 1e-300)) return 0;
  const double scale = 1 / largest;
  for (int j = 0; j < n; ++j) {
    for (int64_t c = 0; c <= whole; c += kPartialSums) {
      const int64_t at = c + j * kWidth<double>;
      const Vector<double> value =
          (c < whole ? widen(row + at) : load(last + j * kWidth<double>)) * scale;
      square[j] += value * value;
    }
  }
  for (int j = 0; j < n; ++j) store(part + j * kWidth<double>, square[j]);
  for (int l = 0; l < kPartialSums; ++l) sum += part[l];
  return scale / __builtin_sqrt(sum);
}

template <typename T>
void row_inverse_typed(const T* rows, int64_t bands, double* inverse, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) inverse[r] = inverse_norm(rows + r * bands, bands);
}

void row_inverse_range(const void* rows, bool is_float32, int64_t bands, double* inverse,
                       int64_t begin, int64_t end) {
  if (is_float32) {
    row_inverse_typed(static_cast<const float*>(rows), bands, inverse, begin, end);
  } else {
    row_inverse_typed(static_cast<const double*>(rows), bands, inverse, begin, end);
  }
}

template <typename T>
void row_sum_typed(const T* rows, int64_t bands, const double* inverse, double* sum, int64_t begin,
                   int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const double factor = inverse[r];
    if (!(factor > 0)) continue;
    const T* row = rows + r * bands;
    HUD_SIMD
    for (int64_t c = 0; c < bands; ++c) sum[c] += static_cast<double>(row[c]) * factor;
  }
}

void row_sum_range(const void* rows, bool is_float32, int64_t bands, const double* inverse,
                   double* sum, int64_t begin, int64_t end) {
  if (is_float32) {
    row_sum_typed(static_cast<const float*>(rows), bands, inverse, sum, begin, end);
  } else {
    row_sum_typed(static_cast<const double*>(rows), bands, inverse, sum, begin, end);
  }
}

template <typename T>
void pack_panels_typed(const CosineJob& job, float* panels, float* bias, int64_t begin, int64_t end,
                       double* largest) {
  const T* rows = static_cast<const T*>(job.reference);
  for (int64_t panel = begin; panel < end; ++panel) {
    float* to = panels + panel * job.bands * kPanel;
    for (int l = 0; l < kPanel; ++l) {
      const int64_t r = panel * kPanel + l;
      const double factor = r < job.rows ? job.reference_inverse[r] : 0.0;
      const bool used = factor > 0;
      double norm = 0, along = 0;
      for (int64_t c = 0; c < job.bands; ++c) {
        const double value =
            used ? static_cast<double>(rows[r * job.bands + c]) * factor - job.mean[c] : 0.0;
        to[c * kPanel + l] = static_cast<float>(value);
        norm += value * value;
        along += value * job.mean[c];
      }
      bias[panel * kPanel + l] = used ? static_cast<float>(along) : -__builtin_inff();
      const double length = __builtin_sqrt(norm);
      const double size = along < 0 ? -along : along;
      largest[0] = length > largest[0] ? length : largest[0];
      largest[1] = size > largest[1] ? size : largest[1];
    }
  }
}

void pack_panels_range(const CosineJob& job, float* panels, float* bias, int64_t begin, int64_t end,
                       double* largest) {
  if (job.is_float32) {
    pack_panels_typed<float>(job, panels, bias, begin, end, largest);
  } else {
    pack_panels_typed<double>(job, panels, bias, begin, end, largest);
  }
}

template <typename T>
void unit_rows_typed(const T* rows, int64_t bands, const double* factor, float* out, int64_t begin,
                     int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const bool used =
        factor[r] == factor[r] && factor[r] != 0;  // a NaN factor marks a row that is left out
    for (int64_t c = 0; c < bands; ++c)
      out[r * bands + c] =
          used ? static_cast<float>(static_cast<double>(rows[r * bands + c]) * factor[r]) : 0.0f;
  }
}

void unit_rows_range(const void* rows, bool is_float32, int64_t bands, const double* factor,
                     float* out, int64_t begin, int64_t end) {
  if (is_float32) {
    unit_rows_typed(static_cast<const float*>(rows), bands, factor, out, begin, end);
  } else {
    unit_rows_typed(static_cast<const double*>(rows), bands, factor, out, begin, end);
  }
}

HUD_CORE_END
