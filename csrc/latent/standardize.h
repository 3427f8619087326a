// The standardised logarithm over a contiguous (outer, D, inner) array, and the softmax of what
// undoes the standardisation.
#pragma once

#include "latent/simplex_softmax.h"
#include "latent/standardized.h"

HUD_CORE_BEGIN

// z and its gradient, for one vector; b is not used forward.
template <bool Backward, typename S>
struct StandardizeKernel {
  using V = VectorOf<S>;
  V delta;
  HUD_HD V operator()(V a, V b, V mean, V inverse) const {
    if constexpr (Backward) {
      return log_standardize_backward(a, b, delta, inverse);
    } else if constexpr (sizeof(S) == 2) {
      return (log_project_exact_sum(a, delta) - mean) * inverse;
    } else {
      return log_standardize(a, delta, mean, inverse);
    }
  }
};

// One run of `n` values with parameters that advance by `step` elements a vector (0: all the same).
template <typename S, typename Kernel>
HUD_HD void standardize_run(const Kernel& kernel, const S* a, const S* b, S* out, int64_t n,
                            const Compute<S>* mean, const Compute<S>* inverse, int64_t step,
                            bool past) {
  using V = VectorOf<S>;
  constexpr int L = kWidth<Element<V>>;
  const bool beyond = past && reinterpret_cast<uintptr_t>(out) % (L * sizeof(S)) == 0;
  int64_t i = 0, at = 0;
  for (; i + L <= n; i += L, at += step)
    put(out + i, kernel(load(a + i), load(b + i), load(mean + at), load(inverse + at)), beyond);
  if (i < n)
    store_part(out + i,
               kernel(load_part(a + i, n - i), load_part(b + i, n - i), load(mean + at),
                      load(inverse + at)),
               n - i);
}

// Planes [begin, end) of maps, or rows of a band-last array: as many rows together as make whole
// vectors of any D.
template <bool Backward, typename S>
void standardize_range(const StandardizeJob& job, int64_t begin, int64_t end) {
  using V = VectorOf<S>;
  using T = Compute<S>;
  constexpr int L = kWidth<Element<V>>;
  const StandardizeKernel<Backward, S> kernel{splat<V>(static_cast<T>(job.delta))};
  const S* a = static_cast<const S*>(job.a);
  const S* b = static_cast<const S*>(job.b);
  S* out = static_cast<S*>(job.out);
  const T* mean = static_cast<const T*>(job.mean);
  const T* inverse = static_cast<const T*>(job.inverse);
  if (job.inner == 1) {
    const int64_t together = job.D > kLongestTogether ? 1 : L;
    for (int64_t r = begin; r < end; r += together) {
      const int64_t rows = end - r < together ? end - r : together;
      standardize_run(kernel, a + r * job.D, b + r * job.D, out + r * job.D, rows * job.D, mean,
                      inverse, L, job.past);
    }
    if (job.past) stream_fence();
    return;
  }
  for (int64_t plane = begin; plane < end; ++plane) {
    const int64_t d = plane % job.D, offset = plane * job.inner;
    alignas(V) T m[L], s[L];
    store(m, splat<V>(mean[d]));
    store(s, splat<V>(inverse[d]));
    standardize_run(kernel, a + offset, b + offset, out + offset, job.inner, m, s, 0, job.past);
  }
  if (job.past) stream_fence();
}

// Softmax of z std + mean. The parameters lie as Compute<S>.
template <typename S>
struct StandardizedSoftmaxKernel : SoftmaxSteps<VectorOf<S>> {
  using V = VectorOf<S>;
  using T = Compute<S>;
  const T* mean;
  const T* std;

  StandardizedSoftmaxKernel(const T* m, const T* s) : mean(m), std(s) {}
  HUD_HD V take(int64_t d, V z, V, V& top) const {
    const V value = z * splat<V>(std[d]) + splat<V>(mean[d]);
    top = Elementary<V>::larger(top, value);
    return value;
  }

  template <typename Source, typename Other>
  HUD_HD V first(const Source& z, const Source&, V* kept, V*, const Other& other, int64_t D) const {
    return this->weights(UnstandardizedSource<V, Source>{z, mean, std}, kept, other, D);
  }
  HUD_HD V row_value(V z, int64_t d) const { return z * load(std + d) + load(mean + d); }
  template <typename Source, typename Sink>
  void long_line(const Source& z, const Source&, const Sink& out, int64_t D) const {
    softmax_line<V>(UnstandardizedSource<V, Source>{z, mean, std}, out, D);
  }
  void long_row(const S* row, const S*, S* to, int64_t D) const {
    const UnstandardizedRow<S> z{RowSource<S>{row, D}, RowSource<T>{mean, D}, RowSource<T>{std, D}};
    softmax_long_row<S>(z, to, D);
  }
};

template <typename S>
struct StandardizedSoftmaxBackwardKernel {
  using V = VectorOf<S>;
  using T = Compute<S>;
  static constexpr int kInputs = 2;
  static constexpr int L = kWidth<Element<V>>;
  static constexpr bool kTwice = false;
  const T* std;

  HUD_HD V begin() const { return V{}; }
  HUD_HD V take(int64_t d, V g, V x, V& dot) const {
    return SoftmaxBackwardKernel<S>{}.take(d, g, x, dot);
  }
  template <typename Source, typename Other>
  HUD_HD V first(const Source& g, const Source& x, V* kept_g, V* kept_x, const Other& other,
                 int64_t D) const {
    return SoftmaxBackwardKernel<S>{}.first(g, x, kept_g, kept_x, other, D);
  }
  HUD_HD V second(int64_t d, V g, V x, V dot) const { return splat<V>(std[d]) * (x * (g - dot)); }
  template <typename Source, typename Sink>
  void long_line(const Source& g, const Source& x, const Sink& out, int64_t D) const {
    V dot = V{};
    for (int64_t d = 0; d < D; ++d) dot += g(d) * x(d);
    for (int64_t d = 0; d < D; ++d) out(d, second(d, g(d), x(d), dot));
  }
  void long_row(const S* g_row, const S* x_row, S* to, int64_t D) const {
    const RowSource<S> g{g_row, D}, x{x_row, D};
    const RowSource<T> s{std, D};
    V dots = V{};
    for (int64_t d = 0; d < D; d += L) dots += g(d) * x(d);
    const V dot = splat<V>(joined_sum(dots));
    for (int64_t d = 0; d < D; d += L) put_row(to, d, D, s(d) * (x(d) * (g(d) - dot)));
  }
};

template <typename S>
void standardized_softmax_range(const StandardizedSoftmaxJob& job, int64_t begin, int64_t end) {
  using T = Compute<S>;
  const T* mean = static_cast<const T*>(job.mean);
  const T* std = static_cast<const T*>(job.std);
  if (job.b == nullptr) {
    walk_lines<S>(StandardizedSoftmaxKernel<S>{mean, std}, job.a, nullptr, job.out, begin, end,
                  job.D, job.inner, job.past);
  } else {
    walk_lines<S>(StandardizedSoftmaxBackwardKernel<S>{std}, job.a, job.b, job.out, begin, end,
                  job.D, job.inner, job.past);
  }
}

HUD_CORE_END
