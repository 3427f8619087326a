// The vectors of this level and how they meet memory: float and double vectors, loads and stores
// of the four storage types, parts of vectors at an array's end.
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
template <typename V>
constexpr int kLanesOf = static_cast<int>(sizeof(V) / sizeof(Element<V>));

HUD_HD Float32s load_lanes(const float* p) {
  Float32s v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
HUD_HD Float64s load_lanes(const double* p) {
  Float64s v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
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
#else
  return __builtin_convertvector(bits, HalfBits);
#endif
}
HUD_HD Float32s load_lanes(const BFloat16* p) {
  HalfBits bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return from_bfloat16<Float32s>(widen(bits));
}
HUD_HD Float32s load_lanes(const Float16* p) {
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

HUD_HD void store_lanes(float* p, Float32s v) { __builtin_memcpy(p, &v, sizeof v); }
HUD_HD void store_lanes(double* p, Float64s v) { __builtin_memcpy(p, &v, sizeof v); }
HUD_HD void store_lanes(BFloat16* p, Float32s v) {
  const HalfBits bits = narrow(to_bfloat16(v));
  __builtin_memcpy(p, &bits, sizeof bits);
}
HUD_HD void store_lanes(Float16* p, Float32s v) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif HUD_VECTOR_BYTES == 32 && defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  const HalfBits bits = narrow(to_float16(v));
  __builtin_memcpy(p, &bits, sizeof bits);
#endif
}

// Writes a vector past the caches where it is whole lines of memory; `p` is aligned to a vector.
template <typename V, typename S>
HUD_HD void stream_lanes(S* p, V v) {
#if defined(__AVX512F__) && HUD_VECTOR_BYTES == 64
  if constexpr (sizeof(S) == sizeof(Element<V>)) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), bits_to<__m512i>(v));
    return;
  }
#elif defined(__AVX2__) && HUD_VECTOR_BYTES == 32
  if constexpr (sizeof(S) == sizeof(Element<V>)) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), bits_to<__m256i>(v));
    return;
  }
#endif
  store_lanes(p, v);
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

// The first n lanes, n less than a vector; the rest are 0.
template <typename S>
HUD_HD VectorOf<S> load_part(const S* p, int64_t n) {
  S buffer[kLanesOf<VectorOf<S>>] = {};
  __builtin_memcpy(buffer, p, static_cast<size_t>(n) * sizeof(S));
  return load_lanes(buffer);
}
template <typename S>
HUD_HD void store_part(S* p, VectorOf<S> v, int64_t n) {
  S buffer[kLanesOf<VectorOf<S>>];
  store_lanes(buffer, v);
  __builtin_memcpy(p, buffer, static_cast<size_t>(n) * sizeof(S));
}

HUD_CORE_END

#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
#include "common/elementary_avx512.h"
#elif HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
#include "common/elementary_avx2.h"
#endif
