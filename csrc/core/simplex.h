// Eqs. 4 to 6 of HUD (arXiv 2506.02601) for one value and one line: the logarithm that takes
// abundances off the simplex, the softmax that puts them back, and their gradients.
//
// V is a number or a vector of neighbouring lines' values: a line is then a lane. Lines come NV
// vectors at a time, so that independent chains hide each other's latency.
#pragma once

#include "core/elementary.h"

HUD_CORE_BEGIN

// z = ln(max(x, 0) + delta). Linear unmixing may leave small negative abundances: they count as
// zero here.
template <typename V>
HUD_HD V log_project(V x, V delta) {
  const V zero = V{};
  const V kept = x < zero ? zero : x;  // false for NaN, which passes
  return Elementary<V>::log_positive(kept + delta);
}

// The same from a 16-bit x computed in float: for x near 1 the result lies near 0, where a 16-bit
// type is finer than float's rounding of x + delta; what that rounding lost is added back.
template <typename V>
HUD_HD V log_project_exact_sum(V x, V delta) {
  const V zero = V{};
  const V kept = x < zero ? zero : x;
  const V sum = kept + delta;
  const V lost = delta - (sum - kept);
  const V z = Elementary<V>::log_positive(sum);
  return sum < splat<V>(2) ? z + lost : z;
}

// d loss / d x from g = d loss / d z; the slope at 0 is the one from the right, below it is 0.
template <typename V>
HUD_HD V log_project_backward(V g, V x, V delta) {
  const V zero = V{};
  return x < zero ? zero : g / (x + delta);
}

// Softmax over `count` values of NV lines. z(d, v) reads; kept holds (count, NV) values between the
// passes, and z itself already where Source::kKept; out(d, v, value) writes. A NaN or +inf anywhere
// makes its line's sum NaN, and with it the line: the maximum need not look for it.
template <int NV, typename V, typename Source, typename Sink>
HUD_HD void softmax_lines(const Source& z, V* kept, const Sink& out, int64_t count) {
  V top[NV], sum[NV];
  for (int v = 0; v < NV; ++v) {
    top[v] = z(0, v);
    if constexpr (!Source::kKept) kept[v] = top[v];
  }
  for (int64_t d = 1; d < count; ++d)
    for (int v = 0; v < NV; ++v) {
      const V value = z(d, v);
      if constexpr (!Source::kKept) kept[d * NV + v] = value;
      top[v] = Elementary<V>::larger(top[v], value);
    }
  for (int v = 0; v < NV; ++v) sum[v] = V{};
  for (int64_t d = 0; d < count; ++d)
    for (int v = 0; v < NV; ++v) {
      const V e = Elementary<V>::exp_nonpositive(kept[d * NV + v] - top[v]);
      kept[d * NV + v] = e;
      sum[v] += e;
    }
  for (int v = 0; v < NV; ++v) sum[v] = splat<V>(1) / sum[v];
  for (int64_t d = 0; d < count; ++d)
    for (int v = 0; v < NV; ++v) out(d, v, kept[d * NV + v] * sum[v]);
}

// The same where nothing can be kept between the passes: exp is computed twice.
template <typename V, typename Source, typename Sink>
HUD_HD void softmax_long_line(const Source& z, const Sink& out, int64_t count) {
  V top = z(0, 0);
  for (int64_t d = 1; d < count; ++d) top = Elementary<V>::larger(top, z(d, 0));
  V sum = V{};
  for (int64_t d = 0; d < count; ++d) sum += Elementary<V>::exp_nonpositive(z(d, 0) - top);
  sum = splat<V>(1) / sum;
  for (int64_t d = 0; d < count; ++d)
    out(d, 0, Elementary<V>::exp_nonpositive(z(d, 0) - top) * sum);
}

// gz = x (g - sum_d g_d x_d); x is the softmax's output. Where !Source::kKept, kept_g and kept_x
// hold (count, NV) values between the passes. out(d, v, ...) may overwrite g or x of the same place.
template <int NV, typename V, typename Source, typename Sink>
HUD_HD void softmax_backward_lines(const Source& g, const Source& x, V* kept_g, V* kept_x,
                                   const Sink& out, int64_t count) {
  V dot[NV];
  for (int v = 0; v < NV; ++v) dot[v] = V{};
  for (int64_t d = 0; d < count; ++d)
    for (int v = 0; v < NV; ++v) {
      const V gv = g(d, v), xv = x(d, v);
      if constexpr (!Source::kKept) {
        kept_g[d * NV + v] = gv;
        kept_x[d * NV + v] = xv;
      }
      dot[v] += gv * xv;
    }
  for (int64_t d = 0; d < count; ++d)
    for (int v = 0; v < NV; ++v) {
      const V gv = Source::kKept ? g(d, v) : kept_g[d * NV + v];
      const V xv = Source::kKept ? x(d, v) : kept_x[d * NV + v];
      out(d, v, xv * (gv - dot[v]));
    }
}

HUD_CORE_END
