// The first rounds where the endmembers are few: every pixel of a tile keeps its lane, and all D
// endmembers stay in the elimination (those outside a support with the inverse of their pivot at
// 0). Nothing is gathered and no pixel is looked at alone, so a round costs a fraction of one in
// rounds.h; the pixels that need more than the rounds here go there.
#pragma once

#include "fcls/chunk.h"

HUD_CORE_BEGIN

// out_i = base_i + sign * sum_j table[i][j] factor_j for `count` values of a tile: table rows are
// shared by all lanes. `base` may be null for 0.
template <int R, int N, bool Minus, typename T>
HUD_HD void table_block(const T* base, const T* table, int64_t stride, const T* factor,
                        int64_t terms, T* out) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>, L = kTileLanes<T>;
  V sum[R][N] = {};
  if (base != nullptr)
    for (int r = 0; r < R; ++r)
      for (int n = 0; n < N; ++n) sum[r][n] = load(base + r * L + n * W);
  for (int64_t j = 0; j < terms; ++j) {
    V f[N];
    for (int n = 0; n < N; ++n) f[n] = load(factor + j * L + n * W);
    for (int r = 0; r < R; ++r) {
      const T value = table[r * stride + j];
      for (int n = 0; n < N; ++n) {
        if (Minus) {
          sum[r][n] -= f[n] * value;
        } else {
          sum[r][n] += f[n] * value;
        }
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) store(out + r * L + n * W, sum[r][n]);
}

template <bool Minus, typename T>
HUD_HD void table_times(const T* base, const T* table, int64_t stride, const T* factor,
                        int64_t terms, int64_t count, T* out) {
  constexpr int N = kTileVectors, R = HUD_VECTOR_BYTES == 64 ? 4 : 2;
  constexpr int L = kTileLanes<T>;
  int64_t i = 0;
  for (; i + R <= count; i += R)
    table_block<R, N, Minus>(base != nullptr ? base + i * L : base, table + i * stride, stride,
                             factor, terms, out + i * L);
  for (; i < count; ++i)
    table_block<1, N, Minus>(base != nullptr ? base + i * L : base, table + i * stride, stride,
                             factor, terms, out + i * L);
}

// Marks, with x = 1, the endmembers that enter each lane's support: x is 0 and the gradient w above
// `level` by more than the tolerance and than kEnter of the largest. Returns the lanes with any.
template <typename T>
HUD_HD uint32_t mark_entering(const SupportTile<T>& tile, int K, const T* w, const T* tolerance) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>, L = kTileLanes<T>;
  uint32_t lanes = 0;
  for (int n = 0; n < kTileVectors; ++n) {
    const V level = load(tile.multiplier + n * W);
    V top = level;
    for (int i = 0; i < K; ++i) {
      const V x = load(tile.x + i * L + n * W), value = load(w + i * L + n * W);
      top = (x == V{}) & (value > top) ? value : top;
    }
    const V least = load(tolerance + n * W);
    const V bound = entering_bound(top, level, least, T(kEnter));
    V marked = {};
    for (int i = 0; i < K; ++i) {
      T* to = tile.x + i * L + n * W;
      const V x = load(to), value = load(w + i * L + n * W);
      const V next = (x == V{}) & (value > bound) ? V{} + T(1) : x;
      marked += next - x;
      store(to, next);
    }
    lanes |= above(marked, T(0)) << (n * W);
  }
  return lanes;
}

// What the certificate says of each lane: the gap where its x is optimal, else infinity.
HUD_HD void certify_lanes(const FclsJob& job, const SupportTile<double>& tile, const double* c,
                          const double* reach, double* gap) {
  using V = Vector<double>;
  constexpr int W = kWidth<double>, L = kTileLanes<double>;
  const int K = static_cast<int>(job.endmembers);
  for (int n = 0; n < kTileVectors; ++n) {
    V mean = {}, largest = load(c + n * W), lowest = {}, weight = {};
    for (int i = 0; i < K; ++i) {
      const V x = load(tile.x + i * L + n * W), value = load(c + i * L + n * W);
      mean += x * value;
      largest = value > largest ? value : largest;
      lowest = x < lowest ? x : lowest;
      if (!job.sum_to_one) weight += x * column_length(job, i);
    }
    const V size = load(reach + n * W);
    const V excess = excess_of(job.sum_to_one, largest, mean, weight, size);
    // Whether an endmember outside the support would enter; on it, c differs by rounding only.
    const V level = job.sum_to_one ? mean : V{};
    V outside = level;
    for (int i = 0; i < K; ++i) {
      const V x = load(tile.x + i * L + n * W), value = load(c + i * L + n * W);
      outside = (x == V{}) & (value > outside) ? value : outside;
    }
    const V tolerance = wide_tolerance(job.column_max, size);
    V found = gap_of(excess, size);
    const V lost = V{} + __builtin_inf();
    found = (lowest < V{}) | (outside > level + tolerance) ? lost : found;
    found = size <= V{} + kLargestDouble ? found : lost;
    store(gap + n * W, found);
  }
}

// The x of every lane of one half, brought to sum one, and its negative gradient into dense.c.
HUD_HD void lanes_descent(const FclsJob& job, const SupportTile<double>& tile,
                          const DenseTile& dense, int half) {
  constexpr int H = kTileLanes<double>;
  const int64_t K = job.endmembers, rank = job.rank;
  if (job.sum_to_one) {
    double sum[H] = {};
    for (int64_t i = 0; i < K; ++i) {
      HUD_SIMD
      for (int l = 0; l < H; ++l) sum[l] += tile.x[i * H + l];
    }
    HUD_SIMD
    for (int l = 0; l < H; ++l) sum[l] = 1 / sum[l];
    for (int64_t i = 0; i < K; ++i) {
      HUD_SIMD
      for (int l = 0; l < H; ++l) tile.x[i * H + l] *= sum[l];
    }
  }
  table_times<true, double>(dense.z + half * rank * H, job.columns_t, job.padded, tile.x, K, rank,
                            dense.residual);
  table_times<false, double>(nullptr, job.columns, rank, dense.residual, rank, K, dense.c);
}

// One tile of `lanes` pixels from place `at` on. Pixels that are optimal are written; the places of
// the others, with what rounds.h needs of them, go to chunk.list, whose count is returned.
inline int dense_tile(const FclsJob& job, const FclsChunk& chunk, int64_t first, int at, int lanes,
                      int listed) {
  constexpr int L = kTileLanes<float>, H = kTileLanes<double>, halves = L / H;
  const int K = static_cast<int>(job.endmembers), rank = static_cast<int>(job.rank);
  const DenseTile& dense = *chunk.dense;
  const SupportTile<float> narrow = support_tile(chunk.tile32, K);
  const SupportTile<double> wide = support_tile(chunk.tile64, K);
  for (int p = 0; p < L; ++p) {
    const int place = at + (p < lanes ? p : lanes - 1);
    const double* z = chunk.z + place * rank;
    double* to = dense.z + p / H * rank * H + p % H;
    for (int t = 0; t < rank; ++t) to[t * H] = z[t];
    dense.reach[p] = chunk.norm[place] + job.column_max;
    dense.tolerance[p] = narrow_tolerance(job.column_max, dense.reach[p]);
    dense.noise[p] = static_cast<float>(chunk.noise[place]);
  }
  for (int half = 0; half < halves; ++half) {
    const double* z = dense.z + half * rank * H;
    double* h = dense.h + half * K * H;
    table_times<false, double>(nullptr, job.columns, rank, z, rank, K, h);
    for (int i = 0; i < K; ++i) {
      HUD_SIMD
      for (int l = 0; l < H; ++l)
        dense.h32[i * L + half * H + l] = static_cast<float>(h[i * H + l]);
    }
    for (int t = 0; t < rank; ++t) {
      HUD_SIMD
      for (int l = 0; l < H; ++l)
        dense.z32[t * L + half * H + l] = static_cast<float>(z[t * H + l]);
    }
  }
  table_times<false, float>(nullptr, job.start32, rank, dense.z32, rank, K, narrow.x);
  for (int i = 0; i < K; ++i) {
    HUD_SIMD
    for (int l = 0; l < L; ++l) {
      narrow.x[i * L + l] =
          narrow.x[i * L + l] + job.start_offset32[i] > dense.noise[l] ? 1.0f : 0.0f;
    }
  }
  const SharedGram<float> gram32 = {job.gram32, job.padded, K, dense.h32};
  // A lane that is done keeps the support it had then: what further rounds, run for its neighbours,
  // make of it must not matter.
  uint32_t closed = 0;
  for (int round = 0; round < kDenseRounds; ++round) {
    solve_support<kTileVectors>(narrow, gram32, K, job.sum_to_one, Take::kMarked);
    uint32_t open = negative_lanes<kTileVectors>(narrow, K);
    table_times<true, float>(dense.h32, job.gram32, job.padded, narrow.x, K, K, dense.w);
    open |= mark_entering(narrow, K, dense.w, dense.tolerance);
    if (round == kDenseRounds - 1) open = 0;  // as far as it goes here
    float newly[L];
    for (int l = 0; l < L; ++l) newly[l] = ((open | closed) >> l & 1) != 0 ? 0.0f : 1.0f;
    for (int i = 0; i < K; ++i) {
      HUD_SIMD
      for (int l = 0; l < L; ++l) {
        const float in = narrow.x[i * L + l] > 0 ? 1.0f : 0.0f;
        dense.keep[i * L + l] = newly[l] > 0 ? in : dense.keep[i * L + l];
      }
    }
    closed |= ~open;
    if (~closed << (32 - L) == 0) break;
  }
  for (int half = 0; half < halves && half * H < lanes; ++half) {
    for (int i = 0; i < K; ++i) {
      HUD_SIMD
      for (int l = 0; l < H; ++l) {
        wide.x[i * H + l] = dense.keep[i * L + half * H + l];
      }
    }
    const double* right = dense.h + half * K * H;
    const SharedGram<double> gram = {job.gram, job.padded, K, right};
    solve_support<kTileVectors>(wide, gram, K, job.sum_to_one, Take::kMarked);
    lanes_descent(job, wide, dense, half);
    if (job.refine) {
      double* to = wide.lower + triangle(K) * H;
      for (int64_t i = 0; i < K * H; ++i) to[i] = dense.c[i];
      refine_support<kTileVectors>(wide, K, job.sum_to_one);
      lanes_descent(job, wide, dense, half);
    }
    double gap[H];
    certify_lanes(job, wide, dense.c, dense.reach + half * H, gap);
    for (int l = 0; l < H && half * H + l < lanes; ++l) {
      const int place = at + half * H + l;
      if (gap[l] <= kCertified) {
        if (job.status == nullptr) {
          write_abundances(job, first + place, wide.x + l, H);
        } else {  // adding 0 turns a -0 into 0
          for (int j = 0; j < K; ++j) chunk.x[j] = wide.x[j * H + l] + 0.0;
          write_pixel(job, chunk, first + place, chunk.x, gap[l], kOptimal);
        }
        continue;
      }
      uint64_t support = 0;
      double* h = chunk.h + place * job.padded;
      float* h32 = chunk.h32 + place * job.padded;
      for (int64_t i = 0; i < job.padded; ++i) {
        h[i] = i < K ? right[i * H + l] : 0.0;
        h32[i] = i < K ? static_cast<float>(h[i]) : kPadding;
        if (i < K && dense.keep[i * L + half * H + l] > 0) support |= uint64_t{1} << i;
      }
      chunk.tolerance32[place] = dense.tolerance[half * H + l];
      chunk.support[place] = first_support(job, support);
      chunk.list[listed++] = place;
    }
  }
  return listed;
}

HUD_CORE_END
