#include "cpu/run.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace hud {
namespace {

constexpr int64_t kRowGrain = 1024;

}  // namespace

namespace {

// (B, h, w, K) unit rows to (groups, h, w, K, kBlocks); spare lanes stay zero.
std::vector<float> pack_blocks(const WindowSearch& s, const std::vector<float>& rows) {
  const int64_t groups = (s.count + kBlocks - 1) / kBlocks;
  const int64_t values = s.block_height * s.block_width * s.channels;
  std::vector<float> packed(static_cast<size_t>(groups * values * kBlocks), 0.0f);
  for (int64_t b = 0; b < s.count; ++b) {
    float* to = packed.data() + (b / kBlocks) * values * kBlocks + b % kBlocks;
    const float* from = rows.data() + b * values;
    for (int64_t i = 0; i < values; ++i) to[i * kBlocks] = from[i];
  }
  return packed;
}

// The float64 score of one block at one window, from the inputs themselves.
template <typename T>
double exact_window(const WindowSearch& s, int64_t block, int64_t y, int64_t x) {
  const T* scene = static_cast<const T*>(s.scene);
  const T* blocks = static_cast<const T*>(s.blocks);
  double total = 0;
  for (int64_t dy = 0; dy < s.block_height; ++dy) {
    for (int64_t dx = 0; dx < s.block_width; ++dx) {
      const int64_t pixel = (y + dy) * s.width + x + dx;
      const int64_t other = (block * s.block_height + dy) * s.block_width + dx;
      const double factor = s.scene_factor[pixel] * s.block_factor[other];
      if (!(factor != 0)) continue;
      double sum = 0;
      for (int64_t k = 0; k < s.channels; ++k)
        sum += static_cast<double>(scene[pixel * s.channels + k]) *
               static_cast<double>(blocks[other * s.channels + k]);
      total += sum * factor;
    }
  }
  return total;
}

}  // namespace

void run_window_search(const WindowSearch& s, int threads) {
  const KernelTable& k = active_kernels();
  const int64_t pixels = s.height * s.width;
  const int64_t block_pixels = s.count * s.block_height * s.block_width;
  std::vector<float> scene(static_cast<size_t>(pixels * s.channels)),
      rows(static_cast<size_t>(block_pixels * s.channels));
  parallel_ranges(pixels, kRowGrain, threads, [&](int, int64_t begin, int64_t end) {
    k.unit_rows(s.scene, s.is_float32, s.channels, s.scene_factor, scene.data(), begin, end);
  });
  parallel_ranges(block_pixels, kRowGrain, threads, [&](int, int64_t begin, int64_t end) {
    k.unit_rows(s.blocks, s.is_float32, s.channels, s.block_factor, rows.data(), begin, end);
  });
  const std::vector<float> packed = pack_blocks(s, rows);
  WindowJob job = {};
  job.scene = scene.data();
  job.blocks = packed.data();
  job.window_scale = s.window_scale;
  job.height = s.height;
  job.width = s.width;
  job.channels = s.channels;
  job.block_height = s.block_height;
  job.block_width = s.block_width;
  job.rows = (s.height - s.block_height) / s.stride + 1;
  job.columns = (s.width - s.block_width) / s.stride + 1;
  job.stride = s.stride;
  job.margin = s.margin;

  // One task is one row of window positions for one group of blocks; pieces keep their own lists.
  const int64_t groups = (s.count + kBlocks - 1) / kBlocks;
  const int64_t pieces = parallel_pieces(threads);
  CandidateList empty = {};
  empty.best = -std::numeric_limits<double>::infinity();
  std::vector<CandidateList> lists(static_cast<size_t>(pieces * groups * kBlocks), empty);
  parallel_ranges(groups * job.rows, 1, threads, [&](int piece, int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end;) {
      const int64_t group = task / job.rows;
      const int64_t stop = std::min(end, (group + 1) * job.rows);
      k.window_search(job, group, task - group * job.rows, stop - group * job.rows,
                      lists.data() + (piece * groups + group) * kBlocks);
      task = stop;
    }
  });

  parallel_ranges(s.count, 1, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      double best = -std::numeric_limits<double>::infinity();
      for (int64_t piece = 0; piece < pieces; ++piece)
        best = std::max(best, lists[piece * groups * kBlocks + block].best);
      std::vector<std::pair<double, int64_t>> candidates;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const CandidateList& list = lists[piece * groups * kBlocks + block];
        for (int64_t i = 0; i < list.count; ++i)
          if (list.score[i] >= best - s.margin)
            candidates.emplace_back(list.score[i], list.position[i]);
      }
      if (candidates.size() > kCandidates) {  // as one piece would have kept
        std::sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
          return ahead(a.first, a.second, b.first, b.second);
        });
        candidates.resize(kCandidates);
      }
      double exact = std::numeric_limits<double>::quiet_NaN();
      int64_t found = -1;
      for (const auto& [score, position] : candidates) {
        const int64_t y = position / job.columns * s.stride, x = position % job.columns * s.stride;
        const double sum = s.is_float32 ? exact_window<float>(s, block, y, x)
                                        : exact_window<double>(s, block, y, x);
        const double value = sum * s.window_scale[position] * s.block_scale[block];
        if (found < 0 || value > exact || (value == exact && position < found)) {
          exact = value;
          found = position;
        }
      }
      s.value[block] = exact;
      s.position[2 * block] = found < 0 ? -1 : found / job.columns * s.stride;
      s.position[2 * block + 1] = found < 0 ? -1 : found % job.columns * s.stride;
    }
  });
}

}  // namespace hud
