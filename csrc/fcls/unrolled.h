// The least squares of support_tile.h for supports whose size is known when compiled: nothing but
// loads, products and stores, without a branch. The same numbers in the same layout.
#pragma once

#include "fcls/support_tile.h"

HUD_CORE_BEGIN

constexpr int kMostUnrolled = 10;  // beyond, the code would leave the instruction cache

// A table of at most 16 endmembers for the gathers here: (17, 17), where the last is nobody, whose
// row pads a support to K by the identity.
constexpr int kNobody = 16, kFewStride = 17;

template <typename T>
void fill_few(const T* gram, int64_t stride, int64_t endmembers, T* few) {
  for (int64_t i = 0; i < kFewStride; ++i)
    for (int64_t j = 0; j < kFewStride; ++j)
      few[i * kFewStride + j] =
          i < endmembers && j < endmembers ? gram[i * stride + j] : T(i == j ? 1 : 0);
}

// f(Number<From>{}) to f(Number<To - 1>{}): a loop that no compiler can leave a loop.
template <int I>
struct Step {
  static constexpr int value = I;
};
template <int From, int To, typename F>
HUD_HD void for_each_step(const F& f) {
  if constexpr (From < To) {
    f(Step<From>{});
    for_each_step<From + 1, To>(f);
  }
}

// The first K members of a support, in rising order, then kNobody.
template <int K>
HUD_HD void list_few(uint32_t support, uint8_t* members) {
  uint32_t left = support | 1u << kNobody;
  for_each_step<0, K>([&](auto a) {
    members[decltype(a)::value] = static_cast<uint8_t>(__builtin_ctz(left));
    left = (left & (left - 1)) | 1u << kNobody;
  });
}

// Puts one pixel's system into lane `lane`; h has a 0 for nobody. As gather_support(), the row of
// ones aside, which solve_few() knows.
template <int K, typename T>
HUD_HD void gather_few(const SupportTile<T>& tile, int lane, const T* few, const T* h,
                       uint32_t support, uint8_t* members) {
  constexpr int L = kTileLanes<T>;
  list_few<K>(support, members);
  T* const to = tile.gram + lane;
  int64_t member[K];
  for (int a = 0; a < K; ++a) member[a] = members[a];
  for_each_step<0, K>([&](auto number) {
    constexpr int a = decltype(number)::value;
    const T* row = few + member[a] * kFewStride;
    for_each_step<0, a + 1>([&](auto other) {
      constexpr int b = decltype(other)::value;
      to[(triangle(a) + b) * L] = row[member[b]];
    });
    to[(triangle(K) + a) * L] = h[member[a]];
  });
}

// Factors and solves all vectors of a tile side by side. `sizes` are the supports' of each lane.
template <int K, typename T>
HUD_HD void solve_few(const SupportTile<T>& tile, const T* sizes, bool sum_to_one, Take take) {
  using V = Vector<T>;
  constexpr int W = kWidth<T>, L = kTileLanes<T>, N = kTileVectors;
  const auto gram = [&](int i, int j, int n) {
    return load(tile.gram + (triangle(i) + j) * L + n * W);
  };
  const auto lower = [&](int i, int j, int n) {
    return tile.lower + (triangle(i) + j) * L + n * W;
  };
  V along[N] = {}, weight[N] = {};
  for_each_step<0, K>([&](auto column) {
    constexpr int j = decltype(column)::value;
    for (int n = 0; n < N; ++n) {
      V f[j > 0 ? j : 1];
      const V whole = gram(j, j, n);
      V pivot = whole;
      for (int t = 0; t < j; ++t) {
        const V u = load(lower(j, t, n));
        f[t] = u * load(tile.inverse + t * L + n * W);
        pivot -= u * f[t];
      }
      const V inverse = invert(tile, pivot, whole, j, n, take);
      V y = gram(K, j, n);
      V one = load(sizes + n * W) > V{} + T(j) ? V{} + T(1) : V{};
      for (int t = 0; t < j; ++t) {
        y -= load(lower(K, t, n)) * f[t];
        one -= load(lower(K + 1, t, n)) * f[t];
      }
      store(lower(K, j, n), y);
      store(lower(K + 1, j, n), one);
      const V scaled = one * inverse;
      weight[n] += one * scaled;
      along[n] += y * scaled;
      for_each_step<j + 1, K>([&](auto row) {
        constexpr int i = decltype(row)::value;
        V sum = gram(i, j, n);
        for (int t = 0; t < j; ++t) sum -= load(lower(i, t, n)) * f[t];
        store(lower(i, j, n), sum);
      });
    }
  });
  for (int n = 0; n < N; ++n) {
    const V mu = sum_to_one ? (T(1) - along[n]) / weight[n] : V{};
    store(tile.multiplier + n * W, -mu);
    V x[K];
    for_each_step<0, K>([&](auto back) {
      constexpr int i = K - 1 - decltype(back)::value;
      V sum = load(lower(K, i, n)) + mu * load(lower(K + 1, i, n));
      for (int t = K - 1; t > i; --t) sum -= load(lower(t, i, n)) * x[t];
      x[i] = sum * load(tile.inverse + i * L + n * W);
      store(tile.x + i * L + n * W, x[i]);
    });
  }
}

HUD_CORE_END
