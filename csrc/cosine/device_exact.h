// The float64 cosine that decides every search on a group of threads: sixteen lanes a row, lane l
// sums the bands l, l + 16, ..., and the sums are added in the order of the lanes. That is what
// cosine/exact.h and cosine/unit_rows.h do in vectors. Products are fused where GCC fuses them for
// AVX2 and AVX-512, so the bits are those of these levels; the baseline, which cannot fuse, may
// differ in the last one.
#pragma once

#include "common/group.h"

HUD_CORE_BEGIN

constexpr int kRowLanes = 16;

// a b + c, rounded once on every machine.
HUD_HD double fused(double a, double b, double c) {
#ifdef __CUDA_ARCH__
  return __fma_rn(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}

// a b + c, rounded twice on every machine.
HUD_HD double unfused(double a, double b, double c) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(__dmul_rn(a, b), c);
#else
  return a * b + c;
#endif
}

// Rows of float32 or float64, contiguous.
struct Rows {
  const void* data;
  bool is_float32;
};

HUD_HD double band(const float* row, int64_t c) { return static_cast<double>(row[c]); }
HUD_HD double band(const double* row, int64_t c) { return row[c]; }

// Calls f(pointer to row r) with the right type.
template <typename F>
HUD_HD auto with_row(const Rows& rows, int64_t r, int64_t bands, const F& f) {
  return rows.is_float32 ? f(static_cast<const float*>(rows.data) + r * bands)
                         : f(static_cast<const double*>(rows.data) + r * bands);
}

// Each half of a warp: f over its sixteen lanes in their order, as each of them gets it.
template <typename F>
inline HostGroup<32>::PerLane<double> over_halves(const HostGroup<32>&,
                                                  const HostGroup<32>::PerLane<double>& v,
                                                  double start, const F& f) {
  HostGroup<32>::PerLane<double> out;
  for (int lane = 0; lane < 32; ++lane) {
    double total = start;
    for (int l = 0; l < kRowLanes; ++l) total = f(total, v[(lane & 16) + l]);
    out[lane] = total;
  }
  return out;
}

#ifdef __CUDACC__
template <typename F>
__device__ __forceinline__ WarpGroup<32>::PerLane<double> over_halves(
    const WarpGroup<32>&, const WarpGroup<32>::PerLane<double>& v, double start, const F& f) {
  WarpGroup<32>::PerLane<double> out{start};
#pragma unroll
  for (int l = 0; l < kRowLanes; ++l)
    out.value = f(out.value, __shfl_sync(0xffffffffu, v.value, l, kRowLanes));
  return out;
}
#endif

struct Added {
  HUD_HD double operator()(double a, double b) const { return a + b; }
};
struct Larger {
  HUD_HD double operator()(double a, double b) const { return b > a ? b : a; }
};

// 1 / |row| for the rows first and first + 1, one each half of the warp: 0 for a zero row, NaN
// where a value is not finite. Scaled by the largest value, so no square overflows.
template <typename Warp>
HUD_HD void inverse_norms(const Warp& warp, const Rows& rows, int64_t count, int64_t bands,
                          int64_t first, double* inverse) {
  typename Warp::template PerLane<double> most, check, square;
  warp.apart([&](int lane) {
    const int64_t r = first + (lane >> 4);
    double largest = 0, odd = 0;
    if (r < count) {
      with_row(rows, r, bands, [&](const auto* row) {
        for (int64_t c = lane & 15; c < bands; c += kRowLanes) {
          const double value = band(row, c);
          const double size = value < 0 ? -value : value;
          largest = size > largest ? size : largest;
          odd += value * 0.0;  // NaN once any value is NaN or infinite
        }
      });
    }
    most[lane] = largest;
    check[lane] = odd;
  });
  const auto largest = over_halves(warp, most, 0.0, Larger{});
  const auto odd = over_halves(warp, check, 0.0, Added{});
  warp.apart([&](int lane) {
    const int64_t r = first + (lane >> 4);
    double sum = 0;
    if (r < count && largest[lane] > 1e-300) {
      const double scale = 1 / largest[lane];
      with_row(rows, r, bands, [&](const auto* row) {
        // The last bands, which the CPU takes from a padded copy, are not fused there.
        const int64_t whole = bands - bands % kRowLanes;
        for (int64_t c = lane & 15; c < bands; c += kRowLanes) {
          const double value = band(row, c) * scale;
          sum = c < whole ? fused(value, value, sum) : unfused(value, value, sum);
        }
      });
    }
    square[lane] = sum;
  });
  const auto sum = over_halves(warp, square, 0.0, Added{});
  warp.apart([&](int lane) {
    const int64_t r = first + (lane >> 4);
    if ((lane & 15) != 0 || r >= count) return;
    double value = 0;
    if (odd[lane] != 0) {
      value = __builtin_nan("");
    } else if (largest[lane] > 1e-300) {
#ifdef __CUDA_ARCH__
      value = (1 / largest[lane]) / __dsqrt_rn(sum[lane]);
#else
      value = (1 / largest[lane]) / __builtin_sqrt(sum[lane]);
#endif
    }
    inverse[r] = value;
  });
}

// Lane `lane` of sixteen: its share of the cosine of a query and a row.
HUD_HD double cosine_share(const Rows& query, int64_t q, double query_inverse, const Rows& rows,
                           int64_t r, double inverse, int64_t bands, int lane) {
  double sum = 0;
  with_row(query, q, bands, [&](const auto* left) {
    with_row(rows, r, bands, [&](const auto* right) {
      for (int64_t c = lane; c < bands; c += kRowLanes)
        sum = fused(band(left, c) * query_inverse, band(right, c) * inverse, sum);
    });
  });
  return sum;
}

HUD_HD double clamped(double cosine) { return cosine > 1 ? 1.0 : (cosine < -1 ? -1.0 : cosine); }

HUD_CORE_END
