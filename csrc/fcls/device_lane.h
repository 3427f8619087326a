// FCLS of one pixel in one thread's registers, for up to K endmembers that are not ill-conditioned.
//
// As csrc/fcls/dense.h: all K endmembers stay in the elimination, those outside the support
// with the inverse of their pivot at 0. A first support from the solution without x >= 0; rounds in
// float32 that drop what is negative and let in what violates the optimality conditions most. The
// support's factors, in float32, then serve a refinement in float64: gradients from the residual in
// float64, corrections by the factors, until they vanish. That costs no float64 elimination, and
// the certificate is taken of the float64 x. A pixel whose corrections do not vanish or whose
// support does not settle is left to another way.
//
// Support and finish are two kernels: neither then waits for its neighbours' other half, and the
// registers do. Loops over K are unrolled and every register array is indexed by constants; what is
// not in registers comes through accessors: tables, and on the device x, h and the stored factor in
// shared memory.
#pragma once

#include "common/elementary.h"
#include "fcls/device_pixel.h"

HUD_CORE_BEGIN

// Values read before are read again after, not kept in registers meanwhile: there are none to
// spare.
HUD_HD void forget() {
#ifdef __CUDA_ARCH__
  asm volatile("" ::: "memory");
#endif
}

// f(Number<From>{}) to f(Number<To - 1>{}): an unrolled loop that no compiler can leave a loop,
// with arrays in memory.
template <int I>
struct Number {
  static constexpr int value = I;
};
template <int From, int To, typename F>
HUD_HD void for_each_number(const F& f) {
  if constexpr (From < To) {
    f(Number<From>{});
    for_each_number<From + 1, To>(f);
  }
}

// Tables of a problem, in shared memory on the device; zero beyond the problem's own sizes.
template <int K>
struct LaneTables {
  double columns[K][K];  // (D, rank): R'
  double length[K];      // |R_j|
  float gram[K][K];
  float start[K][K];
  float offset[K];
};

template <int K>
HUD_HD void fill_tables(const FclsJob& job, LaneTables<K>& t, int lane, int lanes) {
  const int D = static_cast<int>(job.endmembers), rank = static_cast<int>(job.rank);
  for (int at = lane; at < K * K; at += lanes) {
    const int i = at / K, j = at % K;
    t.columns[i][j] = i < D && j < rank ? job.columns[i * rank + j] : 0.0;
    t.start[i][j] = i < D && j < rank ? static_cast<float>(job.start[j * job.padded + i]) : 0.0f;
    t.gram[i][j] = i < D && j < D ? static_cast<float>(job.gram[i * job.padded + j]) : 0.0f;
  }
  for (int i = lane; i < K; i += lanes) {
    t.offset[i] = i < D ? static_cast<float>(job.start_offset[i]) : 0.0f;
    double square = 0;
    for (int j = 0; j < rank && i < D; ++j)
      square += job.columns[i * rank + j] * job.columns[i * rank + j];
    t.length[i] = __builtin_sqrt(square);
  }
}

HUD_HD constexpr int below(int row, int column) { return row * (row - 1) / 2 + column; }

// L D L' of the marked endmembers' Gram matrix: u = L D below the diagonal, and the inverse pivots,
// which are 0 outside the support and where a pivot is rounding.
template <int K>
struct LaneFactor {
  static constexpr bool kStored = false;
  float lower[K * (K - 1) / 2];
  float pivots[K];
  HUD_HD float u(int row, int column) const { return lower[below(row, column)]; }
  HUD_HD float inverse(int i) const { return pivots[i]; }
};

// The same outside the registers, value i at values(i).
template <int K, typename Floats>
struct StoredFactor {
  static constexpr bool kStored = true;
  Floats values;
  HUD_HD float u(int row, int column) const { return values(below(row, column)); }
  HUD_HD float inverse(int i) const { return values(K * (K - 1) / 2 + i); }
};
constexpr int kLaneStored = 12;  // more endmembers than this leave no registers beside a factor

// Floats of a thread's factor outside the registers.
HUD_HD constexpr int stored_floats(int K) { return K > kLaneStored ? K * (K + 1) / 2 : 0; }

template <int K>
HUD_HD void factor_lane(const LaneTables<K>& t, uint32_t marked, LaneFactor<K>& f) {
  for_each_number<0, K>([&](auto column) {
    constexpr int j = decltype(column)::value;
    forget();
    const float whole = t.gram[j][j];
    float pivot = whole;
    float link[K];
    HUD_UNROLL
    for (int s = 0; s < j; ++s) {
      link[s] = f.lower[below(j, s)] * f.pivots[s];
      pivot -= f.lower[below(j, s)] * link[s];
    }
    f.pivots[j] = (marked >> j & 1u) != 0 ? invert_pivot<float>(pivot, whole) : 0.0f;
    for_each_number<j + 1, K>([&](auto row) {
      constexpr int i = decltype(row)::value;
      float sum = t.gram[i][j];
      HUD_UNROLL
      for (int s = 0; s < j; ++s) sum -= f.lower[below(i, s)] * link[s];
      f.lower[below(i, j)] = sum;
    });
  });
}

// x with G x + mu 1 = right on the support and sum x = total; mu 0 without the sum. Returns -mu.
// Everything is kept times the inverse pivots: with products of u and the inverses the compiler
// would keep those of the factorisation, a second triangle.
template <int K, typename Factor, typename Right>
HUD_HD float solve_lane(const Factor& f, const Right& right, float total, bool sum_to_one,
                        float* x) {
  float one[K];
  float weight = 0, along = 0;
  for_each_number<0, K>([&](auto row) {
    constexpr int j = decltype(row)::value;
    if constexpr (Factor::kStored || j % 4 == 0) forget();
    float a = right(j), b = 1.0f;
    HUD_UNROLL
    for (int s = 0; s < j; ++s) {
      a -= f.u(j, s) * x[s];
      b -= f.u(j, s) * one[s];
    }
    x[j] = a * f.inverse(j);
    one[j] = b * f.inverse(j);
    weight += b * one[j];
    along += a * one[j];
  });
  const float mu = sum_to_one ? (total - along) / weight : 0.0f;
  for_each_number<0, K>([&](auto from_last) {
    constexpr int i = K - 1 - decltype(from_last)::value;
    if constexpr (Factor::kStored) forget();
    float sum = 0;
    HUD_UNROLL
    for (int s = K - 1; s > i; --s) sum += f.u(s, i) * x[s];
    x[i] += mu * one[i] - sum * f.inverse(i);
  });
  return -mu;
}

// What a pixel reads, and where its x and h lie.
template <typename Values, typename Floats>
struct LanePixel {
  const double* z;  // (rank)
  double norm;      // |y - centre|
  double noise;     // what a first guess must exceed
  Values x;         // x(i): double&
  Floats factor;    // factor(i), stored_floats() of them
  Floats h;         // h(i): float&; the right-hand side of the corrections once h has served
};

struct LaneResult {
  bool solved;
  double gap;
};

// Calls mean(sum x c), then use(i, c_i), with the gradient c = R r, r = z - R' x, in float64. The
// mean comes first, as (z - r) . r, so that no register need hold all of c.
template <int K, typename Pixel, typename Mean, typename Use>
HUD_HD void lane_descent(const LaneTables<K>& t, const Pixel& pixel, int rank, const Mean& mean,
                         const Use& use) {
  double residual[K];
  HUD_UNROLL
  for (int j = 0; j < K; ++j) {
    if (j % 4 == 0) forget();
    residual[j] = j < rank ? pixel.z[j] : 0.0;
  }
  HUD_UNROLL
  for (int i = 0; i < K; ++i) {
    const double x = pixel.x(i);
    HUD_UNROLL
    for (int j = 0; j < K; ++j) {
      if (j % 4 == 0) forget();
      residual[j] -= t.columns[i][j] * x;
    }
  }
  forget();
  double along = 0;
  HUD_UNROLL
  for (int j = 0; j < K; ++j) {
    if (j % 4 == 0) forget();
    const double z = j < rank ? pixel.z[j] : 0.0;
    along += (z - residual[j]) * residual[j];
  }
  mean(along);
  HUD_UNROLL
  for (int i = 0; i < K; ++i) {
    double sum = 0;
    HUD_UNROLL
    for (int j = 0; j < K; ++j) {
      if (j % 4 == 0) forget();
      sum += t.columns[i][j] * residual[j];
    }
    use(i, sum);
  }
}

// Corrects x (float64, on the marked endmembers) by float32 solutions until they vanish. False
// where they do not.
template <int K, typename Factor, typename Pixel>
HUD_HD bool refine_lane(const LaneTables<K>& t, const Factor& f, const Pixel& pixel, int rank,
                        bool sum_to_one) {
  for (int round = 0; round < kLaneRefines; ++round) {
    double sum = 0, common = 0, size = 1;
    float step[K];
    HUD_UNROLL
    for (int i = 0; i < K; ++i) {
      if (i % 4 == 0) forget();
      const double x = pixel.x(i);
      sum += x;
      size = x > size ? x : (-x > size ? -x : size);
    }
    // The gradient's common value is the sum's multiplier: off in float64, it costs no digits.
    lane_descent(
        t, pixel, rank,
        [&](double mean) { common = sum_to_one ? mean / (sum > 0 ? sum : 1.0) : 0.0; },
        [&](int i, double c) { pixel.h(i) = static_cast<float>(c - common); });
    solve_lane<K>(f, pixel.h, static_cast<float>(1 - sum), sum_to_one, step);
    float largest = 0, check = 0;
    HUD_UNROLL
    for (int i = 0; i < K; ++i) {
      if (i % 4 == 0) forget();
      const float size_of = step[i] < 0 ? -step[i] : step[i];
      largest = size_of > largest ? size_of : largest;
      check += step[i] * 0.0f;
      pixel.x(i) += static_cast<double>(step[i]);
    }
    if (!(check == 0.0f)) return false;
    if (largest <= kLaneSettled * size) return true;
  }
  return false;
}

// Brings x to sum one and certifies it as csrc/fcls/dense.h does. `next` are the endmembers of
// the next support where it is not optimal.
template <int K, typename Pixel>
HUD_HD LaneResult certify_lane(const LaneTables<K>& t, const FclsJob& job, const Pixel& pixel,
                               double reach, uint32_t* next) {
  const int D = static_cast<int>(job.endmembers), rank = static_cast<int>(job.rank);
  double sum = 0, lowest = 0;
  uint32_t positive = 0;
  HUD_UNROLL
  for (int i = 0; i < K; ++i) {
    if (i % 4 == 0) forget();
    const double x = pixel.x(i);
    sum += x;
    lowest = x < lowest ? x : lowest;
    positive |= x > 0 ? 1u << i : 0u;
  }
  *next = positive;
  if (lowest < 0) return {false, 0.0};
  if (job.sum_to_one) {
    const double inverse = 1 / sum;
    HUD_UNROLL
    for (int i = 0; i < K; ++i) {
      if (i % 4 == 0) forget();
      pixel.x(i) *= inverse;
    }
  }
  double c[K];
  double mean = 0, largest = 0, weight = 0;
  lane_descent(t, pixel, rank, [](double) {}, [&](int i, double value) { c[i] = value; });
  HUD_UNROLL
  for (int i = 0; i < K; ++i) {
    if (i % 4 == 0) forget();
    if (i >= D) continue;
    const double x = pixel.x(i);
    mean += x * c[i];
    largest = i == 0 || c[i] > largest ? c[i] : largest;
    weight += x * t.length[i];
  }
  const double level = job.sum_to_one ? mean : 0.0;
  double top = level;
  HUD_UNROLL
  for (int i = 0; i < K; ++i)
    if (i < D && (positive >> i & 1u) == 0) top = c[i] > top ? c[i] : top;
  if (top > level + wide_tolerance(job.column_max, reach)) {
    const double bound = level + (top - level) * static_cast<double>(kOnlyLargest);
    HUD_UNROLL
    for (int i = 0; i < K; ++i)
      if (i < D && (positive >> i & 1u) == 0 && c[i] >= bound) *next |= 1u << i;
    return {false, 0.0};
  }
  const double gap = gap_of(excess_of(job.sum_to_one, largest, mean, weight, reach), reach);
  return {gap <= kCertified, gap};
}

// h, and the first support: the endmembers that exceed their noise in the solution without x >= 0.
template <int K, typename Pixel>
HUD_HD uint32_t guess_lane(const LaneTables<K>& t, const FclsJob& job, const Pixel& pixel) {
  const int D = static_cast<int>(job.endmembers), rank = static_cast<int>(job.rank);
  uint32_t marked = 0;
  double z[K];
  HUD_UNROLL
  for (int j = 0; j < K; ++j) {
    z[j] = j < rank ? pixel.z[j] : 0.0;
  }
  const auto noise = static_cast<float>(pixel.noise);
  HUD_UNROLL
  for (int i = 0; i < K; ++i) {
    forget();
    double sum = 0;
    float guess = t.offset[i];
    HUD_UNROLL
    for (int j = 0; j < K; ++j) {
      sum += t.columns[i][j] * z[j];
      guess += t.start[i][j] * static_cast<float>(z[j]);
    }
    pixel.h(i) = static_cast<float>(sum);
    marked |= i < D && guess > noise ? 1u << i : 0u;
  }
  return first_support(job, marked);
}

// The support by rounds in float32. Where they do not settle, the last one's; certify_lane() tells.
template <int K, typename Pixel>
HUD_HD uint32_t support_lane(const LaneTables<K>& t, const FclsJob& job, const Pixel& pixel) {
  const int D = static_cast<int>(job.endmembers);
  const double reach = pixel.norm + job.column_max;
  const float tolerance = narrow_tolerance(job.column_max, reach);
  uint32_t marked = guess_lane<K>(t, job, pixel);
  for (int round = 0; round < kLaneRounds; ++round) {
    LaneFactor<K> factor;
    factor_lane(t, marked, factor);
    float w[K], x[K];
    const float level = solve_lane<K>(factor, pixel.h, 1.0f, job.sum_to_one, x);
    uint32_t positive = 0, negative = 0;
    HUD_UNROLL
    for (int i = 0; i < K; ++i) {
      positive |= x[i] > 0 ? 1u << i : 0u;
      negative |= x[i] < 0 ? 1u << i : 0u;
    }
    float top = level;
    HUD_UNROLL
    for (int i = 0; i < K; ++i) {  // w = h - G x
      forget();
      float sum = pixel.h(i);
      HUD_UNROLL
      for (int j = 0; j < K; ++j) sum -= t.gram[i][j] * x[j];
      w[i] = sum;
      if (i < D && ((positive | negative) >> i & 1u) == 0) top = sum > top ? sum : top;
    }
    const float bound = entering_bound(top, level, tolerance, entering_share(round));
    uint32_t entering = 0;
    HUD_UNROLL
    for (int i = 0; i < K; ++i)
      if (i < D && ((positive | negative) >> i & 1u) == 0 && w[i] > bound) entering |= 1u << i;
    if ((negative | entering) == 0) break;
    marked = positive | entering;
  }
  return marked;
}

// x on a support, certified; a few supports more where float64 sees what float32 did not. Where it
// succeeds pixel.x holds the abundances.
template <int K, typename Values, typename Floats>
HUD_HD LaneResult finish_lane(const LaneTables<K>& t, const FclsJob& job,
                              const LanePixel<Values, Floats>& pixel, uint32_t marked) {
  const int rank = static_cast<int>(job.rank);
  const double reach = pixel.norm + job.column_max;
  HUD_UNROLL
  for (int i = 0; i < K; ++i) pixel.x(i) = 0;
  for (int support = 0; support < kLaneSupports; ++support) {
    LaneFactor<K> factor;
    factor_lane(t, marked, factor);
    bool settled;
    if constexpr (K > kLaneStored) {
      const StoredFactor<K, Floats> stored = {pixel.factor};
      HUD_UNROLL
      for (int i = 0; i < K * (K - 1) / 2; ++i) pixel.factor(i) = factor.lower[i];
      HUD_UNROLL
      for (int i = 0; i < K; ++i) pixel.factor(K * (K - 1) / 2 + i) = factor.pivots[i];
      forget();
      settled = refine_lane<K>(t, stored, pixel, rank, job.sum_to_one);
    } else {
      settled = refine_lane<K>(t, factor, pixel, rank, job.sum_to_one);
    }
    if (!settled) break;
    uint32_t next = 0;
    const LaneResult result = certify_lane<K>(t, job, pixel, reach, &next);
    if (result.solved) return result;
    if (next == marked) break;
    marked = next;
    HUD_UNROLL
    for (int i = 0; i < K; ++i)
      if ((marked >> i & 1u) == 0) pixel.x(i) = 0;
  }
  return {false, 0.0};
}

struct NoValues {};

// The support of projected pixel `from`, by one thread. `h` is scratch.
template <int K, typename Floats>
HUD_HD uint32_t lane_support(const LaneTables<K>& t, const FclsJob& job, const ProjectedPixel& from,
                             const Floats& h) {
  if (!(from.norm <= kLargestDouble)) return 0;
  const LanePixel<NoValues, Floats> pixel = {from.z, from.norm, from.noise, {}, h, h};
  return support_lane<K>(t, job, pixel);
}

// One pixel's results on a support that lane_support() found; false where it is left.
template <int K, typename Values, typename Floats>
HUD_HD bool lane_solve(const LaneTables<K>& t, const FclsJob& job, int64_t place,
                       const ProjectedPixel& from, uint32_t support, const Values& x,
                       const Floats& h, const Floats& factor) {
  if (!(from.norm <= kLargestDouble)) return false;
  const LanePixel<Values, Floats> pixel = {from.z, from.norm, from.noise, x, factor, h};
  const LaneResult result = finish_lane<K>(t, job, pixel, support);
  if (!result.solved) return false;
  HUD_UNROLL
  for (int j = 0; j < K; ++j)
    if (j < job.kept) put_abundance(job, place * job.kept + j, x(j) + 0.0);  // a -0 becomes 0
  if (job.status == nullptr) return true;
  const int64_t first = place * job.pixel_stride;
  double sum = 0;
  for (int64_t c = 0; c < job.bands; ++c) {
    double left = centred_value(job, first, c);
    for (int j = 0; j < job.endmembers; ++j) left -= x(j) * job.centred[j * job.bands + c];
    sum += left * left;
  }
  job.residual[place] = __builtin_sqrt(sum) / job.scale;
  job.gap[place] = result.gap;
  job.status[place] = kOptimal;
  return true;
}

HUD_CORE_END
