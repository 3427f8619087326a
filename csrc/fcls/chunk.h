// The state of the pixels that are worked on together, and what becomes of one that is done.
#pragma once

#include "fcls/active_set.h"
#include "fcls/duals.h"
#include "fcls/project.h"
#include "fcls/support_tile.h"
#include "fcls/verdict.h"

HUD_CORE_BEGIN

constexpr int kChunk =
    288;  // pixels worked on together: whole tiles of every kind, in the L2 cache
constexpr float kPadding = -__builtin_inff();  // a gradient that never enters

// What dense.h keeps of one tile; a value is one for each of its lanes.
struct DenseTile {
  double *z, *h;     // (halves, rank), (halves, D): the tile is cut into halves of float64 lanes
  float *z32, *h32;  // (rank), (D)
  double* reach;     // (1): |y - centre| + column_max
  float *tolerance, *noise;  // (1)
  float* w;                  // (D): the gradient in float32
  float* keep;               // (D): 1 where the endmember is in the support that a lane ended with
  double *residual, *c;      // (rank), (D) of one half
};

// One chunk's state, in a caller's workspace.
struct FclsChunk {
  double* centred;                 // (kTilePixels, C)
  double* z;                       // (kChunk, rank)
  double* h;                       // (kChunk, padded): R z, padding that never enters
  double* start;                   // (kTilePixels, padded)
  double* norm;                    // (kChunk): |y - centre|
  double* noise;                   // (kChunk): what the first guess takes for noise
  float* h32;                      // (kChunk, padded)
  double* residual;                // (rank)
  double* descent;                 // (padded)
  double* nothing;                 // (padded): 0 for each endmember, padding as in h
  double* x;                       // (D)
  uint64_t* support;               // (kChunk)
  int32_t *list, *sorted, *later;  // (kChunk): pixels by their place in the chunk
  float* tolerance32;              // (kChunk)
  float* gradient32;               // (padded)
  float* tile32;
  double* tile64;
  DenseTile* dense;
  float* few32;  // (17, 17): Gram matrices of few endmembers (unrolled.h)
  double* few64;
  double* nobody;   // (16): 0 for an endmember, -infinity for padding
  double* scratch;  // of the monotone active set
};

HUD_HD uint64_t every_endmember(const FclsJob& job) {
  return job.endmembers >= 64 ? ~uint64_t{0} : (uint64_t{1} << job.endmembers) - 1;
}

HUD_HD int64_t whole_vectors(int64_t bytes) { return (bytes + 63) / 64 * 8; }  // in doubles

// Lays the chunk out from `base`; with a null base only the size is of use.
inline int64_t fcls_layout(const FclsJob& job, double* base, FclsChunk* chunk) {
  double* at = base;
  const auto take = [&](int64_t bytes) {
    double* from = at;
    at += whole_vectors(bytes);
    return from;
  };
  const int64_t D = job.endmembers;
  chunk->centred = take(kTilePixels * job.bands * 8);
  chunk->z = take(kChunk * job.rank * 8);
  chunk->norm = take(kChunk * 8);
  chunk->noise = take(kChunk * 8);
  chunk->x = take(D * 8);
  chunk->scratch = take(active_set_workspace(D, job.rank) * 8);
  if (job.gram != nullptr) {
    chunk->h = take(kChunk * job.padded * 8);
    chunk->start = take(kTilePixels * job.padded * 8);
    chunk->h32 = reinterpret_cast<float*>(take(kChunk * job.padded * 4));
    chunk->residual = take(job.rank * 8);
    chunk->descent = take(job.padded * 8);
    chunk->nothing = take(job.padded * 8);
    chunk->support = reinterpret_cast<uint64_t*>(take(kChunk * 8));
    chunk->list = reinterpret_cast<int32_t*>(take(kChunk * 4));
    chunk->sorted = reinterpret_cast<int32_t*>(take(kChunk * 4));
    chunk->later = reinterpret_cast<int32_t*>(take(kChunk * 4));
    chunk->tolerance32 = reinterpret_cast<float*>(take(kChunk * 4));
    chunk->gradient32 = reinterpret_cast<float*>(take(job.padded * 4));
    chunk->tile32 = reinterpret_cast<float*>(take(support_tile_values<float>(D) * 4));
    chunk->tile64 = take(support_tile_values<double>(D) * 8);
    chunk->few32 = reinterpret_cast<float*>(take(17 * 17 * 4));
    chunk->few64 = take(17 * 17 * 8);
    chunk->nobody = take(16 * 8);
    constexpr int64_t lanes = kTileLanes<float>;
    DenseTile* dense = chunk->dense;
    dense->z = take(job.rank * lanes * 8);
    dense->h = take(D * lanes * 8);
    dense->z32 = reinterpret_cast<float*>(take(job.rank * lanes * 4));
    dense->h32 = reinterpret_cast<float*>(take(D * lanes * 4));
    dense->reach = take(lanes * 8);
    dense->tolerance = reinterpret_cast<float*>(take(lanes * 4));
    dense->noise = reinterpret_cast<float*>(take(lanes * 4));
    dense->keep = reinterpret_cast<float*>(take(D * lanes * 4));
    dense->w = reinterpret_cast<float*>(take(D * lanes * 4));
    dense->residual = take(job.rank * lanes * 8);
    dense->c = take(D * lanes * 8);
  }
  return at - base;
}

int64_t fcls_workspace(const FclsJob& job) {
  FclsChunk chunk = {};
  DenseTile dense;
  chunk.dense = &dense;
  return fcls_layout(job, nullptr, &chunk) + 8;
}

// |y - A' x| of one pixel, from the bands.
inline double band_residual(const FclsJob& job, int64_t pixel, const double* x, double* centred) {
  centre_pixel(job, pixel, centred);
  for (int64_t j = 0; j < job.endmembers; ++j)
    if (x[j] > 0) add_scaled(centred, -x[j], job.centred + j * job.bands, job.bands);
  return __builtin_sqrt(dot(centred, centred, job.bands)) / job.scale;
}

// Abundances of one pixel, `step` values apart.
template <typename T>
HUD_HD void write_abundances_of(const FclsJob& job, int64_t pixel, const double* x, int64_t step) {
  T* out = static_cast<T*>(job.abundances) + pixel * job.kept;
  for (int64_t j = 0; j < job.kept; ++j)
    out[j] = static_cast<T>(x[j * step] + 0.0);  // a -0 becomes 0
}
inline void write_abundances(const FclsJob& job, int64_t pixel, const double* x, int64_t step) {
  if (job.is_float32) {
    write_abundances_of<float>(job, pixel, x, step);
  } else {
    write_abundances_of<double>(job, pixel, x, step);
  }
}

inline void write_pixel(const FclsJob& job, const FclsChunk& chunk, int64_t pixel, const double* x,
                        double gap, int8_t status) {
  write_abundances(job, pixel, x, 1);
  if (job.status == nullptr) return;
  job.status[pixel] = status;
  job.gap[pixel] = gap;
  job.residual[pixel] = status == kNotFinite ? gap : band_residual(job, pixel, x, chunk.centred);
}

// The way that always ends, one pixel at a time.
inline void solve_alone(const FclsJob& job, const FclsChunk& chunk, int64_t first, int place) {
  double gap = __builtin_nan("");
  int8_t status = kNotFinite;
  if (chunk.norm[place] <= kLargestDouble) {
    const ActiveSetScratch scratch = active_set_scratch(chunk.scratch, job.endmembers, job.rank);
    status = solve_active_set(OneThread{}, active_set_problem(job), scratch,
                              chunk.z + place * job.rank, chunk.norm[place], chunk.x, &gap);
  } else {
    for (int64_t j = 0; j < job.endmembers; ++j) chunk.x[j] = __builtin_nan("");
  }
  write_pixel(job, chunk, first + place, chunk.x, gap, status);
}

HUD_CORE_END
