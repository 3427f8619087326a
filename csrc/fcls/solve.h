// FCLS over a range of pixels, a chunk at a time.
//
// A chunk is centred and projected (project.h). Every pixel guesses its support: the
// endmembers whose abundance in the solution without x >= 0 exceeds its noise. Rounds correct it:
// solve on the support, drop what came out negative, let in what violates the optimality conditions
// most; first in float32, then in float64, which also certifies. (Letting in all violators, as a
// primal-dual active set does, cycles on a few pixels in a hundred; this was seen to on a few in
// ten thousand, with near-duplicate endmembers.) What is left goes to the monotone active set of
// fcls/active_set.h, which always ends. Pixels of like support size share a tile of vector lanes
// (rounds.h; with 5 to 16 endmembers few.h, or fixed lanes, dense.h: up to 4, with vectors of 64
// bytes up to 12).
//
// No pixel's numbers depend on its neighbours, so results have the same bits for any order or
// split.
#pragma once

#include "fcls/dense.h"
#include "fcls/few.h"
#include "fcls/rounds.h"

HUD_CORE_BEGIN

// Centres and projects pixels [first, first + count).
inline void project_chunk(const FclsJob& job, const FclsChunk& chunk, int64_t first, int count) {
  const int64_t pixel_bytes = job.pixel_stride * (job.is_float32 ? 4 : 8);
  for (int at = 0; at < count; at += kTilePixels) {
    const int used = count - at < kTilePixels ? count - at : kTilePixels;
    for (int p = 0; p < kTilePixels; ++p) {
      const double norm =
          centre_pixel(job, first + at + (p < used ? p : used - 1), chunk.centred + p * job.bands);
      if (p < used) chunk.norm[at + p] = norm;
    }
    double* z = chunk.z + at * job.rank;
    const bool more = at + 2 * kTilePixels <= count;
    const char* ahead =
        static_cast<const char*>(job.pixels) + (first + at + kTilePixels) * pixel_bytes;
    multiply_tile(chunk.centred, job.bands, job.bands, job.basis, job.rank, z, job.rank,
                  more ? ahead : nullptr, kTilePixels * pixel_bytes);
    for (int p = 0; p < used; ++p) {
      const double inside = squared_length(z + p * job.rank, job.rank);
      const double outside = chunk.norm[at + p] - inside;
      chunk.noise[at + p] = guess_bound(job, outside);
      chunk.norm[at + p] = __builtin_sqrt(chunk.norm[at + p]);
    }
  }
}

// First supports of the projected pixels, and what the rounds need of them.
inline void guess_supports(const FclsJob& job, const FclsChunk& chunk, int count) {
  const uint64_t all = every_endmember(job);
  constexpr int W = kWidth<double>;
  for (int at = 0; at < count; at += kTilePixels) {
    const int used = count - at < kTilePixels ? count - at : kTilePixels;
    const double* z = chunk.z + at * job.rank;
    double* h = chunk.h + at * job.padded;
    multiply_tile(z, job.rank, job.rank, job.columns_t, job.padded, h, job.padded, nullptr, 0);
    multiply_tile(z, job.rank, job.rank, job.start, job.padded, chunk.start, job.padded, nullptr,
                  0);
    float* h32 = chunk.h32 + at * job.padded;
    HUD_SIMD
    for (int64_t i = 0; i < used * job.padded; ++i) h32[i] = static_cast<float>(h[i]);
    for (int p = 0; p < used; ++p) {
      uint64_t bits = 0;
      for (int64_t i = 0; i < job.padded; i += W)
        bits |= static_cast<uint64_t>(
                    above(load(chunk.start + p * job.padded + i) + load(job.start_offset + i),
                          chunk.noise[at + p]))
                << i;
      bits &= all;
      chunk.support[at + p] = first_support(job, bits);
      chunk.tolerance32[at + p] =
          narrow_tolerance(job.column_max, chunk.norm[at + p] + job.column_max);
    }
  }
}

// Writes the padding of the listed pixels' rows. few_wide_round() multiplies that of `h` by an x of
// 0.
inline void pad_rows(const FclsJob& job, const FclsChunk& chunk, int count, bool few) {
  for (int i = 0; i < count; ++i) {
    const int64_t row = chunk.list[i] * job.padded;
    for (int64_t j = job.endmembers; j < job.padded; ++j) {
      chunk.h[row + j] = few ? 0 : kPadding;
      chunk.h32[row + j] = kPadding;
    }
  }
}

void fcls_range(const FclsJob& job, int64_t begin, int64_t end, double* workspace, FclsWays* ways) {
  FclsChunk chunk = {};
  DenseTile dense;
  chunk.dense = &dense;
  // Rows are whole vectors, so with an aligned start no load straddles two cache lines.
  double* base = reinterpret_cast<double*>((reinterpret_cast<uintptr_t>(workspace) + 63) / 64 * 64);
  fcls_layout(job, base, &chunk);
  const bool few =
      job.gram != nullptr && job.endmembers >= kFewFrom && job.endmembers <= kDenseEndmembers;
  const bool few_wide = few && job.sum_to_one && !job.refine;
  if (few) prepare_few(job, chunk);
  for (int64_t j = 0; j < job.padded; ++j) chunk.nothing[j] = j < job.endmembers ? 0 : kPadding;
  for (int64_t first = begin; first < end; first += kChunk) {
    const int count = static_cast<int>(end - first < kChunk ? end - first : kChunk);
    project_chunk(job, chunk, first, count);
    if (job.gram == nullptr) {
      for (int place = 0; place < count; ++place) solve_alone(job, chunk, first, place);
      ways->alone += count;
      continue;
    }
    int active = 0, lost = 0;
    if (job.endmembers <= kDenseEndmembers && !few) {
      constexpr int L = kTileLanes<float>;
      for (int at = 0; at < count; at += L)
        active = dense_tile(job, chunk, first, at, count - at < L ? count - at : L, active);
    } else {
      guess_supports(job, chunk, count);
      for (int place = 0; place < count; ++place) chunk.list[active++] = place;
    }
    pad_rows(job, chunk, active, few_wide);
    ways->lanes += count - active;
    const int solving = active;
    int finite = 0;
    for (int i = 0; i < active; ++i) {
      const int place = chunk.list[i];
      if (chunk.norm[place] <= kLargestDouble) {
        chunk.list[finite++] = place;
      } else {
        chunk.later[lost++] = place;
      }
    }
    active = finite;
    for (int i = 0; i < active; ++i) chunk.later[i + lost] = chunk.list[i];
    const int wide = active;
    for (int round = 0; round < kNarrowRounds && active > 0; ++round)
      active = few ? few_narrow_round(job, chunk, active, entering_share(round))
                   : narrow_round(job, chunk, active, entering_share(round));
    active = wide;
    for (int i = 0; i < wide; ++i) {
      const int place = chunk.later[i + lost];
      chunk.list[i] = place;
    }
    for (int round = 0; round < kWideRounds && active > 0; ++round)
      active = few_wide ? few_wide_round(job, chunk, first, active, entering_share(round), &lost)
                        : wide_round(job, chunk, first, active, round, &lost);
    for (int i = 0; i < active; ++i) chunk.later[lost++] = chunk.list[i];
    for (int i = 0; i < lost; ++i) solve_alone(job, chunk, first, chunk.later[i]);
    (few ? ways->lanes : ways->rounds) += solving - lost;
    ways->alone += lost;
  }
}

HUD_CORE_END
