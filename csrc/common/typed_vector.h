// Vectors of one level for any element type, through the compiler's own vector types, and the few
// operations on them for which that language has no word: what FCLS is written in. (vector.h serves
// the searches, lanes.h the log-projection, the softmax and the fused passes.)
#pragma once

#include "common/intrinsics.h"
#include "common/platform.h"

#ifndef HUD_VECTOR_BYTES
#define HUD_VECTOR_BYTES 16
#endif

HUD_CORE_BEGIN

// The alignment is that of one element: tails and rows of any length are loaded where they lie.
template <typename T>
struct LanesOf;
template <>
struct LanesOf<float> {
  typedef float type __attribute__((vector_size(HUD_VECTOR_BYTES), aligned(4)));
};
template <>
struct LanesOf<double> {
  typedef double type __attribute__((vector_size(HUD_VECTOR_BYTES), aligned(8)));
};
template <typename T>
using Lanes = typename LanesOf<T>::type;
template <typename T>
constexpr int kWidth = HUD_VECTOR_BYTES / static_cast<int>(sizeof(T));

template <typename T>
HUD_HD Lanes<T> load_values(const T* p) {
  return *reinterpret_cast<const Lanes<T>*>(p);
}
template <typename T>
HUD_HD void store_values(T* p, Lanes<T> v) {
  *reinterpret_cast<Lanes<T>*>(p) = v;
}

// One bit a lane: values[l] > bound. False for NaN.
HUD_HD uint32_t above(Lanes<float> values, float bound) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)values, _mm512_set1_ps(bound), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps((__m256)values, _mm256_set1_ps(bound), _CMP_GT_OQ)));
#else
  uint32_t bits = 0;
  for (int l = 0; l < kWidth<float>; ++l) bits |= static_cast<uint32_t>(values[l] > bound) << l;
  return bits;
#endif
}
HUD_HD uint32_t above(Lanes<double> values, double bound) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask((__m512d)values, _mm512_set1_pd(bound), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(
      _mm256_movemask_pd(_mm256_cmp_pd((__m256d)values, _mm256_set1_pd(bound), _CMP_GT_OQ)));
#else
  uint32_t bits = 0;
  for (int l = 0; l < kWidth<double>; ++l) bits |= static_cast<uint32_t>(values[l] > bound) << l;
  return bits;
#endif
}

// The largest of the lanes.
template <typename T>
HUD_HD T largest_lane(Lanes<T> values) {
  T lanes[kWidth<T>];
  store_values(lanes, values);
  for (int half = kWidth<T> / 2; half > 0; half /= 2) {
    HUD_SIMD
    for (int l = 0; l < half; ++l)
      lanes[l] = lanes[l] > lanes[l + half] ? lanes[l] : lanes[l + half];
  }
  return lanes[0];
}

HUD_CORE_END
