// What the block search's kernels for groups of threads take: plain structures that the launchers,
// the emulation and the kernels share. See device_tiles.h for what they mean.
#pragma once

#include <cstdint>

#include "windows/fft_plan.h"

namespace hud {

constexpr int kTileLanes = 256;  // threads that work on a tile together

// The best of some windows by float64 score; position -1 before the first.
struct BestWindow {
  double value;
  int64_t position;  // row * columns + column
};

// What a block was centred with and multiplied by.
struct BlockNumbers {
  double along;     // a
  double norm;      // |q - a n|, rounded up
  double constant;  // h w a |m|, or 0 where all windows share one scale
  double power;     // a power of two; 0 for a zero block
};

// Two butterflies of the columns' last stage whose frequencies mirror each other, or one that is
// its own mirror. `low`: 1 where all digits of the frequency but the last stage's are zero.
struct Fold {
  int32_t own, other, low;
};

// One chunk of blocks against a scene. With m the mean pixel, n = m / |m| and a one number a block,
//     sum <u, q> = sum <u - m, q - a n>  +  a sum <u - m, n>  +  h w a |m|
// (see windows/job.h).
struct TileJob {
  const void* scene;     // (H, W, K) contiguous
  bool is_float32;       // scene and blocks
  bool one_scale;        // all windows' sums are multiplied with one number
  const double* factor;  // (H, W): what a pixel is multiplied with; NaN = left out
  const double* centre;  // (2 K + 1): m, n, |m|
  int64_t height, width, channels;
  int64_t block_height, block_width, stride;
  int64_t rows, columns;  // window positions

  // Tiles of across.length by down.length pixels, `steps` positions each; two real tiles make one
  // complex transform.
  FftPlan down, across;
  int64_t steps_down, steps_across;
  int64_t tiles_down, tiles_across;
  int64_t folds;
  const Fold* fold;       // (folds)
  Complex* tile_spectra;  // pairs [first_pair, first_pair + pairs): (pairs, K, points)
  int64_t first_pair, pairs;
  double* square;       // (all pairs, K): |s|^2 of a pair's channel
  const float* size;    // (all pairs): |s|, rounded up
  const float* along;   // (rows, columns): sum <u - m, n>
  const float* scale;   // (rows, columns); NaN = left out
  const double* exact;  // (rows, columns): what an exact sum is multiplied with; NaN = left out

  const void* blocks;  // (count, h, w, K) contiguous
  int64_t count;
  const double* block_factor;  // (count, h, w)
  const double* block_scale;   // (count)
  BlockNumbers* numbers;       // (count)
  Complex* block_spectra;      // (count, K, points)

  // Every window whose upper bound reaches the best lower bound known at its time.
  uint32_t* least;    // (count): the best lower bound, as `ordered`
  int32_t* offered;   // (count): windows that asked for a place
  int64_t capacity;   // places of a block
  float* most;        // (count, capacity): upper bounds
  int64_t* position;  // (count, capacity)

  int32_t* again;     // (1 + count): how many blocks found their list too short, and which
  int32_t* scan;      // (1 + count): those whose every window gets a float64 score
  int32_t* how;       // (count): 1 where it was scanned
  int64_t pieces;     // of a scan
  BestWindow* piece;  // (count, pieces)

  double* value;           // (count)
  int64_t* best_position;  // (count, 2)
};

// What a pass leaves: blocks whose list was too short are looked up again with the best bound
// known from the start, and scanned window by window where even that is too much.
enum Settle { kAgain, kScan, kScanAll };

}  // namespace hud
