// How a block search on the device is done: by transforms of which tiles, or window by window. The
// launchers, their emulation and the tests share it.
#pragma once

#include <cstdint>

#include "windows/device_job.h"
#include "windows/plan.h"

namespace hud {

struct TilePlan {
  bool transforms = false;
  int64_t down = 2, across = 2;              // pixels of a tile
  int64_t steps_down = 1, steps_across = 1;  // positions of a tile
  int64_t tiles_down = 1, tiles_across = 1;
  int64_t shared = 0;  // bytes that a group shares in the correlation
  double cost = 0;     // nanoseconds a block, roughly
  int64_t pairs() const { return (tiles_down * tiles_across + 1) / 2; }
};

// Bytes that a group shares for a tile of down x across points.
int64_t tile_bytes(int64_t down, int64_t across);

// The butterflies of the last stage of a tile's columns (there are `across` of each index), each
// with that of the mirrored frequencies: what a block's half spectrum serves.
std::vector<Fold> fold_butterflies(const FftPlan& down, const FftPlan& across);

// The cheapest plan whose tiles fit into `shared_limit` bytes. path: 0 the cheaper one, 1 window by
// window, 2 by transforms; tile_down and tile_across: 0 chooses, else forced. Throws
// std::length_error where transforms are asked for and none fits.
TilePlan choose_tiles(const WindowShape& shape, int64_t shared_limit, int path, int64_t tile_down,
                      int64_t tile_across);

}  // namespace hud
