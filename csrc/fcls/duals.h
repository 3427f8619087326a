// Gradients of one pixel, lanes = endmembers, and the sets they tell apart as bit masks.
#pragma once

#include "common/vector.h"
#include "fcls/verdict.h"

HUD_CORE_BEGIN

// out = base - sum_a factor_a row_a over `padded` values (a multiple of 16), and the largest of
// each lane into `top`.
template <int N, typename T>
HUD_HD void gradient_block(const T* base, const T* table, int64_t stride, const uint8_t* members,
                           const T* factors, int64_t step, int count, T* out, Vector<T>* top) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>;
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = load(base + n * W);
  for (int a = 0; a < count; ++a) {
    const T factor = factors[a * step];
    const T* row = table + members[a] * stride;
    for (int n = 0; n < N; ++n) sum[n] -= load(row + n * W) * factor;
  }
  for (int n = 0; n < N; ++n) {
    store(out + n * W, sum[n]);
    *top = sum[n] > *top ? sum[n] : *top;
  }
}

// Bits of the endmembers whose gradient exceeds `level` by more than `tolerance` and by `share` of
// the largest excess. Padding is told by a base far below every gradient.
template <typename T>
HUD_HD uint64_t entering_bits(const T* base, const T* table, int64_t stride, const uint8_t* members,
                              const T* factors, int64_t step, int count, T level, T tolerance,
                              T share, T* gradient) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>;
  V top = V{} + level;
  int64_t at = 0;
  for (; at + 4 * W <= stride; at += 4 * W)
    gradient_block<4>(base + at, table + at, stride, members, factors, step, count, gradient + at,
                      &top);
  if (at + 2 * W <= stride) {
    gradient_block<2>(base + at, table + at, stride, members, factors, step, count, gradient + at,
                      &top);
    at += 2 * W;
  }
  if (at + W <= stride)
    gradient_block<1>(base + at, table + at, stride, members, factors, step, count, gradient + at,
                      &top);
  const T bound = entering_bound(largest_lane<T>(top), level, tolerance, share);
  uint64_t bits = 0;
  for (at = 0; at < stride; at += W)
    bits |= static_cast<uint64_t>(above(load(gradient + at), bound)) << at;
  return bits;
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
