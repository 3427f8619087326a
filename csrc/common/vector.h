// The vectors of this level, through the compiler's own vector types (one source, every level): how
// they meet memory, whose values may be of four storage types, and what that language has no word
// for.
//
// Storage S is float, double, BFloat16 or Float16; arithmetic is in Compute<S>, which is S itself
// or float. A part of a vector goes through a buffer and the same vector arithmetic as a whole one,
// so a value's bits do not depend on where it lies.
#pragma once

#include "common/half.h"

#include "common/intrinsics.h"

#ifndef HUD_VECTOR_BYTES
#define HUD_VECTOR_BYTES 16
#endif

HUD_CORE_BEGIN

// Vector<float> and Vector<double> are aligned as one of their values, so that a pointer to one may
// point wherever values lie. Where a template takes what holds its numbers it takes the kind: as a
// parameter itself the type would lose its alignment.
template <typename T>
struct VectorKind;
template <>
struct VectorKind<float> {
  typedef float Vector __attribute__((vector_size(HUD_VECTOR_BYTES), aligned(4)));
};
template <>
struct VectorKind<double> {
  typedef double Vector __attribute__((vector_size(HUD_VECTOR_BYTES), aligned(8)));
};
template <typename T>
using Vector = typename VectorKind<T>::Vector;

// The same in registers and in arrays of their own: types that may be parameters.
typedef float Float32s __attribute__((vector_size(HUD_VECTOR_BYTES)));
typedef double Float64s __attribute__((vector_size(HUD_VECTOR_BYTES)));
typedef uint32_t Bits32s __attribute__((vector_size(HUD_VECTOR_BYTES)));
typedef uint64_t Bits64s __attribute__((vector_size(HUD_VECTOR_BYTES)));
typedef uint16_t HalfBits __attribute__((vector_size(HUD_VECTOR_BYTES / 2)));

template <>
struct Shape<Float32s> {
  using Element = float;
  using Bits = Bits32s;
};
template <>
struct Shape<Float64s> {
  using Element = double;
  using Bits = Bits64s;
};

template <typename S>
struct Stored {
  using Compute = float;
  using Vector = Float32s;
};
template <>
struct Stored<double> {
  using Compute = double;
  using Vector = Float64s;
};
template <typename S>
using Compute = typename Stored<S>::Compute;
template <typename S>
using VectorOf = typename Stored<S>::Vector;
// Values of S in a vector.
template <typename S>
constexpr int kWidth = HUD_VECTOR_BYTES / static_cast<int>(sizeof(Compute<S>));

HUD_HD Vector<float> load(const float* p) { return *reinterpret_cast<const Vector<float>*>(p); }
HUD_HD Vector<double> load(const double* p) { return *reinterpret_cast<const Vector<double>*>(p); }
HUD_HD void store(float* p, Vector<float> v) { *reinterpret_cast<Vector<float>*>(p) = v; }
HUD_HD void store(double* p, Vector<double> v) { *reinterpret_cast<Vector<double>*>(p) = v; }

// 16-bit integers to and from 32 bits. The compiler takes three instructions where there is one.
HUD_HD Bits32s widen(HalfBits bits) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return bits_to<Bits32s>(_mm512_cvtepu16_epi32(bits_to<__m256i>(bits)));
#elif HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
  return bits_to<Bits32s>(_mm256_cvtepu16_epi32(bits_to<__m128i>(bits)));
#else
  return __builtin_convertvector(bits, Bits32s);
#endif
}
HUD_HD HalfBits narrow(Bits32s bits) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return bits_to<HalfBits>(_mm512_cvtepi32_epi16(bits_to<__m512i>(bits)));
#elif HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
  const __m256i wide = bits_to<__m256i>(bits);  // at most 16 bits of each are set
  return bits_to<HalfBits>(
      _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
#else
  return __builtin_convertvector(bits, HalfBits);
#endif
}
HUD_HD Float32s load(const BFloat16* p) {
  HalfBits bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return from_bfloat16<Float32s>(widen(bits));
}
HUD_HD Float32s load(const Float16* p) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif HUD_VECTOR_BYTES == 32 && defined(__F16C__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  HalfBits bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return from_float16<Float32s>(widen(bits));
#endif
}

// Rounded to a storage type of 16 bits.
HUD_HD HalfBits half_bits(Float32s v, const BFloat16*) {
#if HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
  const Bits32s bits = bits_to<Bits32s>(v);
  const Bits32s nan = bits_to<Bits32s>(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));  // NaN: all bits set
  return narrow((((bits >> 16 & 1U) + (bits + 0x7fffU)) | nan) >> 16);
#else
  return narrow(to_bfloat16(v));
#endif
}
HUD_HD HalfBits half_bits(Float32s v, const Float16*) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return bits_to<HalfBits>(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif HUD_VECTOR_BYTES == 32 && defined(__F16C__)
  return bits_to<HalfBits>(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  return narrow(to_float16(v));
#endif
}
HUD_HD void store(BFloat16* p, Float32s v) {
  const HalfBits bits = half_bits(v, p);
  __builtin_memcpy(p, &bits, sizeof bits);
}
HUD_HD void store(Float16* p, Float32s v) {
  const HalfBits bits = half_bits(v, p);
  __builtin_memcpy(p, &bits, sizeof bits);
}

// Writes a vector past the caches where there is an instruction for it; `p` is aligned to what is
// written. Whole lines of memory should follow each other: a half one costs as much.
template <typename V, typename S>
HUD_HD void stream_lanes(S* p, V v) {
#if defined(__AVX512F__) && HUD_VECTOR_BYTES == 64
  if constexpr (sizeof(S) == sizeof(Element<V>)) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), bits_to<__m512i>(v));
  } else {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), bits_to<__m256i>(half_bits(v, p)));
  }
#elif defined(__AVX2__) && HUD_VECTOR_BYTES == 32
  if constexpr (sizeof(S) == sizeof(Element<V>)) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), bits_to<__m256i>(v));
  } else {
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), bits_to<__m128i>(half_bits(v, p)));
  }
#else
  store(p, v);
#endif
}

// Makes streamed values visible to other threads before a parallel region ends.
HUD_HD void stream_fence() {
#ifdef __AVX2__
  _mm_sfence();
#endif
}

HUD_HD bool vector_aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % HUD_VECTOR_BYTES == 0;
}
HUD_HD bool line_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }

// The first n lanes, n less than a vector; the rest are 0.
template <typename S>
HUD_HD VectorOf<S> load_part(const S* p, int64_t n) {
  S buffer[kWidth<S>] = {};
  __builtin_memcpy(buffer, p, static_cast<size_t>(n) * sizeof(S));
  return load(buffer);
}
template <typename S>
HUD_HD void store_part(S* p, VectorOf<S> v, int64_t n) {
  S buffer[kWidth<S>];
  store(buffer, v);
  __builtin_memcpy(p, buffer, static_cast<size_t>(n) * sizeof(S));
}

HUD_HD Vector<float> larger(Vector<float> a, Vector<float> b) { return a > b ? a : b; }

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

// One bit a lane: values[l] > bound. False for NaN.
HUD_HD uint32_t above(Vector<float> values, float bound) {
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
HUD_HD uint32_t above(Vector<double> values, double bound) {
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
HUD_HD T largest_lane(Vector<T> values) {
  T lanes[kWidth<T>];
  store(lanes, values);
  for (int half = kWidth<T> / 2; half > 0; half /= 2) {
    HUD_SIMD
    for (int l = 0; l < half; ++l)
      lanes[l] = lanes[l] > lanes[l + half] ? lanes[l] : lanes[l + half];
  }
  return lanes[0];
}

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

#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
#include "common/elementary_avx512.h"
#elif HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
#include "common/elementary_avx2.h"
#endif
