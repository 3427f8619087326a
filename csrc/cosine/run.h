// The cosine search on the CPU, brute and pruned: the loops that each level exports, and what the
// bindings call: compiled once, may use the STL.
#pragma once

#include "common/level.h"
#include "cosine/job.h"

namespace hud {

// A loop works on [begin, end) of its job with a caller's workspace: no thread, no allocation.
struct CosineTable {
  // 1 / norm of rows [begin, end), float64.
  void (*row_inverse)(const void*, bool, int64_t, double*, int64_t, int64_t);
  // Adds the unit rows [begin, end) into a (C) sum.
  void (*row_sum)(const void*, bool, int64_t, const double*, double*, int64_t, int64_t);
  // Packs reference panels [begin, end); writes the largest |u - m| and |bias| seen into a pair.
  void (*pack_panels)(const CosineJob&, float*, float*, int64_t, int64_t, double*);
  int64_t (*brute_workspace)(const CosineJob&);
  void (*brute)(const CosineJob&, int64_t, int64_t, void*);
  int64_t (*key_workspace)(const KeyJob&);  // in doubles
  void (*keys)(const KeyJob&, int64_t, int64_t, double*);
  int64_t (*tree_workspace)(const TreeJob&);  // in bytes
  // Tiles [begin, end) of kTreeQueries queries each, in the job's order.
  void (*tree_search)(const TreeJob&, int64_t, int64_t, void*, TreeWork*);
  // Unit rows (or rows times `factor` where given) of [begin, end) as float32.
  void (*unit_rows)(const void*, bool, int64_t, const double*, float*, int64_t, int64_t);
};
HUD_DECLARE_LEVELS(CosineTable, cosine);

void run_row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands,
                     double* inverse, int threads);
// Fills in the job's inverse norms, mean and panels, then searches.
void run_cosine_max(CosineJob job, int threads);

// Asks for huge pages under a large buffer not yet written to: fewer faults while it is filled,
// fewer misses of the page table while a search jumps about in it. Does nothing where there are
// none.
void ask_huge_pages(void* data, int64_t bytes);

// Sizes of the tree over `rows` rows.
struct TreeShape {
  int64_t leaves, nodes;
};
TreeShape tree_shape(int64_t rows);
// Who is whose child, (nodes, kFan): a function of the shape alone.
void tree_children(TreeShape shape, int32_t* children);

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
