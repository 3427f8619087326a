// Sums over every window of an image.
#pragma once

#include <vector>

#include "windows/plan.h"

namespace hud {

// (H, W) -> (rows, columns) in float64, by doubling: sums of 1, 2, 4 ... neighbours put together as
// the block's side in binary says. Only additions, so nothing cancels beside a very bright pixel.
std::vector<double> window_sums(const std::vector<double>& image, const WindowShape& shape,
                                int threads);

}  // namespace hud
