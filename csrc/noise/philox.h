// Noise without state: normal number e of sample i at step t of a seed is a function of (seed, i,
// t, e) and of nothing else.
//
// Philox 4x32 of 10 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3")
// turns a 128-bit counter and a 64-bit key into four 32-bit numbers: a bijection of the counter for
// each key, so that no two addresses share a draw. Counter: (block, step, sample low, sample high);
// key: seed low, seed high. Pairs of the numbers become pairs of normals by Box and Muller's
// transformation in float: the noise has float's resolution whatever it is added to, and reaches
// 6.7 standard deviations.
//
// The order is fixed for all machines: 16 neighbouring blocks make 64 normals, of which number 16 k
// + l is output k of block l.
#pragma once

#include "common/elementary.h"

HUD_CORE_BEGIN

constexpr int kNoiseGroup = 64;   // normals drawn together
constexpr int kNoiseBlocks = 16;  // Philox counters of a group

// What numbers and vectors do differently; noise/lanewise.h adds the vectors.
template <typename F>
struct Lanewise {
  using U = BitsOf<F>;
  // A number's 64-bit product, or those of a vector's even or odd lanes.
  static constexpr int kParts = 1;
  using Wide = uint64_t;
  static HUD_HD Wide part(U a, int) { return a; }
  static HUD_HD Wide product(Wide a, uint32_t b) { return (a & 0xffffffffU) * b; }
  static HUD_HD U join(const Wide* parts) { return static_cast<uint32_t>(parts[0]); }
  static HUD_HD F from_unsigned(U a) { return static_cast<F>(a); }
  static HUD_HD F from_signed(U a) { return static_cast<F>(static_cast<int32_t>(a)); }
  static HUD_HD F root(F a) { return __builtin_sqrtf(a); }
};

// Between its products a number lies in the lower half of 64 bits. The upper halves are never read:
// a product's lower half is a number of the next round where it lies.
template <typename F>
HUD_HD void philox(BitsOf<F>* c, uint32_t key_low, uint32_t key_high) {
  using Wide = typename Lanewise<F>::Wide;
  constexpr int P = Lanewise<F>::kParts;
  Wide w[4][P];
  for (int i = 0; i < 4; ++i)
    for (int p = 0; p < P; ++p) w[i][p] = Lanewise<F>::part(c[i], p);
  for (int round = 0; round < 10; ++round) {
    for (int p = 0; p < P; ++p) {
      const Wide product0 = Lanewise<F>::product(w[0][p], 0xD2511F53U);
      const Wide product1 = Lanewise<F>::product(w[2][p], 0xCD9E8D57U);
      w[0][p] = (product1 >> 32) ^ w[1][p] ^ uint64_t { key_low };
      w[1][p] = product1;
      w[2][p] = (product0 >> 32) ^ w[3][p] ^ uint64_t { key_high };
      w[3][p] = product0;
    }
    key_low += 0x9E3779B9U;
    key_high += 0xBB67AE85U;
  }
  for (int i = 0; i < 4; ++i) c[i] = Lanewise<F>::join(w[i]);
}

// Two normals from two uniform 32-bit numbers: radius from the first, angle from the second, whose
// upper two bits are the quadrant and whose rest is an angle in [-pi/4, pi/4).
template <typename F>
HUD_HD void box_muller(BitsOf<F> a, BitsOf<F> b, F& first, F& second) {
  using U = BitsOf<F>;
  const F uniform = Lanewise<F>::from_unsigned(a) * 2.3283064365386963e-10f +
                    1.1641532182693481e-10f;  // (a + 1/2) 2^-32: never 0
  const F square = -2.0f * Elementary<F>::log_positive(uniform);
  // A uniform that rounded to 1 may come out of the logarithm as -0 or just above.
  const F radius = Lanewise<F>::root(Elementary<F>::larger(square, F{}));
  const F t = Lanewise<F>::from_signed(b << 2) * 3.6572952e-10f;  // pi / 4 * 2^-31
  const F z = t * t;
  const F sine = t + (t * z) * (-1.6666667e-1f +
                                z * (8.3333333e-3f + z * (-1.9841270e-4f + z * 2.7557319e-6f)));
  const F cosine =
      (1.0f - 0.5f * z) +
      (z * z) * (4.1666667e-2f + z * (-1.3888889e-3f + z * (2.4801587e-5f + z * -2.7557319e-7f)));
  const U zero = U{}, odd = b & 0x40000000U;  // of the quadrant
  const F x = odd == zero ? cosine : sine;
  const F y = odd == zero ? sine : cosine;
  // (c, s), (-s, c), (-c, -s), (s, -c)
  const U sign_x = (b + 0x40000000U) & 0x80000000U;
  const U sign_y = b & 0x80000000U;
  first = radius * bits_to<F>(bits_to<U>(x) ^ sign_x);
  second = radius * bits_to<F>(bits_to<U>(y) ^ sign_y);
}

// The four normals of each lane's block.
template <typename F>
HUD_HD void normal_block(BitsOf<F> block, uint32_t step, uint64_t sample, uint64_t seed, F* out) {
  using U = BitsOf<F>;
  const U zero = U{};
  U c[4] = {block, zero + step, zero + static_cast<uint32_t>(sample),
            zero + static_cast<uint32_t>(sample >> 32)};
  philox<F>(c, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  box_muller<F>(c[0], c[1], out[0], out[1]);
  box_muller<F>(c[2], c[3], out[2], out[3]);
}

HUD_CORE_END
