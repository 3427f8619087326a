// FCLS over a range of pixels: tiles of 8 pixels are centred and projected together (vector lanes =
// pixels), then each is solved by the monotone active set of core/active_set.h in float64, whatever
// the input's type.
#pragma once

#include "core/active_set.h"
#include "cpu/kernels.h"

HUD_CORE_BEGIN

constexpr int kPixels = 8;

// Loads pixels [first, first + count), scaled and minus the centre, into tile (C, 8); missing lanes
// repeat the last pixel. Returns through `norm` the squared length of each.
template <typename T>
void load_tile(const FclsJob& job, int64_t first, int count, double* tile, double* norm) {
  const T* base = static_cast<const T*>(job.pixels);
  for (int l = 0; l < kPixels; ++l) {
    const T* pixel = base + (first + (l < count ? l : count - 1)) * job.pixel_stride;
    double sum = 0;
    for (int64_t c = 0; c < job.bands; ++c) {
      const double value =
          static_cast<double>(pixel[c * job.band_stride]) * job.scale - job.centre[c];
      tile[c * kPixels + l] = value;
      sum += value * value;
    }
    norm[l] = sum;
  }
}

// z (8, rank) = Q' tile. The rank is padded to a multiple of 4 by the caller.
inline void project_tile(const FclsJob& job, const double* tile, double* z) {
  for (int64_t j = 0; j < job.rank; j += 4) {
    double sum[4][kPixels] = {};
    for (int64_t c = 0; c < job.bands; ++c) {
      const double* q = job.basis + c * job.rank + j;
      const double* y = tile + c * kPixels;
      for (int i = 0; i < 4; ++i) {
        HUD_SIMD
        for (int l = 0; l < kPixels; ++l) sum[i][l] += q[i] * y[l];
      }
    }
    for (int i = 0; i < 4; ++i)
      for (int l = 0; l < kPixels; ++l) z[l * job.rank + j + i] = sum[i][l];
  }
}

inline double tile_residual(const FclsJob& job, const double* tile, int lane, const double* x) {
  double sum = 0;
  for (int64_t c = 0; c < job.bands; ++c) {
    double value = tile[c * kPixels + lane];
    for (int64_t j = 0; j < job.endmembers; ++j) {
      if (x[j] > 0) value -= x[j] * job.centred[j * job.bands + c];
    }
    sum += value * value;
  }
  return __builtin_sqrt(sum) / job.scale;
}

template <typename T>
void fcls_typed(const FclsJob& job, int64_t begin, int64_t end, double* workspace) {
  const ActiveSetProblem problem = {job.columns, job.endmembers, job.rank, job.column_max,
                                    job.sum_to_one};
  double* tile = workspace;
  double* z = tile + job.bands * kPixels;
  double* x = z + job.rank * kPixels;
  const ActiveSetScratch scratch = active_set_scratch(x + job.endmembers, job.endmembers, job.rank);
  T* out = static_cast<T*>(job.abundances);
  for (int64_t first = begin; first < end; first += kPixels) {
    const int count = static_cast<int>(end - first < kPixels ? end - first : kPixels);
    double norm[kPixels];
    load_tile<T>(job, first, count, tile, norm);
    project_tile(job, tile, z);
    for (int l = 0; l < count; ++l) {
      const int64_t pixel = first + l;
      double gap = __builtin_nan("");
      int8_t status = kNotFinite;
      if (norm[l] <= 1.7976931348623157e308) {
        status =
            solve_active_set(problem, scratch, z + l * job.rank, __builtin_sqrt(norm[l]), x, &gap);
      } else {
        for (int64_t j = 0; j < job.endmembers; ++j) x[j] = __builtin_nan("");
      }
      for (int64_t j = 0; j < job.kept; ++j) out[pixel * job.kept + j] = static_cast<T>(x[j]);
      if (job.status != nullptr) {
        job.status[pixel] = status;
        job.gap[pixel] = gap;
        job.residual[pixel] = status == kNotFinite ? gap : tile_residual(job, tile, l, x);
      }
    }
  }
}

void fcls_range(const FclsJob& job, int64_t begin, int64_t end, double* workspace) {
  if (job.is_float32) {
    fcls_typed<float>(job, begin, end, workspace);
  } else {
    fcls_typed<double>(job, begin, end, workspace);
  }
}

int64_t fcls_workspace(const FclsJob& job) {
  return (job.bands + job.rank) * kPixels + job.endmembers +
         active_set_workspace(job.endmembers, job.rank);
}

HUD_CORE_END
