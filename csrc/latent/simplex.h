// Eqs. 4 to 6 of HUD (arXiv 2506.02601) for one value and one line: the logarithm that takes
// abundances off the simplex, the softmax that puts them back, and their gradients.
//
// V is a number or a vector of neighbouring lines' values: a line is then a lane. Lines come NV
// vectors at a time, so that independent chains hide each other's latency.
#pragma once

#include "common/elementary.h"

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

// Softmax over `count` values of a line in two halves. The first leaves exp(z_d - max z) in
// kept[d] and returns 1 / sum; the second multiplies the two. z(d) reads; other(d) is called
// between the exponentials, for stores of another line to hide behind their arithmetic. A NaN or
// +inf anywhere makes the line's sum NaN, and with it the line: the maximum need not look for it.
template <typename V, typename Source, typename Other>
HUD_HD V softmax_weights(const Source& z, V* kept, const Other& other, int64_t count) {
  V top = z(0);
  kept[0] = top;
  for (int64_t d = 1; d < count; ++d) {
    const V value = z(d);
    kept[d] = value;
    top = Elementary<V>::larger(top, value);
  }
  V sum = V{};
  for (int64_t d = 0; d < count; ++d) {
    const V e = Elementary<V>::exp_nonpositive(kept[d] - top);
    kept[d] = e;
    sum += e;
    other(d);
  }
  return splat<V>(1) / sum;
}

// The whole of it where nothing can be kept: exp is computed twice.
template <typename V, typename Source, typename Sink>
HUD_HD void softmax_line(const Source& z, const Sink& out, int64_t count) {
  V top = z(0);
  for (int64_t d = 1; d < count; ++d) top = Elementary<V>::larger(top, z(d));
  V sum = V{};
  for (int64_t d = 0; d < count; ++d) sum += Elementary<V>::exp_nonpositive(z(d) - top);
  const V inverse = splat<V>(1) / sum;
  for (int64_t d = 0; d < count; ++d) out(d, Elementary<V>::exp_nonpositive(z(d) - top) * inverse);
}

// gz = x (g - sum_d g_d x_d); x is the softmax's output.
template <typename V, typename Source, typename Sink>
HUD_HD void softmax_backward_line(const Source& g, const Source& x, const Sink& out,
                                  int64_t count) {
  V dot = V{};
  for (int64_t d = 0; d < count; ++d) dot += g(d) * x(d);
  for (int64_t d = 0; d < count; ++d) out(d, x(d) * (g(d) - dot));
}

HUD_CORE_END
