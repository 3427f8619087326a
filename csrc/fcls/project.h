// From pixels to what the solver needs: minus the centre, projected on the endmembers' basis.
//
// Centring comes before the projection: an offset of the data that all endmembers share then costs
// no digits. Everything is float64, whatever the input's type.
#pragma once

#include "common/vector.h"
#include "fcls/job.h"

HUD_CORE_BEGIN

constexpr int kTilePixels = 12;  // divisible by every register tile below

// Sum of squares in an order of its own: the compiler's might follow where the row lies in memory.
HUD_HD double squared_length(const double* row, int64_t count) {
  using V = Vector<double>;
  constexpr int W = kWidth<double>;
  V sum[2] = {};
  int64_t c = 0;
  for (; c + 2 * W <= count; c += 2 * W) {
    for (int n = 0; n < 2; ++n) {
      const V value = load(row + c + n * W);
      sum[n] += value * value;
    }
  }
  double lanes[W], total = 0;
  store(lanes, sum[0] + sum[1]);
  for (int l = 0; l < W; ++l) total += lanes[l];
  for (; c < count; ++c) total += row[c] * row[c];
  return total;
}

// Pixel `index`, scaled and minus the centre, into `to` (C).
template <typename T>
HUD_HD void centre_pixel_of(const FclsJob& job, int64_t index, double* __restrict to) {
  const T* __restrict pixel = static_cast<const T*>(job.pixels) + index * job.pixel_stride;
  const double* __restrict centre = job.centre;
  const double scale = job.scale;
  const int64_t bands = job.bands, step = job.band_stride;
  if (step == 1) {
    HUD_SIMD
    for (int64_t c = 0; c < bands; ++c) to[c] = static_cast<double>(pixel[c]) * scale - centre[c];
  } else {
    for (int64_t c = 0; c < bands; ++c)
      to[c] = static_cast<double>(pixel[c * step]) * scale - centre[c];
  }
}
// Returns the squared length. The input's type is asked here, a pixel, so that all else is compiled
// once for both.
inline double centre_pixel(const FclsJob& job, int64_t index, double* to) {
  if (job.is_float32) {
    centre_pixel_of<float>(job, index, to);
  } else {
    centre_pixel_of<double>(job, index, to);
  }
  return squared_length(to, job.bands);
}

// out[p] += in[p] (bands) times matrix (bands, columns), for P rows and N vectors of columns in
// registers.
//
// `ahead`, where given, is memory that is read next: a line of it is asked for in each step, so
// that it arrives while this multiplies. The processor's own prefetcher stops at every page.
template <typename Kind, int P, int N>
HUD_HD void multiply_block(const double* in, int64_t in_stride, int64_t bands, const double* matrix,
                           int64_t columns, double* out, int64_t out_stride, const char* ahead,
                           int64_t step) {
  using V = typename Kind::Vector;  // not itself the parameter: that would lose its alignment
  constexpr int W = sizeof(V) / sizeof(double);
  V sum[P][N] = {};
  for (int64_t c = 0; c < bands; ++c) {
    V m[N];
    for (int n = 0; n < N; ++n) m[n] = *reinterpret_cast<const V*>(matrix + c * columns + n * W);
    if (ahead != nullptr) {
      __builtin_prefetch(ahead + c * step, 0, 2);
      __builtin_prefetch(ahead + c * step + step / 2, 0, 2);
    }
    for (int p = 0; p < P; ++p) {
      const double y = in[p * in_stride + c];
      for (int n = 0; n < N; ++n) sum[p][n] += m[n] * y;
    }
  }
  for (int p = 0; p < P; ++p)
    for (int n = 0; n < N; ++n) *reinterpret_cast<V*>(out + p * out_stride + n * W) = sum[p][n];
}

// Half a vector, for a rank that would waste the other half.
struct HalfVector {
  typedef double Vector __attribute__((vector_size(32), aligned(8)));
};

template <typename Kind, int P, int N>
HUD_HD void multiply_rows(const double* in, int64_t in_stride, int64_t bands, const double* matrix,
                          int64_t columns, double* out, int64_t out_stride, const char* ahead,
                          int64_t bytes) {
  static_assert(kTilePixels % P == 0, "a tile is cut into whole blocks");
  for (int p = 0; p < kTilePixels; p += P)
    multiply_block<Kind, P, N>(in + p * in_stride, in_stride, bands, matrix, columns,
                               out + p * out_stride, out_stride,
                               ahead != nullptr ? ahead + bytes / kTilePixels * p : ahead,
                               bytes / kTilePixels * P / bands);
}

// kTilePixels rows times a matrix (bands, columns), columns a multiple of 4.
void multiply_tile(const double* in, int64_t in_stride, int64_t bands, const double* matrix,
                   int64_t columns, double* out, int64_t out_stride, const char* ahead,
                   int64_t bytes) {
  constexpr int W = kWidth<double>;
  constexpr bool wide = HUD_VECTOR_BYTES == 64;  // 32 registers, not 16
  int64_t left = columns / W;
  for (int64_t at = 0; left > 0;) {
    int n = 0;
    if (wide && left >= 4) {  // of 16 registers this would spill
      n = 4;
      multiply_rows<VectorKind<double>, 6, 4>(in, in_stride, bands, matrix + at, columns, out + at,
                                              out_stride, ahead, bytes);
    } else if (left == 3) {
      n = 3;
      multiply_rows<VectorKind<double>, wide ? 6 : 4, 3>(in, in_stride, bands, matrix + at, columns,
                                                         out + at, out_stride, ahead, bytes);
    } else if (left >= 2) {
      n = 2;
      multiply_rows<VectorKind<double>, wide ? 12 : 6, 2>(
          in, in_stride, bands, matrix + at, columns, out + at, out_stride, ahead, bytes);
    } else {
      n = 1;
      multiply_rows<VectorKind<double>, 12, 1>(in, in_stride, bands, matrix + at, columns, out + at,
                                               out_stride, ahead, bytes);
    }
    ahead = nullptr;  // once is enough
    left -= n;
    at += n * W;
  }
#if HUD_VECTOR_BYTES == 64
  if (columns % W == 4)
    multiply_rows<HalfVector, 12, 1>(in, in_stride, bands, matrix + columns - 4, columns,
                                     out + columns - 4, out_stride, ahead, bytes);
#endif
}

HUD_CORE_END
