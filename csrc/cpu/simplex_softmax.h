// Softmax over the middle axis of a contiguous (outer, D, inner) array, for groups [begin, end) of
// L lines.
//
// inner > 1 (channel-first maps): neighbouring lines lie side by side, L at a time. inner == 1
// (band-last rows): L rows are transposed into a small tile, worked on, and transposed back. A tail
// shorter than L runs one line at a time; each line's arithmetic is the same on either path, so
// results do not depend on how the work is cut.
#pragma once

#include "core/simplex.h"

HUD_CORE_BEGIN

constexpr int kLines = 16;
constexpr int64_t kTileValues = 64;  // largest D that goes through the transposing tile

// `a` is z (forward) or the gradient (backward), `b` unused or the softmax's output.
template <bool Backward, int L, typename T>
HUD_HD void softmax_lines(const T* a, const T* b, T* out, int64_t count, int64_t step) {
  if constexpr (Backward) {
    softmax_backward_lanes<L>(a, b, out, count, step);
  } else {
    softmax_lanes<L>(a, out, count, step);
  }
}

template <typename T>
HUD_HD void gather_rows(const T* rows, T* tile, int64_t count) {
  for (int64_t d = 0; d < count; ++d)
    for (int l = 0; l < kLines; ++l) tile[d * kLines + l] = rows[l * count + d];
}

template <bool Backward, typename T>
void softmax_rows(const T* a, const T* b, T* out, int64_t rows, int64_t count) {
  T first[kTileValues * kLines], second[kTileValues * kLines], result[kTileValues * kLines];
  int64_t r = 0;
  if (count <= kTileValues) {
    for (; r + kLines <= rows; r += kLines) {
      gather_rows(a + r * count, first, count);
      if (Backward) gather_rows(b + r * count, second, count);
      softmax_lines<Backward, kLines>(first, second, result, count, kLines);
      T* to = out + r * count;
      for (int64_t d = 0; d < count; ++d)
        for (int l = 0; l < kLines; ++l) to[l * count + d] = result[d * kLines + l];
    }
  }
  for (; r < rows; ++r)
    softmax_lines<Backward, 1>(a + r * count, Backward ? b + r * count : b, out + r * count, count,
                               1);
}

// Work items are lines: item i is line (i / inner, i % inner).
template <bool Backward, typename T>
void softmax_range(const void* first, const void* second, void* result, int64_t begin, int64_t end,
                   int64_t count, int64_t inner) {
  const T* a = static_cast<const T*>(first);
  const T* b = static_cast<const T*>(second);
  T* out = static_cast<T*>(result);
  if (inner == 1) {
    const int64_t offset = begin * count;
    softmax_rows<Backward>(a + offset, Backward ? b + offset : b, out + offset, end - begin, count);
    return;
  }
  for (int64_t i = begin; i < end;) {
    const int64_t within = i % inner;
    const int64_t offset = (i / inner) * count * inner + within;
    const int64_t left = (inner - within < end - i) ? inner - within : end - i;
    const T* from = a + offset;
    const T* with = Backward ? b + offset : b;
    int64_t l = 0;
    for (; l + kLines <= left; l += kLines)
      softmax_lines<Backward, kLines>(from + l, Backward ? with + l : with, out + offset + l, count,
                                      inner);
    for (; l < left; ++l)
      softmax_lines<Backward, 1>(from + l, Backward ? with + l : with, out + offset + l, count,
                                 inner);
    i += left;
  }
}

HUD_CORE_END
