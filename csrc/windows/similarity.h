// Similarity of a block with one window in float64, from the bands themselves: what a search in
// fewer dimensions reports in the end.
#pragma once

#include "common/platform.h"
#include "windows/job.h"

HUD_CORE_BEGIN

// |a|^2, |b|^2 and <a, b> of one pixel, `scale_a` and `scale_b` applied first.
template <typename T>
HUD_HD void pixel_products(const T* a, const T* b, int64_t bands, double scale_a, double scale_b,
                           double* sums) {
  double aa = 0, bb = 0, ab = 0;
#pragma omp simd reduction(+ : aa, bb, ab)
  for (int64_t c = 0; c < bands; ++c) {
    const double x = static_cast<double>(a[c]) * scale_a, y = static_cast<double>(b[c]) * scale_b;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  sums[0] = aa;
  sums[1] = bb;
  sums[2] = ab;
}

template <typename T>
HUD_HD double power_below(const T* a, int64_t bands) {
  double largest = 0;
  for (int64_t c = 0; c < bands; ++c) {
    const double value = static_cast<double>(a[c]), size = value < 0 ? -value : value;
    largest = size > largest ? size : largest;
  }
  int exponent = 0;
  __builtin_frexp(largest, &exponent);
  return __builtin_ldexp(1.0, -exponent);
}

template <typename T>
double similarity_typed(const SimilarityJob& job, int64_t block, int64_t y, int64_t x) {
  const T* scene = static_cast<const T*>(job.scene);
  const T* blocks = static_cast<const T*>(job.blocks);
  const int64_t C = job.bands, pixels = job.block_height * job.block_width;
  double mean = 0, all[3] = {};
  for (int64_t i = 0; i < pixels; ++i) {
    const int64_t at = (y + i / job.block_width) * job.width + x + i % job.block_width;
    const T *a = scene + at * C, *b = blocks + (block * pixels + i) * C;
    double sums[3];
    pixel_products(a, b, C, 1.0, 1.0, sums);
    if (!job.per_pixel) {
      for (int j = 0; j < 3; ++j) all[j] += sums[j];
      continue;
    }
    const double product = sums[0] * sums[1];
    if (!(product > 1e-200 && product < 1e200))  // squares that a double can hardly hold
      pixel_products(a, b, C, power_below(a, C), power_below(b, C), sums);
    const double lengths = __builtin_sqrt(sums[0]) * __builtin_sqrt(sums[1]);
    double cosine = lengths > 0 ? sums[2] / lengths : 0;
    cosine = cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
    mean += cosine;
  }
  if (job.per_pixel) return mean / static_cast<double>(pixels);
  const double product = all[0] * all[1];
  if (!(product > 1e-200 && product < 1e200)) {
    double largest_a = 1, largest_b = 1;
    for (int64_t i = 0; i < pixels; ++i) {  // the smallest power of all: one scale for the block
      const int64_t at = (y + i / job.block_width) * job.width + x + i % job.block_width;
      const double a = power_below(scene + at * C, C),
                   b = power_below(blocks + (block * pixels + i) * C, C);
      largest_a = i == 0 || a < largest_a ? a : largest_a;
      largest_b = i == 0 || b < largest_b ? b : largest_b;
    }
    all[0] = all[1] = all[2] = 0;
    for (int64_t i = 0; i < pixels; ++i) {
      const int64_t at = (y + i / job.block_width) * job.width + x + i % job.block_width;
      double sums[3];
      pixel_products(scene + at * C, blocks + (block * pixels + i) * C, C, largest_a, largest_b,
                     sums);
      for (int j = 0; j < 3; ++j) all[j] += sums[j];
    }
  }
  const double lengths = __builtin_sqrt(all[0]) * __builtin_sqrt(all[1]);
  const double cosine = lengths > 0 ? all[2] / lengths : 0;
  return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

double similarity(const SimilarityJob& job, int64_t block, int64_t y, int64_t x) {
  return job.is_float32 ? similarity_typed<float>(job, block, y, x)
                        : similarity_typed<double>(job, block, y, x);
}

HUD_CORE_END
