// Builds the tree: medians of the widest coordinate down to leaves of kPanel rows, kFan children a
// node. The shape depends on the number of rows only, so nodes are numbered before any key is read
// and a level's nodes can be split by different threads.
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/interrupt.h"
#include "common/parallel.h"
#include "cosine/run.h"

namespace hud {
namespace {

struct Node {
  int64_t first, count;  // leaves
};

// Leaves of one child: the power of kFan that leaves at most kFan children.
int64_t child_capacity(int64_t leaves) {
  int64_t capacity = 1;
  while (capacity * kFan < leaves) capacity *= kFan;
  return capacity;
}

int64_t child_count(int64_t leaves) {
  const int64_t capacity = child_capacity(leaves);
  return (leaves + capacity - 1) / capacity;
}

int64_t child_first(const Node& node, int64_t children, int64_t child) {
  return node.first + node.count * child / children;
}

// Levels from the root; within a level in order of the leaves.
std::vector<std::vector<Node>> levels_of(int64_t leaves) {
  std::vector<std::vector<Node>> levels{{Node{0, leaves}}};
  while (levels.back().front().count > kFan) {
    std::vector<Node> next;
    for (const Node& node : levels.back()) {
      const int64_t children = child_count(node.count);
      for (int64_t c = 0; c < children; ++c) {
        const int64_t first = child_first(node, children, c);
        next.push_back({first, child_first(node, children, c + 1) - first});
      }
    }
    levels.push_back(std::move(next));
  }
  return levels;
}

// A float as an unsigned number of the same order.
uint32_t ordered(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

class Splitter {
 public:
  Splitter(const TreeBuild& build, int64_t rows, int32_t* place)
      : build_(build), rows_(rows), place_(place), pairs_() {}

  // Sorts the rows of one node into its children and writes their boxes.
  void split(const Node& node, int64_t id) {
    node_ = node;
    id_ = id;
    children_ = child_count(node.count);
    std::vector<float> box(static_cast<size_t>(2 * build_.key_dims));
    range(row_of(node.first), row_of(node.first + node.count), box.data());
    halve(0, children_, box.data());
  }

 private:
  int64_t row_of(int64_t leaf) const { return std::min(leaf * kPanel, rows_); }

  void range(int64_t begin, int64_t end, float* box) const {
    float* low = box;
    float* high = box + build_.key_dims;
    std::fill(low, low + build_.key_dims, std::numeric_limits<float>::infinity());
    std::fill(high, high + build_.key_dims, -std::numeric_limits<float>::infinity());
    for (int64_t i = begin; i < end; ++i) {
      const float* key = build_.keys + place_[i] * build_.stride;
      for (int64_t k = 0; k < build_.key_dims; ++k) {
        low[k] = std::min(low[k], key[k]);
        high[k] = std::max(high[k], key[k]);
      }
    }
  }

  void halve(int64_t first, int64_t last, const float* box) {
    const int64_t dims = build_.key_dims;
    if (last - first == 1) {
      float* to = build_.boxes + id_ * dims * 2 * kFan + first;
      for (int64_t k = 0; k < dims; ++k) {
        to[k * 2 * kFan] = box[k];
        to[(k * 2 + 1) * kFan] = box[dims + k];
      }
      return;
    }
    const int64_t middle = (first + last) / 2;
    const int64_t begin = row_of(child_first(node_, children_, first));
    const int64_t cut = row_of(child_first(node_, children_, middle));
    const int64_t end = row_of(child_first(node_, children_, last));
    int64_t widest = 0;
    for (int64_t k = 1; k < dims; ++k)
      if (box[dims + k] - box[k] > box[dims + widest] - box[widest]) widest = k;
    pairs_.resize(static_cast<size_t>(end - begin));
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t key = ordered(build_.keys[place_[i] * build_.stride + widest]);
      pairs_[static_cast<size_t>(i - begin)] = key << 32 | static_cast<uint32_t>(place_[i]);
    }
    std::nth_element(pairs_.begin(), pairs_.begin() + (cut - begin), pairs_.end());
    for (int64_t i = begin; i < end; ++i)
      place_[i] = static_cast<int32_t>(pairs_[static_cast<size_t>(i - begin)]);
    std::vector<float> half(static_cast<size_t>(2 * dims));
    range(begin, cut, half.data());
    halve(first, middle, half.data());
    range(cut, end, half.data());
    halve(middle, last, half.data());
  }

  const TreeBuild& build_;
  const int64_t rows_;
  int32_t* place_;
  std::vector<uint64_t> pairs_;
  Node node_ = {};
  int64_t id_ = 0, children_ = 0;
};

}  // namespace

void ask_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kHuge = 1 << 21;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + kHuge - 1) / kHuge * kHuge;
  const uintptr_t last =
      (reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(bytes)) / kHuge * kHuge;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)data;
  (void)bytes;
#endif
}

TreeShape tree_shape(int64_t rows) {
  TreeShape shape = {(rows + kPanel - 1) / kPanel, 0};
  if (shape.leaves == 0) return shape;
  for (const auto& level : levels_of(shape.leaves))
    shape.nodes += static_cast<int64_t>(level.size());
  return shape;
}

void tree_children(TreeShape shape, int32_t* children) {
  std::fill(children, children + shape.nodes * kFan, kNoChild);
  int64_t id = 0;
  for (const auto& level : levels_of(shape.leaves)) {
    const bool last = level.front().count <= kFan;
    int64_t child = id + static_cast<int64_t>(level.size());
    for (const Node& node : level) {
      const int64_t own = child_count(node.count);
      for (int64_t c = 0; c < own; ++c)
        children[id * kFan + c] = static_cast<int32_t>(last ? ~child_first(node, own, c) : child++);
      ++id;
    }
  }
}

bool build_tree(TreeBuild& build, TreeShape shape, int threads) {
  std::vector<int32_t> place;
  place.reserve(static_cast<size_t>(build.rows));
  for (int64_t r = 0; r < build.rows; ++r)
    if (build.inverse[r] > 0) place.push_back(static_cast<int32_t>(r));
  const int64_t rows = static_cast<int64_t>(place.size());
  const TreeShape own = tree_shape(rows);
  if (rows == 0 || own.leaves != shape.leaves || own.nodes != shape.nodes) return false;

  const int64_t dims = build.key_dims;
  ask_huge_pages(build.panels, shape.leaves * dims * kPanel * 4);
  // A box that is not there is farther from anything than two unit rows can be.
  for (int64_t side = 0; side < shape.nodes * dims * 2; ++side)
    std::fill_n(build.boxes + side * kFan, kFan, side % 2 == 0 ? 1e9f : -1e9f);
  tree_children(shape, build.children);
  int64_t id = 0;
  for (const auto& level : levels_of(shape.leaves)) {
    const int64_t count = static_cast<int64_t>(level.size());
    parallel_ranges(count, 1, rows < 4096 ? 1 : threads, [&](int, int64_t begin, int64_t end) {
      Splitter splitter(build, rows, place.data());
      for (int64_t n = begin; n < end; ++n) splitter.split(level[static_cast<size_t>(n)], id + n);
    });
    id += count;
    poll_signals();
  }

  const int64_t pieces = parallel_pieces(threads);
  std::vector<double> largest(static_cast<size_t>(pieces * 2), 0.0);
  parallel_ranges(shape.leaves, 64, threads, [&](int piece, int64_t begin, int64_t end) {
    double norm = 0, rest = 0;
    for (int64_t leaf = begin; leaf < end; ++leaf) {
      for (int lane = 0; lane < kPanel; ++lane) {
        const int64_t at = leaf * kPanel + lane;
        const int32_t row = place[static_cast<size_t>(std::min(at, rows - 1))];
        const float* key = build.keys + row * build.stride;
        double square = 0;
        for (int64_t k = 0; k < dims; ++k) {
          build.panels[(leaf * dims + k) * kPanel + lane] = key[k];
          square += static_cast<double>(key[k]) * key[k];
        }
        build.row[at] = row;
        build.bias[at] =
            at < rows ? static_cast<float>(-0.5 * square) : -std::numeric_limits<float>::infinity();
        norm = std::max(norm, square);
        rest = std::max(rest, static_cast<double>(key[dims - 1]));
      }
    }
    largest[static_cast<size_t>(piece * 2)] = norm;
    largest[static_cast<size_t>(piece * 2 + 1)] = rest;
  });
  build.key_norm = build.rest_max = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    build.key_norm = std::max(build.key_norm, std::sqrt(largest[static_cast<size_t>(piece * 2)]));
    build.rest_max = std::max(build.rest_max, largest[static_cast<size_t>(piece * 2 + 1)]);
  }
  return true;
}

namespace {

template <typename T>
double pack_leaf(const T* rows, int64_t bands, const double* inverse, const double* mean,
                 const int32_t* row, float* panel, float* bias) {
  double largest = 0;
  for (int lane = 0; lane < kPanel; ++lane) {
    const bool spare = lane > 0 && row[lane] == row[lane - 1];
    const T* from = rows + row[lane] * bands;
    const double factor = inverse[row[lane]];
    double square = 0;
    for (int64_t c = 0; c < bands; ++c) {
      const float value = static_cast<float>(static_cast<double>(from[c]) * factor - mean[c]);
      panel[c * kPanel + lane] = value;
      square += static_cast<double>(value) * value;
    }
    bias[lane] =
        spare ? -std::numeric_limits<float>::infinity() : static_cast<float>(-0.5 * square);
    largest = std::max(largest, square);
  }
  return largest;
}

}  // namespace

double pack_leaves(const void* reference, bool is_float32, int64_t bands, const double* inverse,
                   const double* mean, const int32_t* row, int64_t leaves, float* panels,
                   float* bias, int threads) {
  ask_huge_pages(panels, leaves * bands * kPanel * 4);
  std::vector<double> largest(static_cast<size_t>(parallel_pieces(threads)), 0.0);
  parallel_ranges(leaves, 16, threads, [&](int piece, int64_t begin, int64_t end) {
    for (int64_t leaf = begin; leaf < end; ++leaf) {
      float* panel = panels + leaf * bands * kPanel;
      const int32_t* place = row + leaf * kPanel;
      const double square = is_float32
                                ? pack_leaf(static_cast<const float*>(reference), bands, inverse,
                                            mean, place, panel, bias + leaf * kPanel)
                                : pack_leaf(static_cast<const double*>(reference), bands, inverse,
                                            mean, place, panel, bias + leaf * kPanel);
      double& most = largest[static_cast<size_t>(piece)];
      most = std::max(most, square);
    }
  });
  return std::sqrt(*std::max_element(largest.begin(), largest.end()));
}

}  // namespace hud
