// bfloat16 and float16 as storage: exact on the way to float, rounded to nearest even on the way
// back. Integer arithmetic that serves numbers and vectors; F is float or a vector of it, the bits
// come as 32-bit integers of its shape.
#pragma once

#include "common/elementary.h"

HUD_CORE_BEGIN

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

template <typename F>
HUD_HD F from_bfloat16(BitsOf<F> bits) {
  return bits_to<F>(bits << 16);
}

template <typename F>
HUD_HD BitsOf<F> to_bfloat16(F value) {
  using U = BitsOf<F>;
  const U bits = bits_to<U>(value);
  const U rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const U quiet = (bits >> 16) | 0x40U;  // rounding could carry a NaN into an infinity
  return value == value ? rounded : quiet;
}

template <typename F>
HUD_HD F from_float16(BitsOf<F> bits) {
  using U = BitsOf<F>;
  const U magnitude = (bits & 0x7fffU) << 13;
  // The exponent's bias goes from 15 to 127 by a multiplication, which is right for subnormals too.
  const U scaled = bits_to<U>(bits_to<F>(magnitude) * 5.192296858534828e+33f);  // 2^112
  const U infinite = scaled | 0x7f800000U;
  const U least_infinite = U{} + (0x7c00U << 13);
  const U kept = magnitude < least_infinite ? scaled : infinite;
  return bits_to<F>(kept | ((bits & 0x8000U) << 16));
}

template <typename F>
HUD_HD BitsOf<F> to_float16(F value) {
  using U = BitsOf<F>;
  const U bits = bits_to<U>(value);
  const U magnitude = bits & 0x7fffffffU;
  const U normal = (magnitude - (112U << 23) + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  // Below 2^-14 the unit is 2^-24, half a unit of 0.5's last place: adding 0.5 rounds there.
  const U small = bits_to<U>(bits_to<F>(magnitude) + 0.5f) - 0x3f000000U;
  const U infinite = U{} + 0x7c00U, quiet = U{} + 0x7e00U;
  const U least_normal = U{} + (113U << 23);
  const U least_infinite = U{} + 0x477ff000U;  // 65520: halfway past the largest
  U result = magnitude < least_normal ? small : normal;
  result = magnitude >= least_infinite ? infinite : result;
  result = value == value ? result : quiet;
  return result | ((bits >> 16) & 0x8000U);
}

HUD_CORE_END
