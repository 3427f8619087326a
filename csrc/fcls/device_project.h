// Centring and projecting for a GPU: a warp takes 16 pixels at a time through float64 matrix
// instructions (8 x 8 x 4: pixels, columns, bands).
//
// A lane reads 4 neighbouring bands of a pixel in one piece and feeds them to 4 instructions one by
// one: the bands of one instruction are then 4 apart, which is the same sum in another order.
// Pixels so go from memory to registers straight away. The basis lies in shared memory in the order
// in which a warp reads it.
#pragma once

#include "fcls/device_support.h"

HUD_CORE_BEGIN

constexpr int kTileBands = 16;   // bands a warp takes in a step
constexpr int kWarpPixels = 16;  // two rows of tiles
constexpr int kTileColumns = 8;

// A lane's part of an 8 x 8 accumulator: row lane / 4, columns 2 (lane % 4) and the next.
struct TilePart {
  double v[2];
};

// c += a b for one 8 x 8 x 4 product: a is row lane / 4, column lane % 4, b row lane % 4, column
// lane / 4.
HUD_HD void multiply_add(const HostGroup<32>&, HostGroup<32>::PerLane<TilePart>& c,
                         const HostGroup<32>::PerLane<double>& a,
                         const HostGroup<32>::PerLane<double>& b) {
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 2; ++i)
      for (int k = 0; k < 4; ++k)
        c[lane].v[i] += a[(lane & ~3) + k] * b[(2 * (lane & 3) + i) * 4 + k];
}
// The sum over each four neighbouring lanes, to all four.
HUD_HD HostGroup<32>::PerLane<double> sum_of_four(const HostGroup<32>&,
                                                  const HostGroup<32>::PerLane<double>& v) {
  HostGroup<32>::PerLane<double> sum;
  for (int lane = 0; lane < 32; ++lane)
    sum[lane] = (v[lane] + v[lane ^ 1]) + (v[lane ^ 2] + v[lane ^ 3]);
  return sum;
}

#ifdef __CUDACC__
__device__ __forceinline__ void multiply_add(const WarpGroup<32>&,
                                             WarpGroup<32>::PerLane<TilePart>& c,
                                             const WarpGroup<32>::PerLane<double>& a,
                                             const WarpGroup<32>::PerLane<double>& b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
      : "+d"(c.value.v[0]), "+d"(c.value.v[1])
      : "d"(a.value), "d"(b.value));
#endif
}
__device__ __forceinline__ WarpGroup<32>::PerLane<double> sum_of_four(
    const WarpGroup<32>&, WarpGroup<32>::PerLane<double> v) {
  v.value += __shfl_xor_sync(0xffffffffu, v.value, 1);
  v.value += __shfl_xor_sync(0xffffffffu, v.value, 2);
  return v;
}
#endif

// Where projecting writes, by place in the chunk.
struct ProjectedChunk {
  double* z;      // (count, rank)
  double* norm;   // (count)
  double* noise;  // (count)
};

HUD_HD int64_t whole_tiles(int64_t count, int64_t tile) { return (count + tile - 1) / tile; }

// Doubles that `bands` bands of `tiles` column tiles take in shared memory.
HUD_HD int64_t basis_values(int64_t bands, int64_t tiles) {
  return whole_tiles(bands, kTileBands) * kTileBands * tiles * kTileColumns;
}

// Entry `i` of that memory, for bands from `first_band` on: (step, band within a lane's four,
// column tile, lane).
HUD_HD double basis_entry(const FclsJob& job, int64_t first_band, int64_t tiles, int64_t i) {
  const int64_t lane = i % 32, tile = i / 32 % tiles, four = i / 32 / tiles % 4,
                step = i / 32 / tiles / 4;
  const int64_t band = first_band + step * kTileBands + lane % 4 * 4 + four;
  const int64_t column = tile * kTileColumns + lane / 4;
  return band < job.bands && column < job.rank ? job.basis[band * job.rank + column] : 0.0;
}

// Four neighbouring bands of one pixel.
template <typename T>
struct alignas(sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16) FourBands {
  T v[4];
};

// Bands from `band` on; beyond the last whatever the centre is, so that nothing is left of it.
// `whole`: a pixel's bands are neighbours and every fourth begins on 16 bytes.
template <typename T>
HUD_HD void read_bands(const FclsJob& job, const T* pixel, int64_t band, bool whole, double* to) {
  const double* centre = job.centre + band;
  if (whole && band + 4 <= job.bands) {
    const FourBands<T> four = *reinterpret_cast<const FourBands<T>*>(pixel + band);
    HUD_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = static_cast<double>(four.v[i]) * job.scale - centre[i];
    return;
  }
  HUD_UNROLL
  for (int i = 0; i < 4; ++i) {
    to[i] = 0;
    if (band + i < job.bands)
      to[i] = static_cast<double>(pixel[(band + i) * job.band_stride]) * job.scale - centre[i];
  }
}

// What a warp has summed of its pixels.
template <typename Group, int Tiles>
struct WarpSums {
  typename Group::template PerLane<TilePart> z[2][Tiles];
  typename Group::template PerLane<double> square[2];  // a lane's share of |y - centre|^2
};

template <typename Group, int Tiles>
HUD_HD void clear(const Group& group, WarpSums<Group, Tiles>& sums) {
  group.each([&](int lane) {
    HUD_UNROLL
    for (int m = 0; m < 2; ++m) {
      sums.square[m][lane] = 0;
      HUD_UNROLL
      for (int n = 0; n < Tiles; ++n) sums.z[m][n][lane] = {{0, 0}};
    }
  });
}

// Adds bands [first_band, first_band + bands) of pixels [pixel, pixel + kWarpPixels) of the job's
// `count`; `basis` as basis_entry() has it.
template <typename T, int Tiles, typename Group>
HUD_HD void add_bands(const Group& group, const FclsJob& job, int64_t pixel, int64_t count,
                      int64_t first_band, int64_t bands, bool whole, const double* basis,
                      WarpSums<Group, Tiles>& sums) {
  typename Group::template PerLane<Row<double, 4>> values[2];
  const int64_t steps = whole_tiles(bands, kTileBands);
  for (int64_t step = 0; step < steps; ++step) {
    group.each([&](int lane) {
      HUD_UNROLL
      for (int m = 0; m < 2; ++m) {
        const int64_t own = pixel + m * 8 + lane / 4;
        const T* from =
            static_cast<const T*>(job.pixels) + (own < count ? own : count - 1) * job.pixel_stride;
        double* to = values[m][lane].v;
        read_bands(job, from, first_band + step * kTileBands + lane % 4 * 4, whole, to);
        HUD_UNROLL
        for (int i = 0; i < 4; ++i) sums.square[m][lane] += to[i] * to[i];
      }
    });
    HUD_UNROLL
    for (int i = 0; i < 4; ++i) {
      typename Group::template PerLane<double> a[2], b[Tiles];
      group.each([&](int lane) {
        HUD_UNROLL
        for (int m = 0; m < 2; ++m) a[m][lane] = values[m][lane].v[i];
        HUD_UNROLL
        for (int n = 0; n < Tiles; ++n)
          b[n][lane] = basis[((step * 4 + i) * Tiles + n) * 32 + lane];
      });
      HUD_UNROLL
      for (int m = 0; m < 2; ++m) {
        HUD_UNROLL
        for (int n = 0; n < Tiles; ++n) multiply_add(group, sums.z[m][n], a[m], b[n]);
      }
    }
  }
}

// Writes a warp's sums for places from `place` on.
template <int Tiles, typename Group>
HUD_HD void write_sums(const Group& group, const FclsJob& job, int64_t place, int64_t count,
                       const WarpSums<Group, Tiles>& sums, const ProjectedChunk& chunk) {
  HUD_UNROLL
  for (int m = 0; m < 2; ++m) {
    typename Group::template PerLane<double> part;
    group.each([&](int lane) {
      part[lane] = 0;
      HUD_UNROLL
      for (int n = 0; n < Tiles; ++n) {
        const TilePart& own = sums.z[m][n][lane];
        part[lane] += own.v[0] * own.v[0] + own.v[1] * own.v[1];
      }
    });
    const auto inside = sum_of_four(group, part), whole = sum_of_four(group, sums.square[m]);
    group.each([&](int lane) {
      const int64_t own = place + m * 8 + lane / 4;
      if (own >= count) return;
      HUD_UNROLL
      for (int n = 0; n < Tiles; ++n) {
        const int64_t column = n * kTileColumns + 2 * (lane % 4);
        if (column < job.rank) {  // the rank is even
          double* z = chunk.z + own * job.rank + column;
          z[0] = sums.z[m][n][lane].v[0];
          z[1] = sums.z[m][n][lane].v[1];
        }
      }
      if (lane % 4 != 0) return;
      const double outside = whole[lane] - inside[lane];
      chunk.norm[own] = __builtin_sqrt(whole[lane]);
      chunk.noise[own] = guess_bound(job, outside);
    });
  }
}

HUD_CORE_END
