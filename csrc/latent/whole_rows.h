// Softmax of band-last rows that are whole vectors: no value changes its place. What the rows of a
// group need together, their maxima and sums, is joined from a vector a row to a vector of rows by
// a tree of shuffles; a group's results are written while the next one's exponentials are computed.
#pragma once

#include "latent/map_tiles.h"
#include "latent/transpose.h"

HUD_CORE_BEGIN

// f over the lanes of each of as many vectors as there are lanes: lane r of the result is vector
// r's. Lanes 0 and 2 of each 16 bytes of floats meet first, then those with 1 and 3's; then the
// 16-byte parts 0 and 2, then those with 1 and 3's. line_sum adds in the same order.
template <typename F>
HUD_HD Float32s join_lanes(Float32s* v, const F& f) {
  constexpr int L = kWidth<float>;
  for (int i = 0; i < L; i += 4) {
    for (int j = i; j < i + 4; j += 2) {
      const Float32s low = HUD_PAIR_SHUFFLE(v[j], v[j + 1], 0, kOther32, 1, kOther32 + 1);
      const Float32s high = HUD_PAIR_SHUFFLE(v[j], v[j + 1], 2, kOther32 + 2, 3, kOther32 + 3);
      v[j] = f(low, high);
    }
    v[i / 4] = f(HUD_PAIR_SHUFFLE(v[i], v[i + 2], 0, 1, kOther32, kOther32 + 1),
                 HUD_PAIR_SHUFFLE(v[i], v[i + 2], 2, 3, kOther32 + 2, kOther32 + 3));
  }
#if HUD_VECTOR_BYTES == 64
  for (int i = 0; i < 4; i += 2)
    v[i / 2] = f(__builtin_shufflevector(v[i], v[i + 1], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20,
                                         21, 22, 23),
                 __builtin_shufflevector(v[i], v[i + 1], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26,
                                         27, 28, 29, 30, 31));
  return f(
      __builtin_shufflevector(v[0], v[1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
      __builtin_shufflevector(v[0], v[1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30,
                              31));
#elif HUD_VECTOR_BYTES == 32
  return f(__builtin_shufflevector(v[0], v[1], 0, 1, 2, 3, 8, 9, 10, 11),
           __builtin_shufflevector(v[0], v[1], 4, 5, 6, 7, 12, 13, 14, 15));
#else
  return v[0];
#endif
}
template <typename F>
HUD_HD Float64s join_lanes(Float64s* v, const F& f) {
  constexpr int L = kWidth<double>;
  for (int i = 0; i < L; i += 2)
    v[i / 2] = f(HUD_DOUBLE_SHUFFLE(v[i], v[i + 1], 0, kOther64),
                 HUD_DOUBLE_SHUFFLE(v[i], v[i + 1], 1, kOther64 + 1));
#if HUD_VECTOR_BYTES == 64
  for (int i = 0; i < 4; i += 2)
    v[i / 2] = f(__builtin_shufflevector(v[i], v[i + 1], 0, 1, 2, 3, 8, 9, 10, 11),
                 __builtin_shufflevector(v[i], v[i + 1], 4, 5, 6, 7, 12, 13, 14, 15));
  return f(__builtin_shufflevector(v[0], v[1], 0, 1, 4, 5, 8, 9, 12, 13),
           __builtin_shufflevector(v[0], v[1], 2, 3, 6, 7, 10, 11, 14, 15));
#elif HUD_VECTOR_BYTES == 32
  return f(__builtin_shufflevector(v[0], v[1], 0, 1, 4, 5),
           __builtin_shufflevector(v[0], v[1], 2, 3, 6, 7));
#else
  return v[0];
#endif
}

// The same sum where a line is a lane and its D values lie `step` vectors apart; D that are no
// whole vectors in a row are added in their order.
template <typename V>
HUD_HD V line_sum(const V* values, int64_t step, int64_t D) {
  constexpr int L = kWidth<Element<V>>, P = 16 / static_cast<int>(sizeof(Element<V>)), N = L / P;
  if (D % L != 0) {
    V sum = V{};
    for (int64_t d = 0; d < D; ++d) sum += values[d * step];
    return sum;
  }
  V s[L];
  for (int l = 0; l < L; ++l) s[l] = values[l * step];
  for (int64_t d = L; d < D; d += L)
    for (int l = 0; l < L; ++l) s[l] += values[(d + l) * step];
  for (int i = 0; i < N; ++i)
    s[i] = P == 4 ? (s[P * i] + s[P * i + 2]) + (s[P * i + 1] + s[P * i + P - 1])
                  : s[P * i] + s[P * i + 1];
  if (N == 4) return (s[0] + s[2]) + (s[1] + s[3]);
  return N == 2 ? s[0] + s[1] : s[0];
}

// Rows [begin, end) of a kernel with row_value(z, d): the values from d on that the softmax is
// taken of. D is a multiple of a vector's lanes.
template <typename S, typename Kernel>
struct WholeRows {
  using V = VectorOf<S>;
  using T = Element<V>;
  static constexpr int L = kWidth<T>;
  const Kernel& kernel;
  const S* a;
  S* out;
  int64_t D;
  bool past;

  struct Group {
    S* to = nullptr;  // null: no group yet, or no more
    V* weights;
    alignas(V) T inverse[L];
  };

  void run(int64_t begin, int64_t end) const {
    const int64_t vectors = D / L;
    vectors == 1   ? run_of<1>(begin, end)
    : vectors == 2 ? run_of<2>(begin, end)
    : vectors == 4 ? run_of<4>(begin, end)
                   : run_of<0>(begin, end);
  }

 private:
  // Vectors: of a row, for loops of known length; 0: any number.
  template <int Vectors>
  void run_of(int64_t begin, int64_t end) const {
    V buffer[2 * (kLongest + kApart)];
    Group groups[2];
    for (int i = 0; i < 2; ++i) groups[i].weights = buffer + i * (D + kApart);
    // The last rows, padded to a group: they go the way of all others.
    S part[kLongest * L];
    const int64_t last = end - (end - begin) % L;
    const size_t bytes = static_cast<size_t>((end - last) * D) * sizeof(S);
    const bool beyond = past && vector_aligned(out);
    int turn = 0;
    for (int64_t r = begin; r < last; r += L, turn ^= 1)
      group<Vectors>(a + r * D, out + r * D, groups[turn], groups[turn ^ 1], beyond);
    if (last < end) {
      __builtin_memset(part, 0, static_cast<size_t>(L * D) * sizeof(S));
      __builtin_memcpy(part, a + last * D, bytes);
      group<Vectors>(part, part, groups[turn], groups[turn ^ 1], beyond);
      turn ^= 1;
    }
    write(groups[turn ^ 1]);
    if (last < end) __builtin_memcpy(out + last * D, part, bytes);
  }

  template <int Vectors>
  HUD_HD void group(const S* from, S* to, Group& now, const Group& before, bool beyond) const {
    const Kernel k = kernel;
    const int64_t count = Vectors > 0 ? Vectors * L : D;
    V rows[L];
    for (int r = 0; r < L; ++r) {
      V top = k.row_value(load(from + r * count), 0);
      for (int64_t d = L; d < count; d += L)
        top = Elementary<V>::larger(top, k.row_value(load(from + r * count + d), d));
      rows[r] = top;
    }
    alignas(V) T tops[L];
    const V joined =
        join_lanes(rows, [](V one, V other) { return Elementary<V>::larger(one, other); });
    __builtin_memcpy(tops, &joined, sizeof joined);
    V* weights = now.weights;
    S* written = before.to;
    const V* others = before.weights;
    for (int r = 0; r < L; ++r) {
      const V top = splat<V>(tops[r]);
      V sum = V{};
      for (int64_t d = 0; d < count; d += L) {
        const V e =
            Elementary<V>::exp_nonpositive(k.row_value(load(from + r * count + d), d) - top);
        *weights++ = e;
        sum += e;
        if (written != nullptr) {
          put(written, *others++ * splat<V>(before.inverse[r]), beyond);
          written += L;
        }
      }
      rows[r] = sum;
    }
    const V inverse = splat<V>(1) / join_lanes(rows, [](V one, V other) { return one + other; });
    __builtin_memcpy(now.inverse, &inverse, sizeof inverse);
    now.to = to;
  }
  HUD_HD void write(const Group& group) const {
    const int64_t each = D / L;
    for (int64_t i = 0; group.to != nullptr && i < L * each; ++i)
      put(group.to + i * L, group.weights[i] * splat<V>(group.inverse[i / each]), false);
  }
};

HUD_CORE_END
