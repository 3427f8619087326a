// Rounds of rounds.h where the endmembers are few: tiles of pixels with supports of like size as
// there, but every size has its own code (unrolled.h), and all gradients of a pixel fit registers.
#pragma once

#include "fcls/rounds.h"
#include "fcls/unrolled.h"

HUD_CORE_BEGIN

// From so many endmembers on; fewer keep to fixed lanes (dense.h), which have less to set up. With
// vectors of 64 bytes they were faster than gathering up to 12.
constexpr int kFewFrom = HUD_VECTOR_BYTES == 64 ? 13 : 5;

// The tables that the rounds here read.
inline void prepare_few(const FclsJob& job, const FclsChunk& chunk) {
  fill_few(job.gram32, job.padded, job.endmembers, chunk.few32);
  fill_few(job.gram, job.padded, job.endmembers, chunk.few64);
  for (int64_t i = 0; i < kNobody; ++i)
    chunk.nobody[i] = i < job.endmembers ? 0.0 : -__builtin_inf();
}

// The pixels of one tile, by lane.
template <typename T>
struct FewLanes {
  uint8_t members[kTileLanes<T>][kNobody];
  T sizes[kTileLanes<T>];
  uint64_t positive[kTileLanes<T>];  // bits of positive x, by position in `members`
  uint32_t negative;                 // bits of the lanes with a negative x
};

template <int K, typename T>
__attribute__((noinline)) void solve_few_places(const FclsJob& job, const FclsChunk& chunk,
                                                const SupportTile<T>& tile, const T* few,
                                                const T* h, const int32_t* places, int lanes,
                                                FewLanes<T>* lists) {
  constexpr int L = kTileLanes<T>, W = kWidth<T>;
  for (int l = 0; l < L; ++l) {
    const int place = places[l < lanes ? l : lanes - 1];
    T row[kNobody + 1];
    for (int n = 0; n < kNobody; n += W) store(row + n, load(h + place * job.padded + n));
    row[kNobody] = T(0);
    const auto support = static_cast<uint32_t>(chunk.support[place]);
    lists->sizes[l] = static_cast<T>(count_bits(support));
    gather_few<K>(tile, l, few, row, support, lists->members[l]);
  }
  for (int i = 0; i < K * L; i += W) {
    store(tile.x + i, Vector<T>{});
    store(tile.inverse + i, Vector<T>{} + T(1));
  }
  for (int pass = 0;; ++pass) {
    solve_few<K>(tile, lists->sizes, job.sum_to_one, Take::kNotNegative);
    lists->negative = negative_lanes<kTileVectors>(tile, K);
    if (pass == kPasses || lists->negative == 0) break;
  }
  positive_bits<kTileVectors>(tile, K, lists->positive);
}

// The same for any size.
template <typename T>
__attribute__((noinline)) void solve_more_places(const FclsJob& job, const FclsChunk& chunk,
                                                 const SupportTile<T>& tile, const T* gram,
                                                 const T* h, const int32_t* places, int lanes,
                                                 int K, FewLanes<T>* lists) {
  constexpr int L = kTileLanes<T>;
  for (int l = 0; l < L; ++l) {
    const int place = places[l < lanes ? l : lanes - 1];
    const int size = list_members(chunk.support[place], lists->members[l]);
    lists->sizes[l] = static_cast<T>(size);
    gather_support(tile, K, l, gram, job.padded, h + place * job.padded, lists->members[l], size);
  }
  lists->negative = solve_and_drop<kTileVectors>(tile, K, job.sum_to_one, kPasses);
  positive_bits<kTileVectors>(tile, K, lists->positive);
}

template <int K, typename T>
HUD_HD void solve_few_sized(const FclsJob& job, const FclsChunk& chunk, const SupportTile<T>& tile,
                            const T* gram, const T* few, const T* h, const int32_t* places,
                            int lanes, int size, FewLanes<T>* lists) {
  if constexpr (K > kMostUnrolled) {
    solve_more_places(job, chunk, tile, gram, h, places, lanes, size, lists);
  } else if (size <= K) {
    solve_few_places<K>(job, chunk, tile, few, h, places, lanes, lists);
  } else {
    solve_few_sized<K + 1>(job, chunk, tile, gram, few, h, places, lanes, size, lists);
  }
}

// out = base - sum_a factor_a row_a, 16 values.
template <typename T>
HUD_HD void few_gradient(const T* base, const T* table, const uint8_t* members, const T* factors,
                         int step, int count, T* out) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>, N = kNobody / W;
  V sum[N];
  for (int n = 0; n < N; ++n) sum[n] = load(base + n * W);
  for (int a = 0; a < count; ++a) {
    const T factor = factors[a * step];
    const T* row = table + members[a] * kNobody;
    for (int n = 0; n < N; ++n) sum[n] -= load(row + n * W) * factor;
  }
  for (int n = 0; n < N; ++n) store(out + n * W, sum[n]);
}

template <typename T>
HUD_HD uint64_t above16(const T* values, T bound) {
  uint64_t bits = 0;
  for (int n = 0; n < kNobody; n += kWidth<T>)
    bits |= static_cast<uint64_t>(above(load(values + n), bound)) << n;
  return bits;
}

// narrow_round() of few endmembers. What is asked of a pixel is cut into short loops over the lanes
// of a tile: the processor looks ahead over several of them.
inline int few_narrow_round(const FclsJob& job, const FclsChunk& chunk, int count, float share) {
  const uint64_t all = every_endmember(job);
  constexpr int L = kTileLanes<float>, W = kWidth<float>;
  const SupportTile<float> tile = support_tile(chunk.tile32, job.endmembers);
  sort_by_size(chunk, chunk.list, count);
  FewLanes<float> lists;
  float gradient[L][kNobody], most[L], least[L], bound[L];
  int kept = 0;
  for (int at = 0; at < count; at += L) {
    const int lanes = count - at < L ? count - at : L;
    const int32_t* places = chunk.list + at;
    const int K = count_bits(chunk.support[places[lanes - 1]]);
    solve_few_sized<1>(job, chunk, tile, job.gram32, chunk.few32, chunk.h32, places, lanes, K,
                       &lists);
    for (int l = 0; l < L; ++l) {
      const int place = places[l < lanes ? l : lanes - 1];
      few_gradient(chunk.h32 + place * job.padded, job.gram32, lists.members[l], tile.x + l, L,
                   static_cast<int>(lists.sizes[l]), gradient[l]);
      least[l] = chunk.tolerance32[place];
    }
    for (int l = 0; l < L; ++l) most[l] = largest16(gradient[l]);
    for (int n = 0; n < L; n += W) {
      const Vector<float> level = load(tile.multiplier + n), top = load(most + n);
      store(bound + n, entering_bound(top > level ? top : level, level, load(least + n), share));
    }
    for (int l = 0; l < lanes; ++l) {
      const int place = places[l];
      const uint64_t support = chunk.support[place];
      const uint64_t stay = spread_bits(lists.positive[l], support);
      uint64_t entering = above16(gradient[l], bound[l]) & all & ~stay;
      entering = stay == 0 ? 0 : entering;  // broken down, or empty: float64 sees to it
      const uint64_t next = stay | entering;
      const bool optimal = (entering | (lists.negative >> l & 1)) == 0;
      const bool done = (next == 0) | (next == support) | optimal;
      chunk.support[place] = next != 0 ? next : support;
      chunk.sorted[kept] = place;
      kept += done ? 0 : 1;
    }
  }
  for (int i = 0; i < kept; ++i) chunk.list[i] = chunk.sorted[i];
  return kept;
}

// The x of all lanes, brought to sum one.
HUD_HD void scale_lanes(const SupportTile<double>& tile, int K) {
  using V = Vector<double>;
  constexpr int W = kWidth<double>, L = kTileLanes<double>;
  for (int n = 0; n < kTileVectors; ++n) {
    V sum = {};
    for (int a = 0; a < K; ++a) sum += load(tile.x + a * L + n * W);
    const V factor = 1 / sum;
    for (int a = 0; a < K; ++a)
      store(tile.x + a * L + n * W, load(tile.x + a * L + n * W) * factor);
  }
}

// wide_round() of few endmembers, for the sum constraint and where nothing is refined: what is
// optimal is written, the others' next supports stay in the list.
inline int few_wide_round(const FclsJob& job, const FclsChunk& chunk, int64_t first, int count,
                          double share, int* lost) {
  using V = Vector<double>;
  constexpr int L = kTileLanes<double>, W = kWidth<double>;
  const uint64_t all = every_endmember(job);
  const SupportTile<double> tile = support_tile(chunk.tile64, job.endmembers);
  sort_by_size(chunk, chunk.list, count);
  FewLanes<double> lists;
  double c[L][kNobody], x[L][kNobody], tops[L][W], sums[L][W];
  double largest[L], mean[L], reach[L], bound[L], gap[L];
  int kept = 0;
  for (int at = 0; at < count; at += L) {
    const int lanes = count - at < L ? count - at : L;
    const int32_t* places = chunk.list + at;
    const int K = count_bits(chunk.support[places[lanes - 1]]);
    solve_few_sized<1>(job, chunk, tile, job.gram, chunk.few64, chunk.h, places, lanes, K, &lists);
    scale_lanes(tile, K);
    for (int l = 0; l < L; ++l) {
      const int place = places[l < lanes ? l : lanes - 1], size = static_cast<int>(lists.sizes[l]);
      few_gradient(chunk.h + place * job.padded, job.gram, lists.members[l], tile.x + l, L, size,
                   c[l]);
      for (int n = 0; n < kNobody; n += W) store(x[l] + n, V{});
      for (int a = 0; a < size; ++a) x[l][lists.members[l][a]] = tile.x[a * L + l];
      reach[l] = chunk.norm[place] + job.column_max;
    }
    for (int l = 0; l < L; ++l) {
      V top = load(c[l]) + load(chunk.nobody), along = load(x[l]) * load(c[l]);
      for (int n = W; n < kNobody; n += W) {
        const V value = load(c[l] + n), counted = value + load(chunk.nobody + n);
        top = counted > top ? counted : top;
        along += load(x[l] + n) * value;
      }
      store(tops[l], top);
      store(sums[l], along);
    }
    for (int l = 0; l < L; ++l) {
      largest[l] = tops[l][0];
      mean[l] = sums[l][0];
      for (int i = 1; i < W; ++i) {
        largest[l] = tops[l][i] > largest[l] ? tops[l][i] : largest[l];
        mean[l] += sums[l][i];
      }
    }
    for (int n = 0; n < L; n += W) {
      const V top = load(largest + n), level = load(mean + n), size = load(reach + n);
      store(bound + n, entering_bound(top, level, wide_tolerance(job.column_max, size), share));
      store(gap + n, gap_of(excess_of(true, top, level, V{}, size), size));
    }
    for (int l = 0; l < lanes; ++l) {
      const int place = places[l];
      const uint64_t support = chunk.support[place];
      const uint64_t stay = spread_bits(lists.positive[l], support);
      const uint64_t entering = above16(c[l], bound[l]) & all & ~stay;
      if (((entering | (lists.negative >> l & 1)) == 0) & (gap[l] <= kCertified)) {
        if (job.status == nullptr) {
          write_abundances(job, first + place, x[l], 1);
        } else {
          for (int n = 0; n < kNobody; n += W) store(x[l] + n, load(x[l] + n) + 0.0);  // no -0
          write_pixel(job, chunk, first + place, x[l], gap[l], kOptimal);
        }
        continue;
      }
      go_on(chunk, place, stay | entering, &kept, lost);
    }
  }
  for (int i = 0; i < kept; ++i) chunk.list[i] = chunk.sorted[i];
  return kept;
}

HUD_CORE_END
