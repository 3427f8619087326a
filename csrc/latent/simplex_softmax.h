// Softmax over the middle axis of a contiguous (outer, D, inner) array, and its gradient, for lines
// [begin, end).
#pragma once

#include "latent/simplex.h"
#include "latent/tiles.h"

HUD_CORE_BEGIN

// One row longer than a tile holds: lanes along the row, joined at its end.
template <typename V>
HUD_HD Element<V> joined_sum(V v) {
  Element<V> sum = 0;
  for (int l = 0; l < kWidth<Element<V>>; ++l) sum += v[l];
  return sum;
}

template <typename S>
struct RowSource {
  const S* p;
  int64_t D;
  HUD_HD VectorOf<S> operator()(int64_t d) const {
    constexpr int L = kWidth<S>;
    return d + L <= D ? load(p + d) : load_part(p + d, D - d);
  }
};
// z std + mean along a row.
template <typename S>
struct UnstandardizedRow {
  RowSource<S> z;
  RowSource<Compute<S>> mean, std;
  HUD_HD VectorOf<S> operator()(int64_t d) const { return z(d) * std(d) + mean(d); }
};
template <typename S>
HUD_HD void put_row(S* p, int64_t d, int64_t D, VectorOf<S> value) {
  constexpr int L = kWidth<S>;
  if (d + L <= D) {
    store(p + d, value);
  } else {
    store_part(p + d, value, D - d);
  }
}

// z(d) gives the row's values from d on; the vector at its end may be a part.
template <typename S, typename Row>
void softmax_long_row(const Row& z, S* to, int64_t D) {
  using V = VectorOf<S>;
  constexpr int L = kWidth<Element<V>>;
  V tops = z(0);
  for (int64_t d = L; d + L <= D; d += L) tops = Elementary<V>::larger(tops, z(d));
  Element<V> largest = tops[0];
  for (int l = 1; l < L; ++l) largest = tops[l] > largest ? tops[l] : largest;
  const V end = z(D - L);  // overlaps the vector before it: a maximum does not mind
  for (int l = 0; l < L; ++l) largest = end[l] > largest ? end[l] : largest;
  const V top = splat<V>(largest);
  V sums = V{};
  int64_t d = 0;
  for (; d + L <= D; d += L) sums += Elementary<V>::exp_nonpositive(z(d) - top);
  Element<V> sum = joined_sum(sums);
  if (d < D) {
    const V e = Elementary<V>::exp_nonpositive(z(d) - top);
    for (int l = 0; l < D - d; ++l) sum += e[l];
  }
  const V inverse = splat<V>(1 / sum);
  for (d = 0; d < D; d += L)
    put_row(to, d, D, Elementary<V>::exp_nonpositive(z(d) - top) * inverse);
}

// Softmax in steps.
template <typename V>
struct SoftmaxSteps {
  static constexpr int kInputs = 1;
  static constexpr bool kTwice = true;
  HUD_HD V begin() const { return splat<V>(-__builtin_huge_val()); }
  HUD_HD V again(V z, V top) const { return Elementary<V>::exp_nonpositive(z - top); }
  HUD_HD V end(const V* weights, int64_t step, int64_t D) const {
    return splat<V>(1) / line_sum(weights, step, D);
  }
  HUD_HD V second(int64_t, V weight, V, V inverse) const { return weight * inverse; }

  // softmax_weights with line_sum's order.
  template <typename Source, typename Other>
  HUD_HD V weights(const Source& z, V* kept, const Other& other, int64_t D) const {
    V top = begin();
    for (int64_t d = 0; d < D; ++d) {
      const V value = z(d);
      kept[d] = value;
      top = Elementary<V>::larger(top, value);
    }
    for (int64_t d = 0; d < D; ++d) {
      kept[d] = again(kept[d], top);
      other(d);
    }
    return end(kept, 1, D);
  }
};

template <typename S>
struct SoftmaxKernel : SoftmaxSteps<VectorOf<S>> {
  using V = VectorOf<S>;

  template <typename Source, typename Other>
  HUD_HD V first(const Source& z, const Source&, V* kept, V*, const Other& other, int64_t D) const {
    return this->weights(z, kept, other, D);
  }
  HUD_HD V take(int64_t, V z, V, V& top) const {
    top = Elementary<V>::larger(top, z);
    return z;
  }
  HUD_HD V row_value(V z, int64_t) const { return z; }
  template <typename Source, typename Sink>
  void long_line(const Source& z, const Source&, const Sink& out, int64_t D) const {
    softmax_line<V>(z, out, D);
  }
  void long_row(const S* row, const S*, S* to, int64_t D) const {
    softmax_long_row<S>(RowSource<S>{row, D}, to, D);
  }
};

template <typename S>
struct SoftmaxBackwardKernel {
  using V = VectorOf<S>;
  static constexpr int L = kWidth<Element<V>>;
  static constexpr int kInputs = 2;
  static constexpr bool kTwice = false;

  HUD_HD V begin() const { return V{}; }
  HUD_HD V take(int64_t, V g, V x, V& dot) const {
    dot += g * x;
    return g;
  }

  template <typename Source, typename Other>
  HUD_HD V first(const Source& g, const Source& x, V* kept_g, V* kept_x, const Other& other,
                 int64_t D) const {
    V dot = V{};
    for (int64_t d = 0; d < D; ++d) {
      kept_g[d] = g(d);
      kept_x[d] = x(d);
      dot += kept_g[d] * kept_x[d];
      other(d);
    }
    return dot;
  }
  HUD_HD V second(int64_t, V g, V x, V dot) const { return x * (g - dot); }
  template <typename Source, typename Sink>
  void long_line(const Source& g, const Source& x, const Sink& out, int64_t D) const {
    softmax_backward_line<V>(g, x, out, D);
  }
  void long_row(const S* g_row, const S* x_row, S* to, int64_t D) const {
    const RowSource<S> g{g_row, D}, x{x_row, D};
    V dots = V{};
    for (int64_t d = 0; d < D; d += L) dots += g(d) * x(d);
    const V dot = splat<V>(joined_sum(dots));
    for (int64_t d = 0; d < D; d += L) put_row(to, d, D, x(d) * (g(d) - dot));
  }
};

// `b` is the softmax's output for the gradient, unused forward.
template <typename S, typename Kernel>
void walk_lines(const Kernel& kernel, const void* a, const void* b, void* out, int64_t begin,
                int64_t end, int64_t D, int64_t inner, bool past) {
  LineWalk<S, Kernel>{kernel,
                      static_cast<const S*>(a),
                      static_cast<const S*>(b == nullptr ? a : b),
                      static_cast<S*>(out),
                      D,
                      inner,
                      past}
      .run(begin, end);
}

template <typename S>
void softmax_range(const void* a, const void*, void* out, int64_t begin, int64_t end, int64_t D,
                   int64_t inner, bool past) {
  walk_lines<S>(SoftmaxKernel<S>{}, a, a, out, begin, end, D, inner, past);
}
template <typename S>
void softmax_backward_range(const void* a, const void* b, void* out, int64_t begin, int64_t end,
                            int64_t D, int64_t inner, bool past) {
  walk_lines<S>(SoftmaxBackwardKernel<S>{}, a, b, out, begin, end, D, inner, past);
}

HUD_CORE_END
