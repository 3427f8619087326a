// Rounds over the pixels of a chunk, each tile gathered from pixels with supports of like size.
#pragma once

#include "cpu/fcls_chunk.h"

HUD_CORE_BEGIN

// Sorts `list` by the size of the supports, so that the lanes of a tile have like sizes.
inline void sort_by_size(const FclsChunk& chunk, int32_t* list, int count) {
  int32_t start[kMaxEndmembers + 2] = {};
  for (int i = 0; i < count; ++i) ++start[__builtin_popcountll(chunk.support[list[i]]) + 1];
  for (int k = 1; k <= kMaxEndmembers; ++k) start[k] += start[k - 1];
  for (int i = 0; i < count; ++i)
    chunk.sorted[start[__builtin_popcountll(chunk.support[list[i]])]++] = list[i];
  for (int i = 0; i < count; ++i) list[i] = chunk.sorted[i];
}

// One round of float32 for the pixels in list[0, count): those that go on stay in the list (their
// number is returned), those that are done or lost leave it.
inline int narrow_round(const FclsJob& job, const FclsChunk& chunk, int count, float share) {
  constexpr int L = kTileLanes<float>, W = kWidth<float>;
  const SupportTile<float> tile = support_tile(chunk.tile32, job.endmembers);
  sort_by_size(chunk, chunk.list, count);
  int kept = 0;
  for (int at = 0; at < count; at += L) {
    const int lanes = count - at < L ? count - at : L;
    const int32_t* places = chunk.list + at;
    const int K = __builtin_popcountll(chunk.support[places[lanes - 1]]);
    uint8_t members[L][kMaxEndmembers];
    int sizes[L];
    const int filled = lanes > W ? L : W;  // one vector or both
    // All lists first: a vector load of bytes just written one by one would wait for them.
    for (int l = 0; l < filled; ++l)
      sizes[l] = list_members(chunk.support[places[l < lanes ? l : lanes - 1]], members[l]);
    for (int l = 0; l < filled; ++l)
      gather_support(tile, K, l, job.gram32, job.padded,
                     chunk.h32 + places[l < lanes ? l : lanes - 1] * job.padded, members[l],
                     sizes[l]);
    uint64_t positive[L];
    uint32_t negative;
    if (lanes > W) {
      negative = solve_and_drop<2>(tile, K, job.sum_to_one, kPasses);
      positive_bits<2>(tile, K, positive);
    } else {
      negative = solve_and_drop<1>(tile, K, job.sum_to_one, kPasses);
      positive_bits<1>(tile, K, positive);
    }
    for (int l = 0; l < lanes; ++l) {
      const int place = places[l];
      const uint64_t stay = spread_bits(positive[l], chunk.support[place]);
      const uint64_t entering =
          entering_bits(chunk.h32 + place * job.padded, job.gram32, job.padded, members[l],
                        tile.x + l, L, sizes[l], tile.multiplier[l], chunk.tolerance32[place],
                        share, chunk.gradient32) &
          ~stay;
      const uint64_t next = stay | entering;
      const bool done =
          next == 0 || next == chunk.support[place] || (entering | (negative >> l & 1)) == 0;
      if (next != 0) chunk.support[place] = next;
      if (done) continue;
      chunk.sorted[kept++] = place;
    }
  }
  for (int i = 0; i < kept; ++i) chunk.list[i] = chunk.sorted[i];
  return kept;
}

// One round of float64: as above, and what is optimal is certified and written. Pixels that are
// lost go to `later`, whose count is updated.
template <typename T>
int wide_round(const FclsJob& job, const FclsChunk& chunk, int64_t first, int count, uint64_t all,
               int* lost) {
  constexpr int L = kTileLanes<double>, W = kWidth<double>;
  const SupportTile<double> tile = support_tile(chunk.tile64, job.endmembers);
  sort_by_size(chunk, chunk.list, count);
  int kept = 0;
  for (int at = 0; at < count; at += L) {
    const int lanes = count - at < L ? count - at : L;
    const int32_t* places = chunk.list + at;
    const int K = __builtin_popcountll(chunk.support[places[lanes - 1]]);
    uint8_t members[L][kMaxEndmembers];
    int sizes[L];
    const int filled = lanes > W ? L : W;  // one vector or both
    // All lists first: a vector load of bytes just written one by one would wait for them.
    for (int l = 0; l < filled; ++l)
      sizes[l] = list_members(chunk.support[places[l < lanes ? l : lanes - 1]], members[l]);
    for (int l = 0; l < filled; ++l)
      gather_support(tile, K, l, job.gram, job.padded,
                     chunk.h + places[l < lanes ? l : lanes - 1] * job.padded, members[l],
                     sizes[l]);
    uint64_t positive[L];
    uint32_t negative;
    if (lanes > W) {
      negative = solve_and_drop<2>(tile, K, job.sum_to_one, kPasses);
      positive_bits<2>(tile, K, positive);
    } else {
      negative = solve_and_drop<1>(tile, K, job.sum_to_one, kPasses);
      positive_bits<1>(tile, K, positive);
    }
    for (int l = 0; l < lanes; ++l) {
      const int place = places[l], size = sizes[l];
      const uint64_t support = chunk.support[place];
      const double reach = chunk.norm[place] + job.column_max;
      const double tolerance = 16 * 2.220446049250313e-16 * job.column_max * reach;
      double* x = tile.x + l;
      const uint64_t stay = spread_bits(positive[l], support);
      if (job.sum_to_one) {
        double sum = 0;
        for (int a = 0; a < size; ++a) sum += x[a * L];
        const double share = 1 / sum;
        for (int a = 0; a < size; ++a) x[a * L] *= share;
      }
      combine(chunk.z + place * job.rank, job.columns, job.rank, job.rank, members[l], x, L, size,
              chunk.residual);
      for (int64_t i = 0; i < job.rank; ++i) chunk.residual[i] = -chunk.residual[i];
      combine(nullptr, job.columns_t, job.padded, job.padded, nullptr, chunk.residual, 1,
              static_cast<int>(job.rank), chunk.descent);
      double mean = 0;
      for (int a = 0; a < size; ++a) mean += x[a * L] * chunk.descent[members[l][a]];
      const double level = job.sum_to_one ? mean : 0.0;
      uint64_t entering = 0;
      double largest = chunk.descent[0];
      for (int64_t i = 0; i < job.padded; i += W)
        entering |= static_cast<uint64_t>(above(load_lanes(chunk.descent + i), level + tolerance))
                    << i;
      for (int64_t j = 1; j < job.endmembers; ++j)
        largest = chunk.descent[j] > largest ? chunk.descent[j] : largest;
      entering &= all & ~stay;
      if ((entering | (negative >> l & 1)) == 0) {
        double excess = largest - mean;
        if (!job.sum_to_one) {  // as in core/active_set.h: the rounding of x . c counts
          double weight = 0;
          for (int a = 0; a < size; ++a)
            weight += x[a * L] * __builtin_sqrt(job.gram[members[l][a] * (job.padded + 1)]);
          const double slack = (mean < 0 ? -mean : mean) + 2.220446049250313e-16 * weight * reach;
          excess = largest > slack ? largest : slack;
        }
        const double gap = excess <= 0 ? 0.0 : excess / (reach * reach);
        if (gap <= 1e-12) {
          for (int64_t j = 0; j < job.endmembers; ++j) chunk.x[j] = 0;
          for (int a = 0; a < size; ++a) chunk.x[members[l][a]] = x[a * L] + 0.0;
          write_pixel<T>(job, chunk, first + place, chunk.x, gap, kOptimal);
          continue;
        }
      }
      const uint64_t next = stay | largest_of(entering, chunk.descent);
      if (next == 0 || next == support) {
        chunk.later[(*lost)++] = place;
      } else {
        chunk.support[place] = next;
        chunk.sorted[kept++] = place;
      }
    }
  }
  for (int i = 0; i < kept; ++i) chunk.list[i] = chunk.sorted[i];
  return kept;
}

HUD_CORE_END
