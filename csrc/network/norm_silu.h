// Group normalisation, what the time says of it, and SiLU in one: forward in two passes over an
// image, backward in three, where one operation after the other takes ten and keeps five maps.
#pragma once

#include "common/vector.h"
#include "network/job.h"

HUD_CORE_BEGIN

// 1 / (1 + exp(-h)), by exp(-|h|): from |h| = 87 on exp(-87) is close enough, and no subnormal.
HUD_HD Float32s sigmoid(Float32s h) {
  const Float32s least = splat<Float32s>(-87.0f), size = h < Float32s{} ? h : -h;
  const Float32s e = exp_bounded_float(size < least ? least : size);
  return (h < Float32s{} ? e : splat<Float32s>(1.0f)) / (1.0f + e);
}

constexpr int64_t kPixelsSummed = 64;  // in float32, before they go to a sum in float64

// Sums over a map's pixels of x - x_0 and of its square, by channel; x_0 is the first pixel.
inline void channel_sums(const NormJob& job, const float* x, double* sums, double* squares) {
  constexpr int L = kWidth<float>;
  const int64_t C = job.channels;
  for (int64_t c = 0; c < C; c += L) {
    const Float32s origin = load(x + c);
    for (int l = 0; l < L; ++l) sums[c + l] = squares[c + l] = 0;
    for (int64_t first = 0; first < job.pixels; first += kPixelsSummed) {
      const int64_t left = job.pixels - first;
      const int64_t end = first + (left < kPixelsSummed ? left : kPixelsSummed);
      Float32s sum[2] = {}, square[2] = {};
      int64_t p = first;
      for (; p + 2 <= end; p += 2)
        for (int i = 0; i < 2; ++i) {
          const Float32s d = load(x + (p + i) * C + c) - origin;
          sum[i] += d;
          square[i] += d * d;
        }
      if (p < end) {
        const Float32s d = load(x + p * C + c) - origin;
        sum[0] += d;
        square[0] += d * d;
      }
      const Float32s all = sum[0] + sum[1], all_squares = square[0] + square[1];
      for (int l = 0; l < L; ++l) {
        sums[c + l] += static_cast<double>(all[l]);
        squares[c + l] += static_cast<double>(all_squares[l]);
      }
    }
  }
}

// Mean and 1 / standard deviation of an image's groups.
inline void group_moments(const NormJob& job, const float* x, float* mean, float* inverse) {
  double sums[kMostChannels], squares[kMostChannels];
  channel_sums(job, x, sums, squares);
  const int64_t each = job.channels / job.groups;
  const double P = static_cast<double>(job.pixels);
  for (int64_t g = 0; g < job.groups; ++g) {
    double total = 0, spread = 0;
    for (int64_t c = g * each; c < (g + 1) * each; ++c) total += sums[c] / P + double(x[c]);
    const double middle = total / static_cast<double>(each);
    for (int64_t c = g * each; c < (g + 1) * each; ++c) {
      const double apart = sums[c] / P + double(x[c]) - middle;
      spread += squares[c] / P - (sums[c] / P) * (sums[c] / P) + apart * apart;
    }
    mean[g] = static_cast<float>(middle);
    inverse[g] =
        static_cast<float>(1 / __builtin_sqrt(spread / static_cast<double>(each) + job.eps));
  }
}

// h = a x + b in the channels of image n.
inline void affine_of(const NormJob& job, int64_t n, float* a, float* b) {
  const int64_t C = job.channels, each = C / job.groups;
  const float* const mean = job.moments + n * 2 * job.groups;
  const float* const inverse = mean + job.groups;
  for (int64_t c = 0; c < C; ++c) {
    const float scale = job.told == nullptr ? 0 : job.told[n * 2 * C + c];
    const float shift = job.told == nullptr ? 0 : job.told[n * 2 * C + C + c];
    a[c] = inverse[c / each] * job.gamma[c] * (1 + scale);
    b[c] = (job.beta[c] - mean[c / each] * inverse[c / each] * job.gamma[c]) * (1 + scale) + shift;
  }
}

// Images [begin, end) of y.
inline void norm_silu_range(const NormJob& job, float* y, int64_t begin, int64_t end) {
  constexpr int L = kWidth<float>;
  const int64_t C = job.channels;
  float a[kMostChannels], b[kMostChannels];
  for (int64_t n = begin; n < end; ++n) {
    const float* const x = job.x + n * job.pixels * C;
    float* const to = y + n * job.pixels * C;
    float* const mean = job.moments + n * 2 * job.groups;
    group_moments(job, x, mean, mean + job.groups);
    affine_of(job, n, a, b);
    for (int64_t p = 0; p < job.pixels; ++p)
      for (int64_t c = 0; c < C; c += L) {
        const Float32s h = load(a + c) * load(x + p * C + c) + load(b + c);
        store(to + p * C + c, h * sigmoid(h));
      }
  }
}

// What images [begin, end) give to the gradients, from that of y: of x; of gamma and beta (N, 2,
// C), an image's own; of `told` (N, 2 C), where there is one.
inline void norm_silu_gradient_range(const NormJob& job, const float* gradient, float* of_x,
                                     float* of_weights, float* of_told, int64_t begin,
                                     int64_t end) {
  constexpr int L = kWidth<float>;
  const int64_t C = job.channels, each = C / job.groups;
  float a[kMostChannels], b[kMostChannels], middle[kMostChannels], sums[kMostChannels],
      products[kMostChannels];
  for (int64_t n = begin; n < end; ++n) {
    const float* const x = job.x + n * job.pixels * C;
    const float* const g = gradient + n * job.pixels * C;
    float* const to = of_x + n * job.pixels * C;
    const float* const mean = job.moments + n * 2 * job.groups;
    const float* const inverse = mean + job.groups;
    affine_of(job, n, a, b);
    for (int64_t c = 0; c < C; ++c) {
      middle[c] = mean[c / each];
      sums[c] = products[c] = 0;
    }
    // the gradient of h, and by channel its sums with 1 and x - mean
    for (int64_t p = 0; p < job.pixels; ++p)
      for (int64_t c = 0; c < C; c += L) {
        const Float32s value = load(x + p * C + c), h = load(a + c) * value + load(b + c);
        const Float32s s = sigmoid(h), d = load(g + p * C + c) * s * (1.0f + h * (1.0f - s));
        store(to + p * C + c, d);
        store(sums + c, load(sums + c) + d);
        store(products + c, load(products + c) + d * (value - load(middle + c)));
      }
    float* const of_gamma = of_weights + n * 2 * C;
    for (int64_t group = 0; group < job.groups; ++group) {
      double plain = 0, along = 0;  // of the gradient of x', with 1 and x'
      for (int64_t c = group * each; c < (group + 1) * each; ++c) {
        const float more = job.told == nullptr ? 1 : 1 + job.told[n * 2 * C + c];
        const float with_x = products[c] * inverse[group];
        of_gamma[c] = more * with_x;
        of_gamma[C + c] = more * sums[c];
        if (of_told != nullptr) {
          of_told[n * 2 * C + c] = job.gamma[c] * with_x + job.beta[c] * sums[c];
          of_told[n * 2 * C + C + c] = sums[c];
        }
        plain += double(more * job.gamma[c]) * double(sums[c]);
        along += double(more * job.gamma[c]) * double(with_x);
      }
      const double count = static_cast<double>(job.pixels * each), r = double(inverse[group]);
      const double by_x = -r * r * along / count;
      for (int64_t c = group * each; c < (group + 1) * each; ++c) {
        products[c] = static_cast<float>(by_x);
        sums[c] = static_cast<float>(-r * plain / count - by_x * double(mean[group]));
      }
    }
    for (int64_t p = 0; p < job.pixels; ++p)
      for (int64_t c = 0; c < C; c += L)
        store(to + p * C + c, load(a + c) * load(to + p * C + c) +
                                  load(products + c) * load(x + p * C + c) + load(sums + c));
  }
}

HUD_CORE_END
