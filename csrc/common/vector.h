// The float vector of this level, through the compiler's own vector types (one source, every
// level), and comparisons as bit masks, for which that language has no word.
#pragma once

#include "common/platform.h"

#include "common/intrinsics.h"

#ifndef HUD_VECTOR_BYTES
#define HUD_VECTOR_BYTES 16
#endif

HUD_CORE_BEGIN

constexpr int kLanes = HUD_VECTOR_BYTES / 4;
typedef float FloatVector __attribute__((vector_size(HUD_VECTOR_BYTES), aligned(4)));

HUD_HD FloatVector load(const float* p) { return *reinterpret_cast<const FloatVector*>(p); }
HUD_HD void store(float* p, FloatVector v) { *reinterpret_cast<FloatVector*>(p) = v; }
HUD_HD FloatVector larger(FloatVector a, FloatVector b) { return a > b ? a : b; }

// Bit l is set where a[l] <= b[l], l < 16. The compiler's vector types have no way from a
// comparison to bits; the loop below it ran half as fast.
HUD_HD uint32_t at_most(const float* a, const float* b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(a), _mm512_loadu_ps(b), _CMP_LE_OQ);
#elif defined(__AVX__)
  uint32_t bits = 0;
  for (int l = 0; l < 16; l += 8)
    bits |= static_cast<uint32_t>(_mm256_movemask_ps(
                _mm256_cmp_ps(_mm256_loadu_ps(a + l), _mm256_loadu_ps(b + l), _CMP_LE_OQ)))
            << l;
  return bits;
#elif defined(__SSE2__)
  uint32_t bits = 0;
  for (int l = 0; l < 16; l += 4)
    bits |= static_cast<uint32_t>(
                _mm_movemask_ps(_mm_cmple_ps(_mm_loadu_ps(a + l), _mm_loadu_ps(b + l))))
            << l;
  return bits;
#else
  uint32_t bits = 0;
  for (int l = 0; l < 16; ++l) bits |= static_cast<uint32_t>(a[l] <= b[l]) << l;
  return bits;
#endif
}

// The largest of 16 floats.
HUD_HD float largest16(const float* a) {
#if defined(__SSE2__)
  const __m128 low = _mm_max_ps(_mm_loadu_ps(a), _mm_loadu_ps(a + 4));
  const __m128 high = _mm_max_ps(_mm_loadu_ps(a + 8), _mm_loadu_ps(a + 12));
  const __m128 four = _mm_max_ps(low, high);
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
#else
  float part[8];
  for (int l = 0; l < 8; ++l) part[l] = a[l] > a[l + 8] ? a[l] : a[l + 8];
  for (int l = 0; l < 4; ++l) part[l] = part[l] > part[l + 4] ? part[l] : part[l + 4];
  for (int l = 0; l < 2; ++l) part[l] = part[l] > part[l + 2] ? part[l] : part[l + 2];
  return part[0] > part[1] ? part[0] : part[1];
#endif
}

constexpr int kDoubleLanes = HUD_VECTOR_BYTES / 8;
typedef double DoubleVector __attribute__((vector_size(HUD_VECTOR_BYTES), aligned(8)));

HUD_HD DoubleVector load(const double* p) { return *reinterpret_cast<const DoubleVector*>(p); }
HUD_HD void store(double* p, DoubleVector v) { *reinterpret_cast<DoubleVector*>(p) = v; }

// Rows of the register tile: as many as leave room for the shared operand. 32, 16 and 16 vector
// registers.
#if HUD_VECTOR_BYTES == 64
constexpr int kTileRows = 12;  // x 2 vectors of a panel = 24 accumulators
#elif HUD_VECTOR_BYTES == 32
constexpr int kTileRows = 3;  // x 4
#else
constexpr int kTileRows = 1;  // x 8
#endif

HUD_CORE_END
