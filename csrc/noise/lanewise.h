// noise/philox.h's vector operations.
#pragma once

#include "common/vector.h"
#include "noise/philox.h"

#if !defined(__AVX2__) && defined(__SSE2__)
#include <emmintrin.h>
#endif

HUD_CORE_BEGIN

template <>
struct Lanewise<Float32s> {
  static constexpr int kParts = 2;  // even lanes, odd lanes
  using Wide = Bits64s;
  static HUD_HD Wide part(Bits32s a, int odd) { return bits_to<Bits64s>(a) >> (32 * odd); }
  static HUD_HD Bits32s join(const Wide* parts) {
    const Bits32s even = bits_to<Bits32s>(parts[0]), odd = bits_to<Bits32s>(parts[1] << 32);
    Bits64s lower = Bits64s{} + 0xffffffffULL;
    const Bits32s mask = bits_to<Bits32s>(lower);
    return (even & mask) | odd;
  }
  static HUD_HD Float32s from_unsigned(Bits32s a) { return __builtin_convertvector(a, Float32s); }
  static HUD_HD Float32s from_signed(Bits32s a) {
    typedef int32_t Signed32s __attribute__((vector_size(HUD_VECTOR_BYTES)));
    return __builtin_convertvector(bits_to<Signed32s>(a), Float32s);
  }
  static HUD_HD Float32s root(Float32s a) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return _mm512_sqrt_ps(a);
#elif HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
    return _mm256_sqrt_ps(a);
#elif HUD_VECTOR_BYTES == 16 && defined(__SSE2__)
    return _mm_sqrt_ps(a);
#else
    Float32s r;
    for (int l = 0; l < kWidth<float>; ++l) r[l] = __builtin_sqrtf(a[l]);
    return r;
#endif
  }

  // The lower halves of a's 64-bit lanes times b.
  static HUD_HD Wide product(Wide a, uint32_t b) {
#if HUD_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return bits_to<Bits64s>(
        _mm512_mul_epu32(bits_to<__m512i>(a), _mm512_set1_epi64(static_cast<int64_t>(b))));
#elif HUD_VECTOR_BYTES == 32 && defined(__AVX2__)
    return bits_to<Bits64s>(
        _mm256_mul_epu32(bits_to<__m256i>(a), _mm256_set1_epi64x(static_cast<int64_t>(b))));
#elif HUD_VECTOR_BYTES == 16 && defined(__SSE2__)
    return bits_to<Bits64s>(
        _mm_mul_epu32(bits_to<__m128i>(a), _mm_set1_epi64x(static_cast<int64_t>(b))));
#else
    return (a & 0xffffffffULL) * static_cast<uint64_t>(b);
#endif
  }
};

HUD_CORE_END
