// Gradients of one pixel, lanes = endmembers, and the sets they tell apart as bit masks.
#pragma once

#include "common/vector.h"
#include "fcls/verdict.h"

HUD_CORE_BEGIN

// out = base - sum_a factor_a row_a, and the largest of each lane into `top`. A null `members`
// takes the rows in order.
template <int N, typename T>
HUD_HD void gradient_block(const T* base, const T* table, int64_t stride, const uint8_t* members,
                           const T* factors, int64_t step, int count, T* out, Vector<T>* top) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>;
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = load(base + n * W);
  for (int a = 0; a < count; ++a) {
    const T factor = factors[a * step];
    const T* row = table + (members != nullptr ? members[a] : a) * stride;
    for (int n = 0; n < N; ++n) sum[n] -= load(row + n * W) * factor;
  }
  for (int n = 0; n < N; ++n) {
    store(out + n * W, sum[n]);
    *top = sum[n] > *top ? sum[n] : *top;
  }
}

// The same over all `stride` values, a multiple of 16; returns the largest of them. Padding is told
// by a base far below every gradient.
template <typename T>
HUD_HD T gradient(const T* base, const T* table, int64_t stride, const uint8_t* members,
                  const T* factors, int64_t step, int count, T* out) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>;
  V top = V{} - static_cast<T>(__builtin_inf());
  int64_t at = 0;
  for (; at + 4 * W <= stride; at += 4 * W)
    gradient_block<4>(base + at, table + at, stride, members, factors, step, count, out + at, &top);
  if (at + 2 * W <= stride) {
    gradient_block<2>(base + at, table + at, stride, members, factors, step, count, out + at, &top);
    at += 2 * W;
  }
  if (at + W <= stride)
    gradient_block<1>(base + at, table + at, stride, members, factors, step, count, out + at, &top);
  return largest_lane<T>(top);
}

// Bits of the endmembers whose gradient exceeds `level` by more than `tolerance` and by `share` of
// the largest excess.
template <typename T>
HUD_HD uint64_t entering_bits(const T* base, const T* table, int64_t stride, const uint8_t* members,
                              const T* factors, int64_t step, int count, T level, T tolerance,
                              T share, T* out) {
  constexpr int W = kWidth<T>;
  const T largest = gradient(base, table, stride, members, factors, step, count, out);
  const T bound = entering_bound(largest > level ? largest : level, level, tolerance, share);
  uint64_t bits = 0;
  for (int64_t at = 0; at < stride; at += W)
    bits |= static_cast<uint64_t>(above(load(out + at), bound)) << at;
  return bits;
}

// out_a = row_a . vector for `count` rows of a table, four at a time.
template <int R>
HUD_HD void dot_block(const double* table, int64_t values, const uint8_t* members,
                      const double* vector, double* out, int64_t step) {
  using V = Vector<double>;
  constexpr int W = kWidth<double>;
  V sum[R] = {};
  int64_t at = 0;
  for (; at + W <= values; at += W) {
    const V v = load(vector + at);
    for (int r = 0; r < R; ++r) sum[r] += load(table + members[r] * values + at) * v;
  }
  for (int r = 0; r < R; ++r) {
    double lanes[W], total = 0;
    store(lanes, sum[r]);
    for (int l = 0; l < W; ++l) total += lanes[l];
    for (int64_t i = at; i < values; ++i) total += table[members[r] * values + i] * vector[i];
    out[r * step] = total;
  }
}
HUD_HD void project_on(const double* table, int64_t values, const uint8_t* members, int count,
                       const double* vector, double* out, int64_t step) {
  int a = 0;
  for (; a + 4 <= count; a += 4)
    dot_block<4>(table, values, members + a, vector, out + a * step, step);
  for (; a < count; ++a) dot_block<1>(table, values, members + a, vector, out + a * step, step);
}

// out (values) = base - sum_a factor_a row_a, values a multiple of 4; base may be null for 0 and a
// null `members` takes the rows in order.
template <int N>
HUD_HD void combine_block(const double* base, const double* table, int64_t stride,
                          const uint8_t* members, const double* factors, int64_t step, int count,
                          double* out) {
  using V = Vector<double>;
  constexpr int W = kWidth<double>;
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = base != nullptr ? load(base + n * W) : V{};
  for (int a = 0; a < count; ++a) {
    const double factor = factors[a * step];
    const double* row = table + (members != nullptr ? members[a] : a) * stride;
    for (int n = 0; n < N; ++n) sum[n] -= load(row + n * W) * factor;
  }
  for (int n = 0; n < N; ++n) store(out + n * W, sum[n]);
}

HUD_HD void combine(const double* base, const double* table, int64_t stride, int64_t values,
                    const uint8_t* members, const double* factors, int64_t step, int count,
                    double* out) {
  constexpr int W = kWidth<double>;
  int64_t at = 0;
  for (; at + 4 * W <= values; at += 4 * W)
    combine_block<4>(base != nullptr ? base + at : base, table + at, stride, members, factors, step,
                     count, out + at);
  for (; at + W <= values; at += W)
    combine_block<1>(base != nullptr ? base + at : base, table + at, stride, members, factors, step,
                     count, out + at);
  for (; at < values; ++at) {
    double sum = base != nullptr ? base[at] : 0.0;
    for (int a = 0; a < count; ++a)
      sum -= table[(members != nullptr ? members[a] : a) * stride + at] * factors[a * step];
    out[at] = sum;
  }
}

HUD_CORE_END
