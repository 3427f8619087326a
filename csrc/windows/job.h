// What the window search's loops take and keep: plain structures shared by the runner (compiled
// once) and the kernels (compiled once per level).
//
// Pointers named `void` hold float or double, as the entry's suffix says.
#pragma once

#include <cstdint>

#include "windows/fft_plan.h"

namespace hud {

constexpr int kCandidates = 64;  // windows a block keeps for rescoring
constexpr int kPairs = 4;        // tile pairs multiplied with one read of the blocks' spectra

// Window positions that do not count for one block: rows [top, bottom), columns [left, right).
struct Apart {
  int64_t top, bottom, left, right;
};
static inline bool lies_in(const Apart& apart, int64_t row, int64_t column) {
  return row >= apart.top && row < apart.bottom && column >= apart.left && column < apart.right;
}

// One block's best windows so far: all whose upper bound reaches the best lower bound.
struct CandidateList {
  double least;      // the largest lower bound of any window's score
  double dropped;    // the largest upper bound of a window that found no place
  double widest;     // the largest distance between the two bounds of a window kept or dropped
  bool by_position;  // a full list keeps the lowest positions, not the highest bounds
  Apart apart;
  int64_t count;
  int64_t weakest;                // the entry of a full list that gives way first, or -1
  double most[kCandidates];       // upper bounds
  int64_t position[kCandidates];  // row * columns + column
};

// The scene, the size of the blocks, and how the scene is cut into tiles.
//
// Scene and blocks are centred: with m the mean pixel, n = m / |m| and a one number a block,
//     sum <u, q> = sum <u - m, q - a n>  +  a sum <u - m, n>  +  h w a |m|
// of which only the first sum needs a correlation, and its rounding is that of the spread about
// the mean.
struct WindowJob {
  const void* scene;  // (H, W, K) contiguous
  bool is_float32;
  const double* factor;     // (H, W): what a pixel is multiplied with; NaN = left out
  const double* mean;       // (K)
  const double* direction;  // (K): n
  double mean_length;       // |m|
  int64_t height, width, channels;
  int64_t block_height, block_width, stride;
  int64_t rows, columns;  // window positions

  // Tiles of across.length by down.length pixels, `steps` positions each; two real tiles make one
  // complex transform.
  FftPlan down, across;
  int64_t steps_down, steps_across;
  int64_t tiles_down, tiles_across;
  const int32_t* row_slot;     // (down.length): which position a row is, or -1
  const int32_t* column_slot;  // (across.length)
  const int32_t* identity;     // 0, 1, 2 ...
};

// Per position, in the order of the tiles: (tiles + 1, steps_down, steps_across), float or double.
// A window's score is (correlation + constant + a * along) * scale + hole.
struct WindowMaps {
  const void* along;  // sum <u - m, n>
  const void* scale;
  const void* hole;         // 0, or -inf where the window is left out
  const double* along_max;  // (pairs): largest |along|
};

// The blocks as they come.
struct BlockInput {
  const void* blocks;  // (B, h, w, K) contiguous
  bool is_float32;
  const double* factor;  // (B, h, w)
  const int64_t* which;  // (count): which of them are looked up
  int64_t count;
};

// A vector of blocks, centred, each scaled by a power of two.
struct BlockGroup {
  void* packed;      // (h, w, K, lanes)
  void* spectra;     // (across.length / 2 + 1, down.length, K, 2, lanes)
  double* along;     // (lanes): a
  double* norm;      // (lanes): |q - a n|
  double* constant;  // (lanes): h w a |m|, or 0 where all windows share one scale
  double* power;     // (lanes): what the block is multiplied with; 0 for a zero block
};

// Arrays of the direct correlation, per position of (rows, columns) except `scene`.
struct DirectMaps {
  const float* scene;  // (H, W, K): u - m
  const float* along;
  const float* scale;
  const float* hole;
  const float* norm;  // |u - m| over the window
};

struct SimilarityJob {
  const void* scene;   // (H, W, C) contiguous
  const void* blocks;  // (B, h, w, C) contiguous
  bool is_float32;     // both
  int64_t width, bands, block_height, block_width;
  bool per_pixel;  // the mean of pixels' cosines, else the cosine of blocks as one vector
};

struct ProjectJob {
  const void* rows;  // (n, C) contiguous
  bool is_float32;
  int64_t bands, rank, padded;  // C; columns of the basis; the same as a whole number of vectors
  const double* basis;          // (C, padded)
  double* keys;                 // (n, rank)
  double* square;               // (n): squared norms
};

// The order of candidates: the higher score, then the lower position.
static inline bool ahead(double score, int64_t position, double other_score,
                         int64_t other_position) {
  return score > other_score || (score == other_score && position < other_position);
}

// Scratch in vectors of the level's width.
static inline int64_t longest(const WindowJob& job) {
  return job.down.length > job.across.length ? job.down.length : job.across.length;
}
static inline int64_t tile_stride(const WindowJob& job) {  // padded: no two rows share a cache set
  return 2 * (job.across.length + 1);
}
static inline int64_t scene_work(const WindowJob& job) {
  return (job.down.length + 1) * tile_stride(job) + 6 * longest(job);
}
static inline int64_t block_work(const WindowJob& job) {
  const int64_t half = job.across.length / 2 + 1;
  return 2 * half * job.block_height + 2 * job.block_width + 6 * longest(job);
}
static inline int64_t correlate_work(const WindowJob& job, int64_t pairs) {
  return pairs * (4 * job.down.length + job.steps_down * tile_stride(job)) + 4 * job.steps_across +
         4 * longest(job);
}

}  // namespace hud
