// How a window search is done: direct or by transforms, and with tiles of which size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "windows/job.h"

namespace hud {

struct WindowShape {
  int64_t height, width, channels, block_height, block_width, stride;
  int64_t rows() const { return (height - block_height) / stride + 1; }
  int64_t columns() const { return (width - block_width) / stride + 1; }
};

struct WindowOptions {
  int path = 0;                            // 0 the cheaper one, 1 direct, 2 by transforms
  int64_t tile_down = 0, tile_across = 0;  // 0 chooses; else forced
  int64_t memory_limit = 0;                // bytes of scratch; 0 = no limit
};

struct WindowPlan {
  bool transforms = false;
  int64_t down = 1, across = 1;              // pixels of a tile
  int64_t steps_down = 1, steps_across = 1;  // positions of a tile
  int64_t tiles_down = 1, tiles_across = 1;
  double cost = 0;    // for one group of blocks, in vector operations
  int64_t bytes = 0;  // the least scratch that one thread can do with
  int64_t pairs() const { return (tiles_down * tiles_across + 1) / 2; }
};

// Scratch of a plan, in parts. `scalar` is the size of a float or a double.
int64_t map_bytes(const WindowShape& shape, const WindowPlan& plan, int64_t scalar);
int64_t group_bytes(const WindowShape& shape, const WindowPlan& plan, int64_t vector_bytes);
int64_t pair_bytes(const WindowShape& shape, const WindowPlan& plan, int64_t scalar);

// The cheapest plan that fits into the limit; throws std::length_error where none does.
WindowPlan choose_plan(const WindowShape& shape, const WindowOptions& options,
                       int64_t vector_bytes);

// The least limit that a plan fits into.
int64_t least_bytes(const WindowShape& shape, const WindowOptions& options, int64_t vector_bytes);

// The stages of a transform and its twiddles as doubles; false for a length with a factor other
// than 2, 3 and 5.
bool make_fft(int64_t length, FftPlan& plan, std::vector<double>& twiddle);

}  // namespace hud
