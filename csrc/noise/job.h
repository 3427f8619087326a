// What the noise's loop on the CPU takes.
#pragma once

#include <cstdint>

namespace hud {

// out = z_factor z + e_factor e + noise_factor n for each of a batch's samples of `count` values.
struct NoiseJob {
  const void* z;  // null: left out, as e
  const void* e;
  const void* noise;  // null: drawn, or left out
  bool draw;
  void* out;
  void* noise_out;  // null, or where the noise goes too
  const double* z_factor;
  const double* e_factor;
  const double* noise_factor;  // (samples), each of the three
  int64_t samples, count;
  uint64_t seed, first;  // the first sample's index
  uint32_t step;
};
constexpr int64_t kNoiseItem = 64;  // values of one work item

}  // namespace hud
