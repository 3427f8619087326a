// Products of small matrices that lie in the cache.
#pragma once

#include "common/vector.h"

HUD_CORE_BEGIN

// Rows and vectors of the result that are held in registers: 12 sums of 16 registers, 24 of 32.
constexpr int kProductRows = HUD_VECTOR_BYTES == 64 ? 12 : 6;

template <bool add, int R, int N>
HUD_HD void product_tile(const float* a, int64_t a_row, int64_t a_step, const float* b,
                         int64_t b_row, int64_t depth, float* c, int64_t c_row) {
  constexpr int L = kWidth<float>;
  Float32s sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sum[r][n] = Float32s{};
  for (int64_t d = 0; d < depth; ++d) {
    Float32s right[N];
    for (int n = 0; n < N; ++n) right[n] = load(b + d * b_row + n * L);
    for (int r = 0; r < R; ++r) {
      const Float32s left = splat<Float32s>(a[r * a_row + d * a_step]);
      for (int n = 0; n < N; ++n) sum[r][n] += left * right[n];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) {
      float* const to = c + r * c_row + n * L;
      store(to, add ? load(to) + sum[r][n] : sum[r][n]);
    }
}

template <bool add, int N>
HUD_HD void product_column(const float* a, int64_t a_row, int64_t a_step, const float* b,
                           int64_t b_row, int64_t depth, float* c, int64_t c_row, int64_t rows) {
  int64_t r = 0;
  for (; r + kProductRows <= rows; r += kProductRows)
    product_tile<add, kProductRows, N>(a + r * a_row, a_row, a_step, b, b_row, depth, c + r * c_row,
                                       c_row);
  for (; r + 4 <= rows; r += 4)
    product_tile<add, 4, N>(a + r * a_row, a_row, a_step, b, b_row, depth, c + r * c_row, c_row);
  for (; r < rows; ++r)
    product_tile<add, 1, N>(a + r * a_row, a_row, a_step, b, b_row, depth, c + r * c_row, c_row);
}

// c (rows, columns) = a b, or c + a b: a (rows, depth) of any strides, b (depth, columns), columns
// a multiple of 16.
template <bool add>
void product(const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t b_row,
             int64_t depth, float* c, int64_t c_row, int64_t rows, int64_t columns) {
  constexpr int L = kWidth<float>;
  int64_t n = 0;
  for (; n + 2 * L <= columns; n += 2 * L)
    product_column<add, 2>(a, a_row, a_step, b + n, b_row, depth, c + n, c_row, rows);
  for (; n < columns; n += L)
    product_column<add, 1>(a, a_row, a_step, b + n, b_row, depth, c + n, c_row, rows);
}

HUD_CORE_END
