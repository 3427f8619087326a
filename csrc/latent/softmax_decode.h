// Channel-first z to a band-last cube: abundances = softmax(z std + mean) live for a tile only, and
// are multiplied with the endmembers while in the L1.
#pragma once

#include "latent/standardize.h"

HUD_CORE_BEGIN

// Pixels of a tile whose turn it is to go to memory: in its order and past the caches, while the
// next tile is multiplied. Pixels are no whole lines, so none could be streamed from registers.
struct Leaving {
  char* to = nullptr;
  const char* from = nullptr;
  int64_t left = 0;  // bytes

  HUD_HD void go(int64_t lines) {
    for (int64_t end = left - lines * kLine; left >= kLine && left > end; left -= kLine)
      for (int i = 0; i < kLine / HUD_VECTOR_BYTES; ++i) {
        Float32s values;
        __builtin_memcpy(&values, from, sizeof values);
        stream_lanes(reinterpret_cast<float*>(to), values);
        to += sizeof values;
        from += sizeof values;
      }
  }
  HUD_HD void finish() {
    go(left / kLine);
    if (left > 0) __builtin_memcpy(to, from, static_cast<size_t>(left));
    left = 0;
  }
};
constexpr int64_t kLeavingBands = 512;  // most bands that leave so: two tiles lie in the L2

// Rows [0, R) of the tile times NC vectors of bands.
template <int R, int NC, typename S>
HUD_HD void decode_panel(const Compute<S>* abundances, const Compute<S>* endmembers, int64_t D,
                         int64_t padded, S* out, int64_t bands, int64_t left) {
  using V = VectorOf<S>;
  constexpr int L = kWidth<Element<V>>;
  V sum[R][NC];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < NC; ++c) sum[r][c] = V{};
  for (int64_t d = 0; d < D; ++d) {
    V a[NC];
    for (int c = 0; c < NC; ++c) a[c] = load(endmembers + d * padded + c * L);
    for (int r = 0; r < R; ++r) {
      const V x = splat<V>(abundances[d * L + r]);
      for (int c = 0; c < NC; ++c) sum[r][c] += x * a[c];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < NC; ++c) {
      S* to = out + r * bands + c * L;
      if (left - c * L >= L) {
        store(to, sum[r][c]);
      } else if (left > c * L) {
        store_part(to, sum[r][c], left - c * L);
      }
    }
}

// Pixels [begin, end) of all maps, counted through. D <= kLongest.
template <typename S>
void softmax_decode_range(const DecodeJob& job, int64_t begin, int64_t end) {
  using V = VectorOf<S>;
  using T = Compute<S>;
  constexpr int L = kWidth<Element<V>>, R = 4,
                NC = HUD_VECTOR_BYTES == 16   ? 2
                     : HUD_VECTOR_BYTES == 32 ? 2
                                              : 4;
  constexpr int64_t kPanelLines =
      (R * NC * L * static_cast<int64_t>(sizeof(S)) + kLine - 1) / kLine;
  const StandardizedSoftmaxKernel<S> kernel{static_cast<const T*>(job.mean),
                                            static_cast<const T*>(job.std)};
  const T* endmembers = static_cast<const T*>(job.endmembers);
  const int64_t D = job.D, inner = job.inner, C = job.bands;
  V kept[kLongest];
  alignas(kLine) S blocks[2][L * kLeavingBands];
  const bool leaves = HUD_VECTOR_BYTES > 16 && job.past && C <= kLeavingBands;
  Leaving leaving;
  int turn = 0;
  for (int64_t i = begin; i < end;) {
    const int64_t within = i % inner;
    const S* z = static_cast<const S*>(job.z) + (i / inner) * D * inner + within;
    int64_t left = inner - within < end - i ? inner - within : end - i;
    if (left > L) left = L;
    const PartSource<S> source{z, inner, left};
    const V inverse = kernel.first(source, source, kept, kept, NothingElse{}, D);
    for (int64_t d = 0; d < D; ++d) kept[d] *= inverse;
    alignas(V) T abundances[kLongest * L];
    __builtin_memcpy(abundances, kept, static_cast<size_t>(D) * sizeof(V));
    S* const cube = static_cast<S*>(job.out) + i * C;
    const bool apart = leaves && left == L && vector_aligned(cube);
    S* const out = apart ? blocks[turn] : cube;
    for (int64_t c = 0; c < C;) {
      const bool wide = C - c > L;
      int64_t r = 0;
      if (wide) {
        for (; r + R <= left; r += R) {
          decode_panel<R, NC, S>(abundances + r, endmembers + c, D, job.padded, out + r * C + c, C,
                                 C - c);
          leaving.go(kPanelLines);
        }
        for (; r < left; ++r)
          decode_panel<1, NC, S>(abundances + r, endmembers + c, D, job.padded, out + r * C + c, C,
                                 C - c);
      } else {
        for (; r < left; ++r)
          decode_panel<1, 1, S>(abundances + r, endmembers + c, D, job.padded, out + r * C + c, C,
                                C - c);
      }
      c += wide ? NC * L : L;
    }
    if (apart) {
      leaving.finish();
      leaving = {reinterpret_cast<char*>(cube), reinterpret_cast<const char*>(out),
                 L * C * static_cast<int64_t>(sizeof(S))};
      turn ^= 1;
    }
    i += left;
  }
  leaving.finish();
  if (leaves) stream_fence();
}

HUD_CORE_END
