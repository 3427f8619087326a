// Rounds over the pixels of a chunk, each tile gathered from pixels with supports of like size.
#pragma once

#include "fcls/chunk.h"

HUD_CORE_BEGIN

// Sorts `list` by the size of the supports, so that the lanes of a tile have like sizes.
inline void sort_by_size(const FclsChunk& chunk, int32_t* list, int count) {
  int32_t start[kMaxEndmembers + 2] = {};
  for (int i = 0; i < count; ++i) ++start[count_bits(chunk.support[list[i]]) + 1];
  for (int k = 1; k <= kMaxEndmembers; ++k) start[k] += start[k - 1];
  for (int i = 0; i < count; ++i)
    chunk.sorted[start[count_bits(chunk.support[list[i]])]++] = list[i];
  for (int i = 0; i < count; ++i) list[i] = chunk.sorted[i];
}

// The pixels of one tile, by lane.
template <typename T>
struct LaneLists {
  uint8_t members[kTileLanes<T>][kMaxEndmembers];
  int sizes[kTileLanes<T>];
  uint64_t positive[kTileLanes<T>];  // bits of positive x, by position in `members`
  uint32_t negative;                 // bits of the lanes with a negative x
};

template <typename T>
HUD_HD void read_signs(const SupportTile<T>& tile, int K, bool both, LaneLists<T>* lists) {
  if (both) {
    lists->negative = negative_lanes<2>(tile, K);
    positive_bits<2>(tile, K, lists->positive);
  } else {
    lists->negative = negative_lanes<1>(tile, K);
    positive_bits<1>(tile, K, lists->positive);
  }
}

// Gathers and solves a tile of `lanes` pixels, the last of them with the largest support (K).
template <typename T>
HUD_HD void solve_places(const FclsJob& job, const FclsChunk& chunk, const SupportTile<T>& tile,
                         const T* gram, const T* h, const int32_t* places, int lanes, int K,
                         LaneLists<T>* lists) {
  const bool both = lanes > kWidth<T>;  // one vector or both
  const int filled = both ? kTileLanes<T> : kWidth<T>;
  // All lists first: a vector load of bytes just written one by one would wait for them.
  for (int l = 0; l < filled; ++l)
    lists->sizes[l] =
        list_members(chunk.support[places[l < lanes ? l : lanes - 1]], lists->members[l]);
  for (int l = 0; l < filled; ++l)
    gather_support(tile, K, l, gram, job.padded, h + places[l < lanes ? l : lanes - 1] * job.padded,
                   lists->members[l], lists->sizes[l]);
  if (both) {
    solve_and_drop<2>(tile, K, job.sum_to_one, kPasses);
  } else {
    solve_and_drop<1>(tile, K, job.sum_to_one, kPasses);
  }
  read_signs(tile, K, both, lists);
}

// One round of float32 for the pixels in list[0, count): those that go on stay in the list (their
// number is returned), those that are done or lost leave it.
inline int narrow_round(const FclsJob& job, const FclsChunk& chunk, int count, float share) {
  const uint64_t all = every_endmember(job);
  constexpr int L = kTileLanes<float>;
  const SupportTile<float> tile = support_tile(chunk.tile32, job.endmembers);
  sort_by_size(chunk, chunk.list, count);
  LaneLists<float> lists;
  int kept = 0;
  for (int at = 0; at < count; at += L) {
    const int lanes = count - at < L ? count - at : L;
    const int32_t* places = chunk.list + at;
    const int K = count_bits(chunk.support[places[lanes - 1]]);
    solve_places(job, chunk, tile, job.gram32, chunk.h32, places, lanes, K, &lists);
    for (int l = 0; l < lanes; ++l) {
      const int place = places[l];
      const uint64_t stay = spread_bits(lists.positive[l], chunk.support[place]);
      uint64_t entering =
          entering_bits(chunk.h32 + place * job.padded, job.gram32, job.padded, lists.members[l],
                        tile.x + l, L, lists.sizes[l], tile.multiplier[l], chunk.tolerance32[place],
                        share, chunk.gradient32) &
          all & ~stay;
      if (stay == 0) entering = 0;  // broken down, or empty: the float64 rounds see to it
      const uint64_t next = stay | entering;
      const bool optimal = entering == 0 && (lists.negative >> l & 1) == 0;
      const bool done = next == 0 || next == chunk.support[place] || optimal;
      if (next != 0) chunk.support[place] = next;
      if (!done) chunk.sorted[kept++] = place;
    }
  }
  for (int i = 0; i < kept; ++i) chunk.list[i] = chunk.sorted[i];
  return kept;
}

// Brings the x of a lane to sum one, where it must be.
inline void settle_sum(const FclsJob& job, double* x, int size) {
  constexpr int L = kTileLanes<double>;
  if (!job.sum_to_one) return;
  double sum = 0;
  for (int a = 0; a < size; ++a) sum += x[a * L];
  const double factor = 1 / sum;
  for (int a = 0; a < size; ++a) x[a * L] *= factor;
}

// Judges the x of a lane by the negative gradient. With the sum constraint from the Gram matrix,
// whose tau moves all values alike; without it x may be large, and with it the rounding of that
// way: from the residual.
inline Verdict judge_lane(const FclsJob& job, const FclsChunk& chunk,
                          const LaneLists<double>& lists, int place, int lane, const double* x,
                          double share) {
  constexpr int L = kTileLanes<double>, W = kWidth<double>;
  const uint8_t* members = lists.members[lane];
  const int size = lists.sizes[lane];
  double largest;
  if (job.sum_to_one) {
    largest = gradient(chunk.h + place * job.padded, job.gram, job.padded, members, x, L, size,
                       chunk.descent);
  } else {
    combine(chunk.z + place * job.rank, job.columns, job.rank, job.rank, members, x, L, size,
            chunk.residual);
    for (int64_t i = 0; i < job.rank; ++i) chunk.residual[i] = -chunk.residual[i];
    largest = gradient(chunk.nothing, job.columns_t, job.padded, nullptr, chunk.residual, 1,
                       static_cast<int>(job.rank), chunk.descent);
  }
  double mean = 0;
  for (int a = 0; a < size; ++a) mean += x[a * L] * chunk.descent[members[a]];
  const double level = job.sum_to_one ? mean : 0.0;
  const double reach = chunk.norm[place] + job.column_max;
  const double bound = entering_bound(largest, level, wide_tolerance(job.column_max, reach), share);
  uint64_t entering = 0;
  for (int64_t i = 0; i < job.padded; i += W)
    entering |= static_cast<uint64_t>(above(load(chunk.descent + i), bound)) << i;
  Verdict verdict;
  verdict.stay = spread_bits(lists.positive[lane], chunk.support[place]);
  verdict.entering = entering & every_endmember(job) & ~verdict.stay;
  verdict.gap = __builtin_inf();
  if (verdict.entering != 0 || (lists.negative >> lane & 1) != 0) return verdict;
  double weight = 0;
  for (int a = 0; a < size && !job.sum_to_one; ++a)
    weight += x[a * L] * column_length(job, members[a]);
  verdict.gap = gap_of(excess_of(job.sum_to_one, largest, mean, weight, reach), reach);
  return verdict;
}

// Refines the x of the `wanted` lanes of a tile by their residuals.
inline void refine_places(const FclsJob& job, const FclsChunk& chunk,
                          const SupportTile<double>& tile, const int32_t* places, int lanes, int K,
                          uint32_t wanted, LaneLists<double>* lists) {
  constexpr int L = kTileLanes<double>;
  const bool both = lanes > kWidth<double>;
  const int filled = both ? L : kWidth<double>;
  for (int l = 0; l < filled; ++l) {
    double* right = tile.lower + triangle(K) * L + l;
    const int size = (wanted >> l & 1) != 0 ? lists->sizes[l] : 0;
    if (size > 0) {
      settle_sum(job, tile.x + l, size);
      combine(chunk.z + places[l] * job.rank, job.columns, job.rank, job.rank, lists->members[l],
              tile.x + l, L, size, chunk.residual);
      project_on(job.columns, job.rank, lists->members[l], size, chunk.residual, right, L);
    }
    for (int a = size; a < K; ++a) right[a * L] = 0;
  }
  if (both) {
    refine_support<2>(tile, K, job.sum_to_one);
  } else {
    refine_support<1>(tile, K, job.sum_to_one);
  }
  read_signs(tile, K, both, lists);
}

// A pixel that has no certificate yet goes on with another support, or is lost.
HUD_HD void go_on(const FclsChunk& chunk, int32_t place, uint64_t next, int* kept, int* lost) {
  if (next == 0 || next == chunk.support[place]) {
    chunk.later[(*lost)++] = place;
  } else {
    chunk.support[place] = next;
    chunk.sorted[(*kept)++] = place;
  }
}

// One round of float64: as above, and what is optimal is certified and written. Pixels that are
// lost go to `later`, whose count is updated.
inline int wide_round(const FclsJob& job, const FclsChunk& chunk, int64_t first, int count,
                      int round, int* lost) {
  constexpr int L = kTileLanes<double>;
  const double share = entering_share(round + kBoldRounds - kBoldWideRounds);
  const bool again = round > 0;
  const SupportTile<double> tile = support_tile(chunk.tile64, job.endmembers);
  sort_by_size(chunk, chunk.list, count);
  LaneLists<double> lists;
  Verdict verdicts[L];
  int kept = 0;
  for (int at = 0; at < count; at += L) {
    const int lanes = count - at < L ? count - at : L;
    const int32_t* places = chunk.list + at;
    const int K = count_bits(chunk.support[places[lanes - 1]]);
    solve_places(job, chunk, tile, job.gram, chunk.h, places, lanes, K, &lists);
    // Of ill-conditioned endmembers' supports most are right the first time, and few later on:
    // there they are judged before they are refined, too.
    uint32_t wanted = job.refine && !again ? (uint32_t{1} << lanes) - 1 : 0;
    if (wanted != 0) refine_places(job, chunk, tile, places, lanes, K, wanted, &lists);
    const auto judge = [&](int l) {
      settle_sum(job, tile.x + l, lists.sizes[l]);
      verdicts[l] = judge_lane(job, chunk, lists, places[l], l, tile.x + l, share);
    };
    for (int l = 0; l < lanes; ++l) judge(l);
    if (job.refine && again) {
      for (int l = 0; l < lanes; ++l)
        if (verdicts[l].gap <= kCertified) wanted |= uint32_t{1} << l;
      if (wanted != 0) refine_places(job, chunk, tile, places, lanes, K, wanted, &lists);
      for (int l = 0; l < lanes; ++l)
        if ((wanted >> l & 1) != 0) judge(l);
    }
    for (int l = 0; l < lanes; ++l) {
      const int place = places[l];
      if (verdicts[l].gap <= kCertified) {
        for (int64_t j = 0; j < job.endmembers; ++j) chunk.x[j] = 0;
        for (int a = 0; a < lists.sizes[l]; ++a)
          chunk.x[lists.members[l][a]] = tile.x[a * L + l] + 0.0;
        write_pixel(job, chunk, first + place, chunk.x, verdicts[l].gap, kOptimal);
        continue;
      }
      go_on(chunk, place, verdicts[l].stay | verdicts[l].entering, &kept, lost);
    }
  }
  for (int i = 0; i < kept; ++i) chunk.list[i] = chunk.sorted[i];
  return kept;
}

HUD_CORE_END
