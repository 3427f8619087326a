#include "windows/sums.h"

#include <algorithm>

#include "common/parallel.h"

namespace hud {
namespace {

// Sums of `side` values down columns [begin, end) of an (H, W) image, for every row that starts
// one; `image` is used up.
void sum_down(double* image, double* sum, int64_t H, int64_t W, int64_t side, int64_t begin,
              int64_t end) {
  const int64_t rows = H - side + 1;
  int64_t offset = 0;
  for (int64_t n = 1; n <= side; n *= 2) {
    if (side & n) {
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = begin; x < end; ++x) sum[y * W + x] += image[(y + offset) * W + x];
      offset += n;
    }
    for (int64_t y = 0; y + n < H; ++y)
      for (int64_t x = begin; x < end; ++x) image[y * W + x] += image[(y + n) * W + x];
  }
}

// The same along one row.
void sum_across(double* row, double* sum, int64_t W, int64_t side) {
  int64_t offset = 0;
  for (int64_t n = 1; n <= side; n *= 2) {
    if (side & n) {
      for (int64_t x = 0; x + side <= W; ++x) sum[x] += row[x + offset];
      offset += n;
    }
    for (int64_t x = 0; x + n < W; ++x) row[x] += row[x + n];
  }
}

}  // namespace

std::vector<double> window_sums(const std::vector<double>& image, const WindowShape& shape,
                                int threads) {
  const int64_t H = shape.height, W = shape.width, rows = shape.rows(), columns = shape.columns();
  std::vector<double> used = image, tall(static_cast<size_t>(H * W), 0.0);
  parallel_ranges(W, 256, threads, [&](int, int64_t begin, int64_t end) {
    sum_down(used.data(), tall.data(), H, W, shape.block_height, begin, end);
  });
  std::vector<double> out(static_cast<size_t>(rows * columns));
  parallel_ranges(rows, 16, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(W));
    for (int64_t y = begin; y < end; ++y) {
      std::fill(sum.begin(), sum.end(), 0.0);
      sum_across(tall.data() + y * shape.stride * W, sum.data(), W, shape.block_width);
      for (int64_t x = 0; x < columns; ++x) out[y * columns + x] = sum[x * shape.stride];
    }
  });
  return out;
}

}  // namespace hud
