// What the loops of the network's layers take. Maps are float32 and channels last; counts of
// channels are multiples of `kChannels`, so that every level's vectors are whole.
#pragma once

#include <cstdint>

namespace hud {

constexpr int64_t kChannels = 16;
constexpr int64_t kMostChannels = 2048;  // of a normalised map

// A convolution: 3 x 3, stride 1, zeros beyond the edges; from C to K channels.
struct ConvJob {
  int64_t images, rows, columns;  // N, H, W
  int64_t in, out;                // C, K
  int64_t tile_rows, tile_columns;
  int64_t tiles() const { return images * tile_rows * tile_columns; }
};
constexpr int64_t kTileSide = 4;
constexpr int64_t kFrequencies = 36;
constexpr int64_t kTileBlock = 48;  // tiles that are transformed and multiplied together

// Transformed tiles and weights are 36 planes, set apart by a line of memory: planes of a round
// size would meet in the same few lines of the cache.
constexpr int64_t plane_of(int64_t rows, int64_t columns) { return rows * columns + 16; }

// Values of scratch that a thread takes.
constexpr int64_t conv_scratch(int64_t C, int64_t K) {
  return (C < K ? K : C) + kFrequencies * (plane_of(kTileBlock, C) + plane_of(kTileBlock, K));
}

// Group normalisation and SiLU: y = h sigmoid(h), h = (x' gamma + beta) (1 + scale) + shift, with
// x' the normalised x and scale, shift of each image and channel.
struct NormJob {
  int64_t images, pixels, channels, groups;
  const float* x;      // (N, P, C)
  const float* gamma;  // (C)
  const float* beta;   // (C)
  const float* told;   // (N, 2 C), scale and shift; null: zeros
  double eps;
  float* moments;  // (N, 2, G): mean and 1 / standard deviation
};

}  // namespace hud
