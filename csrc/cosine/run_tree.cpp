// Searches of the tree: keys, the order of the queries, tiles to threads, and whether pruning pays.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "common/interrupt.h"
#include "common/parallel.h"
#include "cosine/run.h"

namespace hud {
namespace {

constexpr int64_t kRowGrain = 1024;
constexpr int64_t kTileGrain = 8;
constexpr int64_t kProbeTiles = 16;  // spread over the order, they stand for all

// A Morton order whose bits go to whichever coordinate is widest after the halvings so far, so that
// cells stay about cubic. Coordinates are cut at 2.5 standard deviations from their mean.
class CellCode {
 public:
  CellCode(const float* keys, int64_t count, int64_t stride, int64_t dims, const double* inverse)
      : keys_(keys), stride_(stride), dims_(std::min<int64_t>(dims, kCodeDims)) {
    std::array<double, kCodeDims> sum = {}, square = {}, width = {};
    double seen = 0;
    const int64_t step = std::max<int64_t>(1, count / 4096);
    for (int64_t i = 0; i < count; i += step) {
      if (!(inverse[i] > 0)) continue;
      ++seen;
      for (int64_t k = 0; k < dims_; ++k) {
        const double value = keys[i * stride + k];
        sum[static_cast<size_t>(k)] += value;
        square[static_cast<size_t>(k)] += value * value;
      }
    }
    for (size_t k = 0; k < static_cast<size_t>(dims_); ++k) {
      const double mean = seen > 0 ? sum[k] / seen : 0;
      const double spread = seen > 0 ? std::max(square[k] / seen - mean * mean, 0.0) : 0;
      width[k] = 5 * std::sqrt(spread);
      low_[k] = static_cast<float>(mean - 0.5 * width[k]);
      scale_[k] = width[k] > 1e-30 ? static_cast<float>(256 / width[k]) : 0.0f;
    }
    std::array<int, kCodeDims> taken = {};
    for (int bit = 31; bit >= 0; --bit) {
      const size_t widest =
          static_cast<size_t>(std::max_element(width.begin(), width.end()) - width.begin());
      if (!(width[widest] > 0)) break;
      const int own = 7 - taken[widest];
      for (size_t value = 0; value < 256; ++value)
        table_[widest][value] |= static_cast<uint32_t>(value >> own & 1) << bit;
      width[widest] = ++taken[widest] == 8 ? 0 : width[widest] / 2;
    }
  }

  uint32_t operator()(int64_t i) const {
    uint32_t code = 0;
    for (size_t k = 0; k < static_cast<size_t>(dims_); ++k) {
      const float place = (keys_[i * stride_ + static_cast<int64_t>(k)] - low_[k]) * scale_[k];
      code |= table_[k][static_cast<size_t>(std::min(std::max(place, 0.0f), 255.0f))];
    }
    return code;
  }

 private:
  static constexpr int64_t kCodeDims = 12;
  const float* keys_;
  int64_t stride_, dims_;
  std::array<float, kCodeDims> low_ = {}, scale_ = {};
  std::array<std::array<uint32_t, 256>, kCodeDims> table_ = {};
};

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

// Cycles of one row decided in float64; most of it waits for memory.
double exact_cost(const TreeJob& job) { return 0.25 * static_cast<double>(job.bands) + 150; }

// Cycles per tile of kTreeQueries, for the choice only; measured on Zen 4, the ratios hold
// elsewhere to within a factor that the choice survives.
double pruned_cost(const TreeJob& job, const TreeWork& work) {
  const double test = 4.0 * static_cast<double>(job.test_dims) + 60;
  const double dims = static_cast<double>(job.leaf_dims);
  const double memory = job.all_bands ? 1.2 : 1.0;  // leaves of all bands come from DRAM
  return test * static_cast<double>(work.nodes + work.leaves) +
         memory * 24.0 * dims * static_cast<double>(work.panels) +
         memory * (5.0 * dims + 30) * static_cast<double>(work.single) +
         exact_cost(job) * static_cast<double>(work.exact);
}

double brute_cost(const TreeJob& job) {
  return 24.0 * static_cast<double>(job.bands) * static_cast<double>(job.leaves);
}

}  // namespace

void run_keys(const KeyJob& job, int64_t count, int threads) {
  const CosineTable& k = cosine_kernels();
  const int64_t size = k.key_workspace(job) + 8;
  ask_huge_pages(job.keys, count * job.stride * 4);
  std::vector<double> workspace(static_cast<size_t>(size * parallel_pieces(threads)));
  parallel_ranges(count, kRowGrain, threads, [&](int piece, int64_t begin, int64_t end) {
    k.keys(job, begin, end, workspace.data() + piece * size);
  });
}

void run_mean(const void* rows, bool is_float32, int64_t count, int64_t bands,
              const double* inverse, double* mean, int threads) {
  const CosineTable& k = cosine_kernels();
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
                   const double* inverse, int32_t* order, int threads) {
  const CellCode code(keys, count, stride, dims, inverse);
  std::vector<uint64_t> items(static_cast<size_t>(count));
  parallel_ranges(count, 65536, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      items[static_cast<size_t>(i)] =
          static_cast<uint64_t>(code(i)) << 32 | static_cast<uint64_t>(i);
  });
  items.erase(std::remove_if(items.begin(), items.end(),
                             [&](uint64_t item) { return !(inverse[item & 0xFFFFFFFFu] > 0); }),
              items.end());
  radix_sort(items);
  for (size_t i = 0; i < items.size(); ++i) order[i] = static_cast<int32_t>(items[i]);
  return static_cast<int64_t>(items.size());
}

int64_t probe_tree(const TreeJob& job, TreeWork* work) {
  const CosineTable& k = cosine_kernels();
  const int64_t tiles = (job.count + kTreeQueries - 1) / kTreeQueries;
  const int64_t tried = std::min<int64_t>(tiles, kProbeTiles);
  std::vector<double> workspace(static_cast<size_t>((k.tree_workspace(job) + 127) / 8));
  for (int64_t n = 0; n < tried; ++n) {
    const int64_t tile = tiles * n / tried;
    k.tree_search(job, tile, tile + 1, workspace.data(), work);
    // Where keys bound nothing, the probe must not cost what it is to save.
    if (pruned_cost(job, *work) > static_cast<double>(tried) * brute_cost(job)) return n + 1;
  }
  return tried;
}

bool run_tree(const TreeJob& job, bool probe, int threads, TreeWork* work) {
  const CosineTable& k = cosine_kernels();
  const int64_t tiles = (job.count + kTreeQueries - 1) / kTreeQueries;
  const int64_t pieces = parallel_pieces(threads);
  const int64_t size = (k.tree_workspace(job) + 127) / 64 * 8;
  std::vector<double> workspace(static_cast<size_t>(size * pieces));
  if (probe && tiles > 0) {
    // What the probe finds is overwritten with the same bits.
    TreeWork seen = {};
    const int64_t tried = probe_tree(job, &seen);
    if (pruned_cost(job, seen) > 0.9 * static_cast<double>(tried) * brute_cost(job)) return false;
  }
  std::vector<TreeWork> done(static_cast<size_t>(pieces));
  // As if nothing were pruned.
  const double most = static_cast<double>(job.leaves) * kPanel * job.leaf_dims * kTreeQueries;
  interruptible_ranges(tiles, kTileGrain, short_part(most, threads), threads,
                       [&](int piece, int64_t begin, int64_t end) {
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
