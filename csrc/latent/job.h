// What the latent space's loops on the CPU take.
#pragma once

#include <cstdint>

namespace hud {

// Parameters named mean, std and inverse lie as float, or as double beside double values.
struct StandardizeJob {
  const void* a;        // x, or the gradient
  const void* b;        // x beside a gradient, else as `a`
  void* out;            // all (outer, D, inner) contiguous
  const void* mean;     // (D), then again and again up to parameter_count(D)
  const void* inverse;  // 1 / std, laid out as `mean`
  int64_t D, inner;
  double delta;
  bool past;  // the caches, where `out` is written
};
// Rows of up to so many values are worked on a vector's worth of rows together.
constexpr int64_t kLongestTogether = 4096;
constexpr int64_t parameter_count(int64_t D) { return D > kLongestTogether ? D + 16 : D * 16; }
struct StandardizedSoftmaxJob {
  const void* a;  // z, or the gradient
  const void* b;  // null, or the softmax's output beside a gradient
  void* out;
  const void* mean;  // (D)
  const void* std;   // (D)
  int64_t D, inner;
  bool past;
};
struct DecodeJob {
  const void* z;           // (outer, D, inner)
  const void* mean;        // (D)
  const void* std;         // (D)
  const void* endmembers;  // (D, padded): zeros beyond the bands
  void* out;               // (outer, inner, bands)
  int64_t D, inner, bands, padded;
  bool past;  // the caches, where `out` is written
};
constexpr int64_t kDecodeLongest = 256;  // largest D that softmax_decode takes

}  // namespace hud
