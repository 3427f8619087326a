// The reference side of the pruned cosine search, and its searches: compiled once, may use the STL.
#pragma once

#include <cstdint>

#include "common/kernels.h"

namespace hud {

// Asks for huge pages under a large buffer not yet written to: fewer faults while it is filled,
// fewer misses of the page table while a search jumps about in it. Does nothing where there are
// none.
void ask_huge_pages(void* data, int64_t bytes);

// Sizes of the tree over `rows` rows.
struct TreeShape {
  int64_t leaves, nodes;
};
TreeShape tree_shape(int64_t rows);

struct TreeBuild {
  const float* keys;      // (P, stride)
  int64_t rows, stride;   // P
  int64_t key_dims;       // r + 1; the last is rho
  const double* inverse;  // (P): rows of 0 and NaN take no part
  float* boxes;           // (nodes, key_dims, 2, kFan)
  int32_t* children;      // (nodes, kFan)
  int32_t* row;           // (leaves, kPanel)
  float* panels;          // (leaves, key_dims, kPanel)
  float* bias;            // (leaves, kPanel)
  double key_norm, rest_max;
};
// Fills in the outputs; false where the shape does not fit the rows that take part.
bool build_tree(TreeBuild& build, TreeShape shape, int threads);

// Leaves scored in all bands: float32 unit rows minus the mean. Returns their largest norm.
double pack_leaves(const void* reference, bool is_float32, int64_t bands, const double* inverse,
                   const double* mean, const int32_t* row, int64_t leaves, float* panels,
                   float* bias, int threads);

// The queries that take part, neighbours in the key's leading coordinates together.
// Returns how many.
int64_t tree_order(const float* keys, int64_t count, int64_t stride, int64_t dims,
                   const double* inverse, int32_t* order, int threads);

// Searches a few tiles spread over the order, adds up their work, and returns how many they were.
int64_t probe_tree(const TreeJob& job, TreeWork* work);

// Searches `job.order`; what does not take part is for the caller. With `probe`, a few tiles are
// searched first, and the rest only where pruning pays: false where it does not.
bool run_tree(const TreeJob& job, bool probe, int threads, TreeWork* work);

void run_keys(const KeyJob& job, int64_t count, int threads);
void run_mean(const void* rows, bool is_float32, int64_t count, int64_t bands,
              const double* inverse, double* mean, int threads);

}  // namespace hud
