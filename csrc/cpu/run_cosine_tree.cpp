// Searches of the tree: keys, the order of the queries, tiles to threads, and whether pruning pays.
#include <algorithm>
#include <array>
#include <vector>

#include "cpu/cosine_index.h"
#include "cpu/dispatch.h"
#include "cpu/parallel.h"
#include "cpu/run.h"

namespace hud {
namespace {

constexpr int64_t kRowGrain = 1024;
constexpr int64_t kTileGrain = 8;
constexpr int kMortonDims = 4;

// Spreads 8 bits so that three zeros follow each.
uint32_t spread(uint32_t v) {
  v = (v | (v << 12)) & 0x000F000Fu;
  v = (v | (v << 6)) & 0x03030303u;
  return (v | (v << 3)) & 0x11111111u;
}

// Sorts by the upper halves, least significant digit first; stable.
void radix_sort(std::vector<uint64_t>& items) {
  constexpr int kBits = 11, kSize = 1 << kBits;
  std::vector<uint64_t> other(items.size());
  std::vector<uint32_t> start(kSize);
  for (int shift = 32; shift < 64; shift += kBits) {
    std::fill(start.begin(), start.end(), 0u);
    for (const uint64_t item : items) ++start[(item >> shift) & (kSize - 1)];
    uint32_t sum = 0;
    for (uint32_t& s : start) {
      const uint32_t size = s;
      s = sum;
      sum += size;
    }
    for (const uint64_t item : items) other[start[(item >> shift) & (kSize - 1)]++] = item;
    items.swap(other);
  }
}

// Cycles per tile of kTreeQueries, for the choice only; measured on Zen 4, the ratios hold
// elsewhere to within a factor that the choice survives.
double pruned_cost(const TreeJob& job, const TreeWork& work) {
  const double test = 4.0 * static_cast<double>(job.key_dims) + 60;
  const double dims = static_cast<double>(job.leaf_dims);
  const double memory = job.all_bands ? 2.0 : 1.0;  // leaves of all bands come from DRAM
  return test * static_cast<double>(work.nodes + work.leaves) +
         memory * 24.0 * dims * static_cast<double>(work.panels) +
         memory * (5.0 * dims + 30) * static_cast<double>(work.single) +
         (static_cast<double>(job.bands) + 200) * static_cast<double>(work.exact);
}

double brute_cost(const TreeJob& job) {
  return 24.0 * static_cast<double>(job.bands) * static_cast<double>(job.leaves);
}

}  // namespace

void run_keys(const KeyJob& job, int64_t count, int threads) {
  const KernelTable& k = active_kernels();
  const int64_t size = k.key_workspace(job) + 8;
  std::vector<double> workspace(static_cast<size_t>(size * parallel_pieces(threads)));
  parallel_ranges(count, kRowGrain, threads, [&](int piece, int64_t begin, int64_t end) {
    k.keys(job, begin, end, workspace.data() + piece * size);
  });
}

void run_mean(const void* rows, bool is_float32, int64_t count, int64_t bands,
              const double* inverse, double* mean, int threads) {
  const KernelTable& k = active_kernels();
  const int64_t pieces = parallel_pieces(threads);
  std::vector<double> sums(static_cast<size_t>(pieces * bands), 0.0);
  parallel_ranges(count, kRowGrain, threads, [&](int piece, int64_t begin, int64_t end) {
    k.row_sum(rows, is_float32, bands, inverse, sums.data() + piece * bands, begin, end);
  });
  const int64_t used = std::count_if(inverse, inverse + count, [](double v) { return v > 0; });
  for (int64_t c = 0; c < bands; ++c) {
    double sum = 0;
    for (int64_t piece = 0; piece < pieces; ++piece)
      sum += sums[static_cast<size_t>(piece * bands + c)];
    mean[c] = sum / static_cast<double>(std::max<int64_t>(used, 1));
  }
}

int64_t tree_order(const float* keys, int64_t count, int64_t stride, int64_t dims,
                   const double* inverse, const float* low, const float* high, int32_t* order,
                   int threads) {
  const int64_t leading = std::min<int64_t>(dims, kMortonDims);
  std::array<float, kMortonDims> scale = {};
  for (int64_t k = 0; k < leading; ++k)
    scale[static_cast<size_t>(k)] = high[k] > low[k] ? 256 / (high[k] - low[k]) : 0.0f;
  std::vector<uint64_t> items(static_cast<size_t>(count));
  parallel_ranges(count, 65536, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      uint32_t code = 0;
      for (int64_t k = 0; k < leading; ++k) {
        const float place = (keys[i * stride + k] - low[k]) * scale[static_cast<size_t>(k)];
        const float cut = std::min(std::max(place, 0.0f), 255.0f);
        code |= spread(static_cast<uint32_t>(cut)) << (kMortonDims - 1 - k);
      }
      items[static_cast<size_t>(i)] = static_cast<uint64_t>(code) << 32 | static_cast<uint64_t>(i);
    }
  });
  items.erase(std::remove_if(items.begin(), items.end(),
                             [&](uint64_t item) { return !(inverse[item & 0xFFFFFFFFu] > 0); }),
              items.end());
  radix_sort(items);
  for (size_t i = 0; i < items.size(); ++i) order[i] = static_cast<int32_t>(items[i]);
  return static_cast<int64_t>(items.size());
}

bool run_tree(const TreeJob& job, bool probe, int threads, TreeWork* work) {
  const KernelTable& k = active_kernels();
  const int64_t tiles = (job.count + kTreeQueries - 1) / kTreeQueries;
  const int64_t pieces = parallel_pieces(threads);
  const int64_t size = (k.tree_workspace(job) + 127) / 64 * 8;
  std::vector<double> workspace(static_cast<size_t>(size * pieces));
  if (probe && tiles > 0) {
    // Tiles spread over the order stand for all; what they find is overwritten with the same bits.
    const int64_t tried = std::min<int64_t>(tiles, 16);
    TreeWork seen = {};
    for (int64_t n = 0; n < tried; ++n) {
      const int64_t tile = tiles * n / tried;
      k.tree_search(job, tile, tile + 1, workspace.data(), &seen);
      if (pruned_cost(job, seen) > 2.0 * static_cast<double>(tried) * brute_cost(job)) return false;
    }
    if (pruned_cost(job, seen) > 0.9 * static_cast<double>(tried) * brute_cost(job)) return false;
  }
  std::vector<TreeWork> done(static_cast<size_t>(pieces));
  parallel_ranges(tiles, kTileGrain, threads, [&](int piece, int64_t begin, int64_t end) {
    k.tree_search(job, begin, end, workspace.data() + piece * size,
                  &done[static_cast<size_t>(piece)]);
  });
  for (const TreeWork& w : done) {
    work->nodes += w.nodes;
    work->leaves += w.leaves;
    work->panels += w.panels;
    work->single += w.single;
    work->exact += w.exact;
  }
  return true;
}

}  // namespace hud
