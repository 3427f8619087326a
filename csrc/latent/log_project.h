// Elementwise loops of the log-projection over [begin, end) of a contiguous array, whatever its
// layout.
#pragma once

#include "common/vector.h"
#include "latent/simplex.h"

HUD_CORE_BEGIN

// out[i] = kernel(a[i], b[i]) for i in [begin, end); `b` is not read where Inputs == 1.
template <int Inputs, typename S, typename Kernel>
HUD_HD void each_value(const Kernel& kernel, const S* a, const S* b, S* out, int64_t begin,
                       int64_t end, bool stream) {
  using V = VectorOf<S>;
  constexpr int L = kWidth<Element<V>>;
  constexpr uintptr_t kBytes = L * sizeof(S);
  int64_t i = begin;
  if (stream) {
    // Up to the first whole line of memory, then past the caches.
    const int64_t off =
        static_cast<int64_t>(reinterpret_cast<uintptr_t>(out + i) % kBytes / sizeof(S));
    const int64_t head = off == 0 ? 0 : L - off;
    if (head > 0 && i + head <= end) {
      store_part(out + i, kernel(load_part(a + i, head), load_part(b + i, head)), head);
      i += head;
    }
    if (reinterpret_cast<uintptr_t>(out + i) % kBytes == 0) {
      for (; i + L <= end; i += L) stream_lanes(out + i, kernel(load(a + i), load(b + i)));
      stream_fence();
    }
  }
  for (; i + L <= end; i += L) store(out + i, kernel(load(a + i), load(b + i)));
  if (i < end)
    store_part(out + i, kernel(load_part(a + i, end - i), load_part(b + i, end - i)), end - i);
}

template <typename S>
struct LogProjectKernel {
  VectorOf<S> delta;
  HUD_HD VectorOf<S> operator()(VectorOf<S> x, VectorOf<S>) const {
    if constexpr (sizeof(S) == 2) {
      return log_project_exact_sum(x, delta);
    } else {
      return log_project(x, delta);
    }
  }
};
template <typename S>
struct LogProjectBackwardKernel {
  VectorOf<S> delta;
  HUD_HD VectorOf<S> operator()(VectorOf<S> g, VectorOf<S> x) const {
    return log_project_backward(g, x, delta);
  }
};

template <typename S>
void log_project_range(const void* abundances, void* z, int64_t begin, int64_t end, double delta,
                       bool stream) {
  const LogProjectKernel<S> kernel{splat<VectorOf<S>>(static_cast<Compute<S>>(delta))};
  const S* x = static_cast<const S*>(abundances);
  each_value<1>(kernel, x, x, static_cast<S*>(z), begin, end, stream);
}

template <typename S>
void log_project_backward_range(const void* grad, const void* abundances, void* out, int64_t begin,
                                int64_t end, double delta, bool stream) {
  const LogProjectBackwardKernel<S> kernel{splat<VectorOf<S>>(static_cast<Compute<S>>(delta))};
  each_value<2>(kernel, static_cast<const S*>(grad), static_cast<const S*>(abundances),
                static_cast<S*>(out), begin, end, stream);
}

HUD_CORE_END
