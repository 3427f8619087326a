// The equality-constrained least squares of many pixels at once, each on its own support:
//
//   min |z - R' x|^2 over x_S, x = 0 elsewhere, sum x = 1      (or without the sum)
//
// A tile holds one pixel in each lane of N vectors. The k x k Gram matrices of the supports are
// gathered element by element from the one of all endmembers (dearer than a load, far cheaper than
// eliminating all D of them) and factored side by side as L D L'. A lane with a smaller support
// than its neighbours is padded by identity rows, which leave its numbers untouched to the bit: a
// pixel's result depends on that pixel alone.
//
// With tau 1 1' added to the Gram matrix nothing changes on the simplex, and it is regular wherever
// the support is affinely independent. A pivot lost to rounding is dropped: its endmember gets 0.
#pragma once

#include "common/vector.h"
#include "fcls/verdict.h"

HUD_CORE_BEGIN

// Vectors of a tile: a single one would wait for each of its own divisions and sums.
constexpr int kTileVectors = 2;

HUD_HD int64_t triangle(int64_t row) { return row * (row + 1) / 2; }

// Scratch of one tile, for supports of up to `capacity` endmembers. A value of the tile is
// kTileVectors vectors long. Rows K and K + 1 of the triangles are the two right-hand sides: h, and
// ones where the lane has an endmember.
template <typename T>
struct SupportTile {
  T* gram;        // row a, column b <= a at triangle(a) + b
  T* lower;       // as gram: L D below the diagonal
  T* inverse;     // (K): 1 / D
  T* row;         // (2, K): L of the two rows in work
  T* x;           // (K)
  T* multiplier;  // (1): the common value of the gradient on the support
};

template <typename T>
constexpr int kTileLanes = kTileVectors * kWidth<T>;

template <typename T>
int64_t support_tile_values(int64_t capacity) {
  return (2 * triangle(capacity + 2) + 4 * capacity + 1) * kTileLanes<T>;
}

template <typename T>
SupportTile<T> support_tile(T* buffer, int64_t capacity) {
  constexpr int L = kTileLanes<T>;
  SupportTile<T> tile;
  tile.gram = buffer;
  tile.lower = tile.gram + triangle(capacity + 2) * L;
  tile.inverse = tile.lower + triangle(capacity + 2) * L;
  tile.row = tile.inverse + capacity * L;
  tile.x = tile.row + 2 * capacity * L;
  tile.multiplier = tile.x + capacity * L;
  return tile;
}

// Writes the endmembers of a support in rising order; returns how many.
HUD_HD int list_members(uint64_t support, uint8_t* members) {
  int count = 0;
  for (uint64_t left = support; left != 0; left &= left - 1)
    members[count++] = static_cast<uint8_t>(__builtin_ctzll(left));
  return count;
}

// Puts one pixel's system into lane `lane` of a tile of size K. Scalar on purpose: vectorised by
// the compiler, its address arithmetic took longer than the copies.
template <typename T>
HUD_NO_SLP void gather_support(const SupportTile<T>& tile, int K, int lane, const T* gram,
                               int64_t stride, const T* h, const uint8_t* members, int count) {
  constexpr int64_t L = kTileLanes<T>;
  T* row = tile.gram + lane;
  int a = 0;
  for (; a + 2 <= count; a += 2) {  // two rows share the walk along their columns
    const T* first = gram + members[a] * stride;
    const T* second = gram + members[a + 1] * stride;
    T* other = row + (a + 1) * L;
    for (int b = 0; b <= a; ++b) {
      const int64_t member = members[b];
      row[b * L] = first[member];
      other[b * L] = second[member];
    }
    other[(a + 1) * L] = second[members[a + 1]];
    row = other + (a + 2) * L;
  }
  if (a < count) {
    const T* first = gram + members[a] * stride;
    for (int b = 0; b <= a; ++b) row[b * L] = first[members[b]];
    row += (a + 1) * L;
    ++a;
  }
  for (; a < K; ++a) {
    for (int b = 0; b < a; ++b) row[b * L] = T(0);
    row[a * L] = T(1);
    row += (a + 1) * L;
  }
  T* ones = row + (K + 1) * L;  // row K has K + 1 places, one more than it needs
  for (int i = 0; i < count; ++i) {
    row[i * L] = h[members[i]];
    ones[i * L] = T(1);
  }
  for (int i = count; i < K; ++i) row[i * L] = ones[i * L] = T(0);
}

// Where a tile's matrices come from: gathered, one for each lane ...
template <typename T>
struct OwnGram {
  const T* gram;
  HUD_HD Vector<T> at(int64_t row, int64_t column, int n) const {
    return load(gram + (triangle(row) + column) * kTileLanes<T> + n * kWidth<T>);
  }
};
// ... or that of all `count` endmembers, the same for all lanes.
template <typename T>
struct SharedGram {
  const T* gram;
  int64_t stride, count;
  const T* right;
  HUD_HD Vector<T> at(int64_t row, int64_t column, int n) const {
    if (row < count) return Vector<T>{} + gram[row * stride + column];
    if (row > count) return Vector<T>{} + T(1);
    return load(right + column * kTileLanes<T> + n * kWidth<T>);
  }
};

// Columns j and j + 1 (or j alone) of rows i to i + R - 1, vector n: R * 2 chains hide the latency
// of each, and two columns share the loads of the rows. `link` is L of row j + 1, column j.
template <int R, bool Two, typename T, typename Gram>
HUD_HD void eliminate(const SupportTile<T>& tile, const Gram& gram, int i, int j, int K, int n,
                      Vector<T> link) {
  using V = Vector<T>;
  constexpr int L = kTileLanes<T>;
  const T* first = tile.row + n * kWidth<T>;
  const T* second = first + K * L;
  T* to[R];
  V sum[R], next[R];
  for (int r = 0; r < R; ++r) {
    to[r] = tile.lower + triangle(i + r) * L + n * kWidth<T>;
    sum[r] = gram.at(i + r, j, n);
    if (Two) next[r] = gram.at(i + r, j + 1, n);
  }
  for (int t = 0; t < j; ++t) {
    const V f = load(first + t * L);
    const V g = Two ? load(second + t * L) : V{};
    for (int r = 0; r < R; ++r) {
      const V u = load(to[r] + t * L);
      sum[r] -= u * f;
      if (Two) next[r] -= u * g;
    }
  }
  for (int r = 0; r < R; ++r) {
    store(to[r] + j * L, sum[r]);
    if (!Two) continue;
    next[r] -= sum[r] * link;
    store(to[r] + (j + 1) * L, next[r]);
  }
}

// Which endmembers of a tile take part: all; those that did and whose x did not come out negative
// (for a lane without negatives that is the same factorisation, to the bit); those with x > 0.
enum class Take { kAll, kNotNegative, kMarked };

// 1 / pivot, or 0 where the pivot is lost to rounding or the endmember takes no part.
template <typename T>
HUD_HD Vector<T> invert(const SupportTile<T>& tile, Vector<T> pivot, Vector<T> whole, int j, int n,
                        Take take) {
  using V = Vector<T>;
  V inverse = invert_pivot<T>(pivot, whole);
  const int64_t at = j * kTileLanes<T> + n * kWidth<T>;
  const V x = load(tile.x + at);
  if (take == Take::kMarked) inverse = x > V{} ? inverse : V{};
  if (take == Take::kNotNegative)
    inverse = (x < V{}) | (load(tile.inverse + at) == V{}) ? V{} : inverse;
  store(tile.inverse + at, inverse);
  return inverse;
}

// Factors vector n of the tile, the right-hand sides with it.
template <typename T, typename Gram>
void factor_support(const SupportTile<T>& tile, const Gram& gram, int K, int n, Take take) {
  using V = Vector<T>;
  constexpr int L = kTileLanes<T>;
  T* first = tile.row + n * kWidth<T>;
  T* second = first + K * L;
  for (int j = 0; j < K; j += 2) {
    const bool two = j + 1 < K;
    const T* own = tile.lower + triangle(j) * L + n * kWidth<T>;
    const T* other = tile.lower + triangle(j + 1) * L + n * kWidth<T>;
    const V whole = gram.at(j, j, n);
    const V below = two ? gram.at(j + 1, j, n) : V{};
    const V beside = two ? gram.at(j + 1, j + 1, n) : V{};
    V pivot = whole, cross = below, last = beside;
    for (int t = 0; t < j; ++t) {
      const V inverse = load(tile.inverse + t * L + n * kWidth<T>);
      const V u = load(own + t * L), f = u * inverse;
      store(first + t * L, f);
      pivot -= u * f;
      if (!two) continue;
      const V v = load(other + t * L), g = v * inverse;
      store(second + t * L, g);
      cross -= v * f;
      last -= v * g;
    }
    const V inverse = invert(tile, pivot, whole, j, n, take);
    if (!two) {
      eliminate<2, false>(tile, gram, K, j, K, n, V{});
      break;
    }
    const V link = cross * inverse;
    store(tile.lower + (triangle(j + 1) + j) * L + n * kWidth<T>, cross);
    invert(tile, last - cross * link, beside, j + 1, n, take);
    int i = j + 2;
    for (; i + 4 <= K + 2; i += 4) eliminate<4, true>(tile, gram, i, j, K, n, link);
    const int rest = K + 2 - i;
    if (rest == 3) eliminate<3, true>(tile, gram, i, j, K, n, link);
    if (rest == 2) eliminate<2, true>(tile, gram, i, j, K, n, link);
    if (rest == 1) eliminate<1, true>(tile, gram, i, j, K, n, link);
  }
}

// From the eliminated right-hand sides to the solution whose sum is `total`, into `to` (K), and the
// multiplier of the sum (0 without the constraint).
template <int N, typename T>
HUD_HD void back_substitute(const SupportTile<T>& tile, int K, bool sum_to_one, T total, T* to) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>, L = kTileLanes<T>;
  const T* solved = tile.lower + triangle(K) * L;       // L^-1 h
  const T* weights = tile.lower + triangle(K + 1) * L;  // L^-1 1
  V mu[N] = {};
  if (sum_to_one) {
    V weight[N] = {}, along[N] = {};
    for (int j = 0; j < K; ++j) {
      for (int n = 0; n < N; ++n) {
        const V one = load(weights + j * L + n * W);
        const V scaled = one * load(tile.inverse + j * L + n * W);
        weight[n] += one * scaled;
        along[n] += load(solved + j * L + n * W) * scaled;
      }
    }
    for (int n = 0; n < N; ++n) mu[n] = (total - along[n]) / weight[n];
  }
  for (int n = 0; n < N; ++n) store(tile.multiplier + n * W, -mu[n]);
  for (int i = K - 1; i >= 0; i -= 2) {  // two rows share the loads of x
    const int low = i > 0 ? i - 1 : 0;
    V upper[N], lower[N];
    for (int n = 0; n < N; ++n) {
      upper[n] = load(solved + i * L + n * W) + mu[n] * load(weights + i * L + n * W);
      lower[n] = load(solved + low * L + n * W) + mu[n] * load(weights + low * L + n * W);
    }
    // From the last down, whichever row is the upper: the order must not depend on K.
    for (int t = K - 1; t > i; --t) {
      const T* row = tile.lower + triangle(t) * L;
      for (int n = 0; n < N; ++n) {
        const V x = load(to + t * L + n * W);
        upper[n] -= load(row + i * L + n * W) * x;
        lower[n] -= load(row + low * L + n * W) * x;
      }
    }
    for (int n = 0; n < N; ++n) {
      const V x = upper[n] * load(tile.inverse + i * L + n * W);
      store(to + i * L + n * W, x);
      if (low == i) continue;
      lower[n] -= load(tile.lower + (triangle(i) + low) * L + n * W) * x;
      store(to + low * L + n * W, lower[n] * load(tile.inverse + low * L + n * W));
    }
  }
}

// Factors and solves N vectors of the tile. Endmembers that take no part get 0.
template <int N, typename T, typename Gram>
void solve_support(const SupportTile<T>& tile, const Gram& gram, int K, bool sum_to_one,
                   Take take) {
  for (int n = 0; n < N; ++n) factor_support(tile, gram, K, n, take);
  back_substitute<N>(tile, K, sum_to_one, T(1), tile.x);
}

// One step of refinement: x plus the solution for the gradient at x, which the caller has put where
// the right-hand side was. With a gradient from the residual itself (not from the Gram matrix) the
// error of x falls from cond^2 to cond (Bjorck 1987, corrected seminormal equations).
template <int N, typename T>
void refine_support(const SupportTile<T>& tile, int K, bool sum_to_one) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>, L = kTileLanes<T>;
  T* right = tile.lower + triangle(K) * L;
  for (int j = 0; j < K; ++j) {
    const T* row = tile.lower + triangle(j) * L;
    for (int n = 0; n < N; ++n) {
      V sum = load(right + j * L + n * W);
      for (int t = 0; t < j; ++t)
        sum -= load(right + t * L + n * W) * load(tile.inverse + t * L + n * W) *
               load(row + t * L + n * W);
      store(right + j * L + n * W, sum);
    }
  }
  back_substitute<N>(tile, K, sum_to_one, T(0), tile.row);
  for (int j = 0; j < K; ++j)
    for (int n = 0; n < N; ++n)
      store(tile.x + j * L + n * W, load(tile.x + j * L + n * W) + load(tile.row + j * L + n * W));
}

// A bit for each lane that has an endmember whose x is below 0. Those that got 0 count no more.
template <int N, typename T>
HUD_HD uint32_t negative_lanes(const SupportTile<T>& tile, int K) {
  using V = Vector<T>;
  uint32_t bits = 0;
  for (int n = 0; n < N; ++n) {
    V lowest = {};
    for (int a = 0; a < K; ++a) {
      const V x = load(tile.x + a * kTileLanes<T> + n * kWidth<T>);
      lowest = x < lowest ? x : lowest;
    }
    bits |= above(-lowest, T(0)) << (n * kWidth<T>);
  }
  return bits;
}

// Solves, and up to `passes` times again without the endmembers that came out negative: a cheap
// step, since the Gram matrices are at hand. Returns the lanes where some are still negative.
template <int N, typename T>
HUD_HD uint32_t solve_and_drop(const SupportTile<T>& tile, int K, bool sum_to_one, int passes) {
  const OwnGram<T> gram = {tile.gram};
  solve_support<N>(tile, gram, K, sum_to_one, Take::kAll);
  uint32_t negative = negative_lanes<N>(tile, K);
  for (; passes > 0 && negative != 0; --passes) {
    solve_support<N>(tile, gram, K, sum_to_one, Take::kNotNegative);
    negative = negative_lanes<N>(tile, K);
  }
  return negative;
}

// Bits of positive x for each lane, by position in the support; none where a value is not finite:
// what becomes of such a lane would otherwise depend on the tile's size.
template <int N, typename T>
HUD_HD void positive_bits(const SupportTile<T>& tile, int K, uint64_t* positive) {
  using V = Vector<T>;
  using Bits = decltype(V{} > V{});
  constexpr int W = kWidth<T>, L = kTileLanes<T>;
  for (int n = 0; n < N; ++n) {
    V check = load(tile.multiplier + n * W) * T(0);
    for (int a = 0; a < K; ++a) check += load(tile.x + a * L + n * W) * T(0);
    const Bits finite = check == V{};
    for (int first = 0; first == 0 || first < K; first += 32) {
      const int last = K - first < 32 ? K : first + 32;
      Bits bits = {};
      for (int a = first; a < last; ++a)
        bits |= (load(tile.x + a * L + n * W) > V{}) & (1 << (a - first));
      bits &= finite;
      // Through memory: taking a vector apart lane by lane costs more.
      decltype(bits[0] + 0) lanes[W];
      __builtin_memcpy(lanes, &bits, sizeof(bits));
      for (int l = 0; l < W; ++l) {
        const uint64_t word = static_cast<uint32_t>(lanes[l]);
        positive[n * W + l] = first == 0 ? word : positive[n * W + l] | word << 32;
      }
    }
  }
}

// Bit a of `bits` to where the support's a-th bit is.
HUD_HD uint64_t spread_bits(uint64_t bits, uint64_t support) {
#ifdef __BMI2__
  return _pdep_u64(bits, support);
#else
  uint64_t spread = 0;
  for (uint64_t left = support; left != 0; left &= left - 1, bits >>= 1)
    if (bits & 1) spread |= left & (~left + 1);
  return spread;
#endif
}

HUD_CORE_END
