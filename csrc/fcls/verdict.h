// What FCLS decides of a pixel, for numbers and for vectors of them (a pixel a lane): the
// certificate, what enters a support, which pivots are lost. The loops that gather what is asked
// here lie with the memory they go through.
//
// c_j = R_j . (z - R x) is the negative gradient, `mean` sum x c, `largest` max c, and `reach`
// |y - centre| + max |R_j|, which bounds every residual.
#pragma once

#include "common/platform.h"
#include "fcls/job.h"
#include "fcls/rules.h"

HUD_CORE_BEGIN

// What one round of float64 says of a pixel.
struct Verdict {
  uint64_t stay, entering;
  double gap;  // of an x that is optimal; infinite where it is not
};

// What c_j - mean must exceed to be more than rounding: in rounds of float32, and in float64.
HUD_HD float narrow_tolerance(double column_max, double reach) {
  return static_cast<float>(kNarrowTolerance * column_max * reach);
}
template <typename V>
HUD_HD V wide_tolerance(double column_max, const V& reach) {
  return kWideTolerance * column_max * reach;
}

// The certificate: how far x can be from the optimum. With the sum constraint the Frank-Wolfe
// duality gap max c - sum x c >= f(x) - f* on the simplex (f = |z - R x|^2 / 2). Without it the
// largest violation of the optimality conditions, max c or |x . c|, to which the rounding of x . c
// is added, as the residual is known to epsilon times `weight` = sum x |R_j|: x has no bound there,
// and can be large where endmembers cancel. In the units of |z|^2.
template <typename V>
HUD_HD V excess_of(bool sum_to_one, const V& largest, const V& mean, const V& weight,
                   const V& reach) {
  if (sum_to_one) return largest - mean;
  const V slack = (mean < V{} ? -mean : mean) + kEpsilon64 * weight * reach;
  return largest > slack ? largest : slack;
}
// The same relative to the largest it could be; at most kCertified where x is optimal.
template <typename V>
HUD_HD V gap_of(const V& excess, const V& reach) {
  return excess <= V{} ? V{} : excess / (reach * reach);  // NaN stays NaN
}

// |R_j|, of which `weight` is made; from the Gram matrix as it is without the sum constraint.
HUD_HD double column_length(const FclsJob& job, int64_t j) {
  return __builtin_sqrt(job.gram[j * (job.padded + 1)]);
}

// What a gradient must exceed for its endmember to enter: the level on the support by more than the
// tolerance and than `share` of the largest excess.
template <typename V, typename T>
HUD_HD V entering_bound(const V& top, const V& level, const V& tolerance, T share) {
  const V excess = (top - level) * share;
  return level + (excess > tolerance ? excess : tolerance);
}
HUD_HD float entering_share(int round) { return round < kBoldRounds ? kEnter : kOnlyLargest; }

// What an abundance, in its standard deviations at unit noise, must exceed to be in the first
// guess; `outside` is what projecting leaves of |y - centre|^2.
HUD_HD double guess_bound(const FclsJob& job, double outside) {
  return outside > 0 ? kSignificant * __builtin_sqrt(outside * job.per_freedom) : 0.0;
}
// A first guess has somebody in it where the abundances must sum to one.
template <typename Bits>
HUD_HD Bits first_support(const FclsJob& job, Bits guess) {
  return guess != 0 || !job.sum_to_one ? guess : Bits{1};
}

// 1 / pivot, or 0 where the pivot is lost to rounding beside its diagonal element `whole`.
template <typename T, typename V>
HUD_HD V invert_pivot(const V& pivot, const V& whole) {
  constexpr T least = static_cast<T>(sizeof(T) == 4 ? kLeastPivot32 : kLeastPivot64);
  constexpr T tiny = static_cast<T>(sizeof(T) == 4 ? kTinyPivot32 : kTinyPivot64);
  return (pivot > whole * least) & (pivot > tiny) ? T(1) / pivot : V{};
}

HUD_HD int count_bits(uint64_t bits) {
#ifdef __CUDA_ARCH__
  return __popcll(bits);
#else
  return __builtin_popcountll(bits);
#endif
}

HUD_CORE_END
