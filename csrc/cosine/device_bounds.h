// How far the tensor cores' float16 pass may be off, and what follows for pruning.
//
// For unit rows the largest cosine is the smallest distance D, D^2 = 2 - 2 cos. Keys a (see
// cosine/keys.h) bound it, L <= D, D^2 <= L^2 + 4 rho_u rho_q with L = |a_u - a_q|; what is
// stored is a~, and |L~ - L| <= eta for both sides together. The pass works with float16 operands
// that are centred on the reference tile's centre c and scaled with S = 2^13:
//
//   w = fl16(S (a~_u - c)),   v = fl16(S (a~_q - c)),
//
// and L^ = |v - w| / S is the distance it speaks of. By the triangle inequality |L^ - L~| is at
// most
//   delta_u = |w / S - (a~_u - c)|: found in float64 while the tile is packed, its largest kept;
//   delta_q = |v / S - (a~_q - c)| <= 2^-11 1.01 |v| / S + sqrt(K) 2^-24 / S:
// float16 is off by 2^-11 of the rounded number, or 2^-25 where it is subnormal; the float32
// difference before it by 2^-24. |a~ - c| <= 4 in each coordinate, so S times it stays below 2^15
// and never overflows.
//
// The sum is acc = -|w|^2 / 2 + <w, v>, so that |v|^2 - 2 acc = |v - w|^2. Products of float16 are
// exact in float32. Every term and every partial sum is at most M = |w| |v| + |w|^2 / 2. A tensor
// core adds n terms and the accumulator at once, cutting each to 24 bits of the largest and the sum
// to float32: at most (n + 2) 2^-23 M a time, hence K (n + 2) / n 2^-23 M in all, <= 1.5 K 2^-23 M
// for n = 4, less for n = 8 or 16, and for sums that round one by one. The bias is rounded once:
// 2^-24 M. Taken here: (K + 16) 2^-22 M. |v|^2, summed in float32, and the difference are off by
// (K + 16) 2^-23 |v|^2 at most. So |v|^2 - 2 acc as computed is off by at most
//
//   E = (K + 16) 2^-22 (2 M + |v|^2).
//
// Bounds are worked out in float32; whatever that rounds is covered by factors 1 + 2^-20, which are
// far below float16's own 2^-11.
#pragma once

#include "common/platform.h"

HUD_CORE_BEGIN

constexpr float kScale = 8192.0f;
constexpr float kNoRow = -1e30f;  // bias of a lane without a row: below every score
constexpr float kUp = 1.0f + 9.5367431640625e-07f;  // 1 + 2^-20
constexpr float kFar = 3.0f;                        // more than two unit rows can be apart

// On the device within 2^-23 of the root (PTX ISA, sqrt.approx), which the factors 1 + 2^-20 cover.
HUD_HD float root(float v) {
#ifdef __CUDA_ARCH__
  float r;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#else
  return __builtin_sqrtf(v);
#endif
}

// The float64 cosine is off by this at most, and so is the square of rho.
HUD_HD float cosine_rounding(int64_t bands) { return 4e-16f * static_cast<float>(bands + 8); }

// eta: rounding of the keys, |a| <= 3 on both sides, of the rest's length beyond the tested
// coordinates, and of rho, which is the root of a difference.
HUD_HD float key_error(int64_t bands) {
  return (2.02f * 5.9604645e-08f * 6.0f + 2.0f * root(cosine_rounding(bands))) * kUp;
}

// Rows within this distance may win or tie: `squared` bounds the smallest squared distance.
HUD_HD float reach_of(float squared, int64_t bands) {
  return root(squared + cosine_rounding(bands) + 1e-13f) * kUp;
}

// Squared distances of boxes above this are passed over: room for the float32 sum of the test.
HUD_HD float box_limit(float reach, float eta) {
  return reach < 0 ? -1.0f : (reach + eta) * (reach + eta) * (1.0f + 4e-6f);
}

// What a reference tile's bounds need.
struct TileBounds {
  float delta;   // largest delta_u
  float length;  // largest |w|
  float rest;    // largest rho
};

// What is known of one query beside one reference tile.
struct PassBounds {
  float error;  // E
  float apart;  // delta_u + delta_q + eta
};

HUD_HD PassBounds pass_bounds(float square, const TileBounds& tile, float eta, int depth) {
  const float length = root(square), k = static_cast<float>(depth + 16);
  const float most = tile.length * length + 0.5f * tile.length * tile.length;
  PassBounds b;
  b.error = k * 2.3841858e-07f * (2.0f * most + square) * kUp;
  const float delta = 4.8828125e-04f * 1.01f * length + root(k) * 5.9604645e-08f;
  b.apart = (delta * (1.0f / kScale) + tile.delta + eta) * kUp;
  return b;
}

// Upper bound of the squared distance to the row of a score; `gap` is 4 rho_u rho_q.
HUD_HD float distance_at_most(float square, float score, const PassBounds& b, float gap) {
  const float seen = square - 2.0f * score + b.error;
  const float apart = root(seen > 0 ? seen : 0.0f) * (1.0f / kScale) * kUp + b.apart;
  return (apart * apart + gap) * kUp;
}

// Scores below this cannot win nor tie.
HUD_HD float score_at_least(float square, float reach, const PassBounds& b) {
  const float away = (reach + b.apart) * kScale;
  const float squared = away * away;
  return 0.5f * (square - squared - b.error) - 2e-6f * (square + squared);
}

HUD_CORE_END
