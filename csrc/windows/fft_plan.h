// What a Fourier transform is made of: shared by those of lane_fft.h and of block_fft.h.
#pragma once

#include <cstdint>

namespace hud {

// A mixed-radix transform of `length` points. Twiddles lie stage by stage, for p < m and
// 0 < j < radix: cos and sin of 2 pi p j / n, with n the length left and m = n / radix.
struct FftPlan {
  int64_t length;
  int32_t stages;
  int32_t radix[32];
  const void* twiddle;
};

struct alignas(8) Complex {
  float re, im;
};

}  // namespace hud
