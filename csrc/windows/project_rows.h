// Coordinates of rows in a basis, and the rows' squared norms, in float64: one pass.
#pragma once

#include "windows/lane_fft.h"

HUD_CORE_BEGIN

// Four rows times `P` vectors of basis columns from `column`; basis (C, padded), padded with zeros.
template <int P, typename T>
HUD_HD void project_columns(const T* rows, int64_t bands, const double* basis, int64_t padded,
                            int64_t column, int64_t rank, double* keys) {
  using V = Vector<double>;
  constexpr int64_t lanes = kWidth<double>;
  V sum[4][P] = {};
  for (int64_t c = 0; c < bands; ++c) {
    V b[P];
    for (int j = 0; j < P; ++j)
      b[j] = *reinterpret_cast<const V*>(basis + c * padded + column + j * lanes);
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < P; ++j) sum[i][j] += b[j] * static_cast<double>(rows[i * bands + c]);
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < P; ++j)
      for (int64_t l = 0; l < lanes; ++l) {
        const int64_t k = column + j * lanes + l;
        if (k < rank) keys[i * rank + k] = sum[i][j][l];
      }
}

template <typename T>
void project_rows_typed(const ProjectJob& job, int64_t begin, int64_t end, T* last) {
  constexpr int64_t lanes = kWidth<double>;
  const int64_t C = job.bands, rank = job.rank;
  const T* all = static_cast<const T*>(job.rows);
  for (int64_t row = begin; row < end; row += 4) {
    const T* rows = all + row * C;
    double few[4 * 64];
    double* keys = job.keys + row * rank;
    const int64_t count = end - row < 4 ? end - row : 4;
    if (count < 4) {  // a copy, filled up with its last row
      for (int64_t i = 0; i < 4; ++i)
        for (int64_t c = 0; c < C; ++c) last[i * C + c] = rows[(i < count ? i : count - 1) * C + c];
      rows = last;
    }
    if (count < 4 && rank <= 64) keys = few;
    if (count < 4 && rank > 64) {  // no room for four: the same row four times, one at a time
      for (int64_t i = 0; i < count; ++i)
        for (int64_t k = 0; k < rank; ++k) {
          double sum = 0;
          for (int64_t c = 0; c < C; ++c)
            sum += static_cast<double>(rows[i * C + c]) * job.basis[c * job.padded + k];
          job.keys[(row + i) * rank + k] = sum;
        }
    } else {
      int64_t column = 0;
      for (; column + 2 * lanes <= job.padded; column += 2 * lanes)
        project_columns<2, T>(rows, C, job.basis, job.padded, column, rank, keys);
      for (; column < job.padded; column += lanes)
        project_columns<1, T>(rows, C, job.basis, job.padded, column, rank, keys);
      if (keys == few)
        for (int64_t i = 0; i < count * rank; ++i) job.keys[row * rank + i] = few[i];
    }
    for (int64_t i = 0; i < count; ++i) {
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t c = 0; c < C; ++c) {
        const double value = static_cast<double>(rows[i * C + c]);
        sum += value * value;
      }
      job.square[row + i] = sum;
    }
  }
}

void project_rows_range(const ProjectJob& job, int64_t begin, int64_t end, void* work) {
  if (job.is_float32) {
    project_rows_typed<float>(job, begin, end, static_cast<float*>(work));
  } else {
    project_rows_typed<double>(job, begin, end, static_cast<double*>(work));
  }
}

HUD_CORE_END
