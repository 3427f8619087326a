// One reference tile made ready for the pruned search: operands of the float16 pass in the order in
// which the lanes of a warp read them, and the bounds that go with them (device_bounds.h).
#pragma once

#include "common/mma.h"
#include "cosine/device_bounds.h"
#include "cosine/device_job.h"

HUD_CORE_BEGIN

struct PackShared {
  float centre[kMostDepth];
  float delta[kTile], length[kTile], rest[kTile];
  int32_t row[kTile];  // -1 where there is none, or it takes no part
};

HUD_HD float centred(const CosinePackJob& job, const PackShared& s, int row, int64_t k) {
  if (s.row[row] < 0 || k >= job.dims) return 0.0f;
  return (job.keys[s.row[row] * job.dims + k] - s.centre[k]) * kScale;
}

// Word `at` of a tile's operands: depth step, pair of eight columns, lane, register.
HUD_HD uint32_t operand_word(const CosinePackJob& job, const PackShared& s, int64_t at) {
  const int reg = static_cast<int>(at & 3), lane = static_cast<int>(at >> 2 & 31);
  const int block = static_cast<int>(at >> 7 & 7) * 2 + (reg >> 1);
  const int64_t first = (at >> 10) * kMmaDepth;
  const int i = (reg & 1) * 2, row = block * kMmaColumns + b_column(lane);
  return pack_halves(centred(job, s, row, first + b_depth(lane, i)),
                     centred(job, s, row, first + b_depth(lane, i + 1)));
}

// Lower and upper side of coordinate k over the tile's rows; the upper below the lower without any.
HUD_HD void sides(const float* from, int64_t width, int64_t k, const PackShared& s, float* lower,
                  float* upper) {
  *lower = __builtin_inff();
  *upper = -__builtin_inff();
  for (int i = 0; i < kTile; ++i) {
    if (s.row[i] < 0) continue;
    const float value = from[s.row[i] * width + k];
    *lower = value < *lower ? value : *lower;
    *upper = value > *upper ? value : *upper;
  }
}

// A group of kTile lanes.
template <typename Group>
HUD_HD void pack_tile(const Group& group, const CosinePackJob& job, int64_t tile, PackShared& s) {
  uint32_t* packed = job.packed + tile * tile_words(job.depth);
  float* centre = reinterpret_cast<float*>(packed + tile_operands(job.depth));
  float* bias = centre + job.depth;
  group.each([&](int lane) {
    const int32_t row = job.row[tile * kTile + lane];
    s.row[lane] = row >= 0 && job.inverse[row] > 0 ? row : -1;
  });
  group.each([&](int lane) {
    float lower, upper;
    for (int64_t k = lane; k < job.depth; k += kTile) {
      s.centre[k] = 0.0f;
      if (k < job.dims) sides(job.keys, job.dims, k, s, &lower, &upper);
      if (k < job.dims && lower <= upper) s.centre[k] = 0.5f * (lower + upper);
      centre[k] = s.centre[k];
    }
    for (int64_t k = lane; k < job.tested; k += kTile) {
      sides(job.tests, job.tested, k, s, &lower, &upper);
      job.boxes[(2 * k) * job.tiles + tile] = lower;
      job.boxes[(2 * k + 1) * job.tiles + tile] = upper;
    }
  });
  group.each([&](int lane) {
    double square = 0, off = 0;
    for (int64_t k = 0; k < job.dims && s.row[lane] >= 0; ++k) {
      const double w = static_cast<double>(low_half(pack_halves(centred(job, s, lane, k), 0.0f)));
      const double key = static_cast<double>(job.keys[s.row[lane] * job.dims + k]);
      const double apart = w / kScale - (key - static_cast<double>(s.centre[k]));
      square += w * w;
      off += apart * apart;
    }
    s.delta[lane] = root(static_cast<float>(off)) * kUp;
    s.length[lane] = root(static_cast<float>(square)) * kUp;
    s.rest[lane] = s.row[lane] >= 0 ? job.keys[s.row[lane] * job.dims + job.dims - 1] : 0.0f;
    reinterpret_cast<int32_t*>(bias + kTile + 4)[lane] = s.row[lane];
    bias[lane] = s.row[lane] >= 0 ? static_cast<float>(-0.5 * square) : kNoRow;
    for (int64_t at = lane; at < tile_operands(job.depth); at += kTile)
      packed[at] = operand_word(job, s, at);
  });
  group.each([&](int lane) {
    if (lane >= 4) return;
    const float* from = lane == 0 ? s.delta : (lane == 1 ? s.length : s.rest);
    float most = 0;
    for (int i = 0; i < kTile; ++i) most = from[i] > most ? from[i] : most;
    bias[kTile + lane] = most;
  });
}

HUD_CORE_END
