// Direct correlation of a vector of blocks with every window: cheaper than transforms for tiny
// blocks, wide strides or few positions. And the float64 score of one window, which decides.
//
// Rounding: chains of K terms a pixel, then w pixels, then h rows, all in float32. A sum of n
// products in such a tree errs by at most (K + w + h) u sum |s||q|, u = 2^-24, and the sum is at
// most |s||q| over the window (Cauchy-Schwarz): the bound that goes with every score.
#pragma once

#include "windows/lists.h"

HUD_CORE_BEGIN

// Windows of the register tile: as many as leave room for one vector of the blocks.
#if HUD_VECTOR_BYTES == 64
constexpr int kWindows = 24;
#elif HUD_VECTOR_BYTES == 32
constexpr int kWindows = 12;
#else
constexpr int kWindows = 8;
#endif

template <int P>
void direct_windows(const WindowJob& job, const DirectMaps& maps, const BlockGroup& group,
                    int64_t y, int64_t x, const Vector<float>& along, const Vector<float>& constant,
                    const Vector<float>& slope, const Vector<float>& floor, Vector<float>& least,
                    CandidateList* lists) {
  const int64_t K = job.channels;
  const float* packed = static_cast<const float*>(group.packed);
  Vector<float> total[P] = {};
  for (int64_t dy = 0; dy < job.block_height; ++dy) {
    Vector<float> row[P] = {};
    const float* line = maps.scene + (y * job.stride + dy) * job.width * K;
    for (int64_t dx = 0; dx < job.block_width; ++dx) {
      const float* block = packed + (dy * job.block_width + dx) * K * kWidth<float>;
      const float* pixel = line + (x * job.stride + dx) * K;
      Vector<float> sum[P] = {};
      for (int64_t k = 0; k < K; ++k) {
        const Vector<float> b = load(block + k * kWidth<float>);
        for (int i = 0; i < P; ++i) sum[i] += b * pixel[i * job.stride * K + k];
      }
      for (int i = 0; i < P; ++i) row[i] += sum[i];
    }
    for (int i = 0; i < P; ++i) total[i] += row[i];
  }
  for (int i = 0; i < P; ++i) {
    const int64_t position = y * job.columns + x + i;
    if (maps.hole[position] < 0) continue;
    const float scale = maps.scale[position];
    const float size = maps.along[position] < 0 ? -maps.along[position] : maps.along[position];
    const Vector<float> reach =
        (slope * maps.norm[position] + (along < 0 ? -along : along) * (size * 4.8e-7f) + floor) *
        scale;
    const Vector<float> score = (total[i] + constant + along * maps.along[position]) * scale;
    const Vector<float> most = score + reach;
    if (!any_reaches<float>(most, least)) continue;
    const Vector<float> lower = score - reach;
    for (int64_t l = 0; l < kWidth<float>; ++l) {
      if (lies_in(lists[l].apart, y, x + i)) continue;
      offer_window(lists[l], lower[l], most[l], position);
      least[l] = static_cast<float>(lists[l].least);
    }
  }
}

void direct_range(const WindowJob& job, const DirectMaps& maps, const BlockGroup& group,
                  int64_t begin, int64_t end, CandidateList* lists) {
  const Vector<float> along = load_lanes<float>(group.along),
                      constant = load_lanes<float>(group.constant);
  const float u = 6e-8f;
  const float terms = static_cast<float>(job.channels + job.block_width + job.block_height + 8) * u;
  const Vector<float> slope = load_lanes<float>(group.norm) * terms;
  const Vector<float> floor = (constant < 0 ? -constant : constant) * (8 * u) + 1e-36f;
  Vector<float> least;
  for (int64_t l = 0; l < kWidth<float>; ++l) least[l] = static_cast<float>(lists[l].least);
  for (int64_t y = begin; y < end; ++y) {
    int64_t x = 0;
    for (; x + kWindows <= job.columns; x += kWindows)
      direct_windows<kWindows>(job, maps, group, y, x, along, constant, slope, floor, least, lists);
    for (; x + 4 <= job.columns; x += 4)
      direct_windows<4>(job, maps, group, y, x, along, constant, slope, floor, least, lists);
    for (; x < job.columns; ++x)
      direct_windows<1>(job, maps, group, y, x, along, constant, slope, floor, least, lists);
  }
}

template <typename T>
double exact_window_typed(const WindowJob& job, const BlockInput& in, int64_t block, int64_t y,
                          int64_t x) {
  const T* scene = static_cast<const T*>(job.scene);
  const T* blocks = static_cast<const T*>(in.blocks);
  const int64_t K = job.channels;
  double total = 0;
  for (int64_t dy = 0; dy < job.block_height; ++dy) {
    for (int64_t dx = 0; dx < job.block_width; ++dx) {
      const int64_t pixel = (y + dy) * job.width + x + dx;
      const int64_t other = (block * job.block_height + dy) * job.block_width + dx;
      const double factor = job.factor[pixel] * in.factor[other];
      if (!(factor != 0) || factor != factor) continue;
      const T *a = scene + pixel * K, *b = blocks + other * K;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t k = 0; k < K; ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
      total += sum * factor;
    }
  }
  return total;
}

double exact_window(const WindowJob& job, const BlockInput& in, int64_t block, int64_t y,
                    int64_t x) {
  return job.is_float32 ? exact_window_typed<float>(job, in, block, y, x)
                        : exact_window_typed<double>(job, in, block, y, x);
}

HUD_CORE_END
