// Elementwise loops of the log-projection over [begin, end) of a contiguous array, whatever its
// layout.
#pragma once

#include "core/simplex.h"

HUD_CORE_BEGIN

template <typename T>
void log_project_range(const void* abundances, void* z, int64_t begin, int64_t end, double delta) {
  const T* x = static_cast<const T*>(abundances);
  T* out = static_cast<T*>(z);
  const T floor = static_cast<T>(delta);
  HUD_SIMD
  for (int64_t i = begin; i < end; ++i) out[i] = log_project(x[i], floor);
}

template <typename T>
void log_project_backward_range(const void* grad, const void* abundances, void* out, int64_t begin,
                                int64_t end, double delta) {
  const T* g = static_cast<const T*>(grad);
  const T* x = static_cast<const T*>(abundances);
  T* gx = static_cast<T*>(out);
  const T floor = static_cast<T>(delta);
  HUD_SIMD
  for (int64_t i = begin; i < end; ++i) gx[i] = log_project_backward(g[i], x[i], floor);
}

HUD_CORE_END
