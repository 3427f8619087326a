// Eqs. 4 to 6 of HUD (arXiv 2506.02601) for one value and one line of lanes: the logarithm that
// takes abundances off the simplex, the softmax that puts them back, and their gradients.
#pragma once

#include "core/elementary.h"

HUD_CORE_BEGIN

// z = ln(max(x, 0) + delta). Linear unmixing may leave small negative abundances: they count as
// zero here.
template <typename T>
HUD_HD T log_project(T x, T delta) {
  const T kept = x < T(0) ? T(0) : x;  // false for NaN, which passes
  return log_positive(kept + delta);
}

// d loss / d x from g = d loss / d z; the slope at 0 is the one from the right, below it is 0.
template <typename T>
HUD_HD T log_project_backward(T g, T x, T delta) {
  return x < T(0) ? T(0) : g / (x + delta);
}

// Softmax over `count` values that lie `step` apart, for L neighbouring lanes at once: lane l of
// value d is at z[d * step + l]. L independent chains are what the compiler turns into vectors.
template <int L, typename T>
HUD_HD void softmax_lanes(const T* z, T* x, int64_t count, int64_t step) {
  T top[L], sum[L];
  HUD_SIMD
  for (int l = 0; l < L; ++l) top[l] = z[l];
  for (int64_t d = 1; d < count; ++d) {
    HUD_SIMD
    for (int l = 0; l < L; ++l) {
      const T value = z[d * step + l];
      // Written so that a NaN wins, whichever side it is on.
      top[l] = (value > top[l]) | (value != value) ? value : top[l];
    }
  }
  HUD_SIMD
  for (int l = 0; l < L; ++l) sum[l] = T(0);
  for (int64_t d = 0; d < count; ++d) {
    HUD_SIMD
    for (int l = 0; l < L; ++l) {
      const T e = exp_nonpositive(z[d * step + l] - top[l]);
      x[d * step + l] = e;
      sum[l] += e;
    }
  }
  HUD_SIMD
  for (int l = 0; l < L; ++l) sum[l] = T(1) / sum[l];
  for (int64_t d = 0; d < count; ++d) {
    HUD_SIMD
    for (int l = 0; l < L; ++l) x[d * step + l] *= sum[l];
  }
}

// gz = x (g - sum_d g_d x_d), lanes as above; x is the softmax's output.
template <int L, typename T>
HUD_HD void softmax_backward_lanes(const T* g, const T* x, T* gz, int64_t count, int64_t step) {
  T dot[L];
  HUD_SIMD
  for (int l = 0; l < L; ++l) dot[l] = T(0);
  for (int64_t d = 0; d < count; ++d) {
    HUD_SIMD
    for (int l = 0; l < L; ++l) dot[l] += g[d * step + l] * x[d * step + l];
  }
  for (int64_t d = 0; d < count; ++d) {
    HUD_SIMD
    for (int l = 0; l < L; ++l) gz[d * step + l] = x[d * step + l] * (g[d * step + l] - dot[l]);
  }
}

HUD_CORE_END
