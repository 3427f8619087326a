// The one table each instruction-set level exports, and the jobs its row-range loops take.
//
// A loop works on [begin, end) of its job with a caller's workspace: no thread, no allocation.
// parallel.h cuts the ranges. Pointers named `void` hold float or double as the job or the
// entry's suffix says.
#pragma once

#include <cstdint>

#include "fcls/job.h"
#include "windows/job.h"

namespace hud {

// How many pixels each way has solved: fcls_dense.h, fcls_rounds.h, fcls/active_set.h.
struct FclsWays {
  int64_t lanes, rounds, alone;
};

// Reference rows packed for the search: unit vectors minus the mean, in panels of `kPanel` rows.
struct CosineJob {
  const void* query;      // (Q, C) contiguous
  const void* reference;  // (P, C) contiguous
  bool is_float32;        // both
  int64_t queries, rows, bands;
  const double* query_inverse;      // (Q): 1 / norm; 0 for a zero row, NaN for a non-finite one
  const double* reference_inverse;  // (P)
  const double* mean;               // (C): mean unit reference row
  const float* panels;              // (ceil(P / kPanel), C, kPanel)
  const float* bias;                // (ceil(P / kPanel) * kPanel): <u - m, m>; -inf where left out
  double centred_max;               // largest |u - m|
  double bias_max;                  // largest |<u - m, m>|
  double* value;                    // (Q)
  int64_t* index;                   // (Q)
};

// Reference rows of one panel.
constexpr int kPanel = 32;

constexpr int kKeyPad = 16;  // basis columns are padded to a multiple of this

// Keys of pixels or mixtures: see cosine_keys.h.
struct KeyJob {
  const void* rows;  // (n, columns): pixels (n, C), or abundances (n, D)
  bool is_float32, mixtures;
  int64_t columns;
  const double* basis;  // (columns, width): B, or A B for mixtures; zero-padded
  const double* shift;  // (width): B'm
  int64_t dims, width;  // r, and r rounded up to kKeyPad
  float* keys;          // (n, stride): z, rho, zeros
  int64_t stride;
  const double* inverse;  // pixels: (n)
  const double* mean;     // pixels: (C)
  bool about_zero;        // pixels: rho is measured from the span itself, not from the mean
  const double* lengths;  // mixtures: (D) lengths of the endmembers
  double unit_error;      // mixtures: error of a key, relative to sum |x_d| |a_d| / |x A|
  double* slack;          // mixtures: (n) that error
  double* inverse_out;    // mixtures: (n) > 0, 0 or NaN
};

constexpr int kFan = 16;          // children of a tree node: the lanes of a box test
constexpr int kTreeQueries = 12;  // queries that walk the tree together; every kTileRows divides it
constexpr int32_t kNoChild = INT32_MIN;

// A search of the tree that run_cosine_tree.cpp builds: see cosine_tree.h.
struct TreeJob {
  int64_t key_dims, key_stride;  // numbers of a key (r + 1), and floats of a query's record
  int64_t test_dims;             // leading numbers that boxes are tested in
  int64_t leaf_dims;             // numbers a leaf is scored in: key_dims, or C where all bands are
  bool all_bands;
  int64_t leaves;
  const float* boxes;       // (nodes, key_dims, 2, kFan): lower and upper sides
  const int32_t* children;  // (nodes, kFan): a node, ~leaf, or kNoChild
  const float* panels;      // (leaves, leaf_dims, kPanel)
  const float* bias;        // (leaves, kPanel): -|a_u|^2 / 2; -inf where there is no row
  const int32_t* row;       // (leaves, kPanel)
  double key_norm, leaf_norm, rest_max;  // largest |key|, |leaf vector| and rho
  int64_t first_row;                     // the lowest row that takes part

  const void* reference;  // (P, bands)
  bool reference_float32;
  int64_t bands;
  const double* reference_inverse;
  const double* mean;

  const void* query;  // (n, query_columns)
  bool query_float32, mixtures;
  int64_t query_columns;
  const double* endmembers;     // mixtures: (D, bands)
  const double* query_inverse;  // (n)
  const double* query_slack;    // mixtures: (n)
  const float* query_keys;      // (n, key_stride)
  const int32_t* order;         // (count) the queries that take part, neighbours together
  int64_t count;
  double* value;   // (n)
  int64_t* index;  // (n)
};

// Work done, from which the runner tells whether pruning pays.
struct TreeWork {
  int64_t nodes, leaves, panels, single, exact;
};

// The order of candidates: the higher score, then the lower position.
static inline bool ahead(double score, int64_t position, double other_score,
                         int64_t other_position) {
  return score > other_score || (score == other_score && position < other_position);
}

// Storage types of the operations that take all four, in the order of their table entries.
enum Storage : int { kFloat32 = 0, kFloat64, kBFloat16, kFloat16, kStorages };
constexpr int kStorageBytes[kStorages] = {4, 8, 2, 2};

// Parameters named mean, std and inverse lie as float, or as double beside double values.
struct StandardizeJob {
  const void* a;        // x, or the gradient
  const void* b;        // x beside a gradient, else as `a`
  void* out;            // all (outer, D, inner) contiguous
  const void* mean;     // (D), then again and again up to parameter_count(D)
  const void* inverse;  // 1 / std, laid out as `mean`
  int64_t D, inner;
  double delta;
};
// Rows of up to so many values are worked on a vector's worth of rows together.
constexpr int64_t kLongestTogether = 4096;
constexpr int64_t parameter_count(int64_t D) { return D > kLongestTogether ? D + 16 : D * 16; }
struct StandardizedSoftmaxJob {
  const void* a;  // z, or the gradient
  const void* b;  // null, or the softmax's output beside a gradient
  void* out;
  const void* mean;  // (D)
  const void* std;   // (D)
  int64_t D, inner;
  bool past;
};
struct DecodeJob {
  const void* z;           // (outer, D, inner)
  const void* mean;        // (D)
  const void* std;         // (D)
  const void* endmembers;  // (D, padded): zeros beyond the bands
  void* out;               // (outer, inner, bands)
  int64_t D, inner, bands, padded;
};
constexpr int64_t kDecodeLongest = 256;  // largest D that softmax_decode takes

// out = z_factor z + e_factor e + noise_factor n for each of a batch's samples of `count` values.
struct NoiseJob {
  const void* z;  // null: left out, as e
  const void* e;
  const void* noise;  // null: drawn, or left out
  bool draw;
  void* out;
  void* noise_out;  // null, or where the noise goes too
  const double* z_factor;
  const double* e_factor;
  const double* noise_factor;  // (samples), each of the three
  int64_t samples, count;
  uint64_t seed, first;  // the first sample's index
  uint32_t step;
};
constexpr int64_t kNoiseItem = 64;  // values of one work item

struct KernelTable {
  const char* name;
  // By storage type. The last argument: write past the caches.
  void (*log_project[kStorages])(const void*, void*, int64_t, int64_t, double, bool);
  void (*log_project_backward[kStorages])(const void*, const void*, void*, int64_t, int64_t, double,
                                          bool);
  void (*softmax[kStorages])(const void*, const void*, void*, int64_t, int64_t, int64_t, int64_t,
                             bool);
  void (*softmax_backward[kStorages])(const void*, const void*, void*, int64_t, int64_t, int64_t,
                                      int64_t, bool);
  void (*log_standardize[kStorages])(const StandardizeJob&, int64_t, int64_t);
  void (*log_standardize_backward[kStorages])(const StandardizeJob&, int64_t, int64_t);
  void (*standardized_softmax[kStorages])(const StandardizedSoftmaxJob&, int64_t, int64_t);
  void (*softmax_decode[kStorages])(const DecodeJob&, int64_t, int64_t);
  void (*diffusion_step[kStorages])(const NoiseJob&, int64_t, int64_t);
  void (*philox)(const uint32_t*, const uint32_t*, uint32_t*);
  int64_t (*fcls_workspace)(const FclsJob&);
  void (*fcls)(const FclsJob&, int64_t, int64_t, double*, FclsWays*);
  // 1 / norm of rows [begin, end), float64.
  void (*row_inverse)(const void*, bool, int64_t, double*, int64_t, int64_t);
  // Adds the unit rows [begin, end) into a (C) sum.
  void (*row_sum)(const void*, bool, int64_t, const double*, double*, int64_t, int64_t);
  // Packs reference panels [begin, end); writes the largest |u - m| and |bias| seen into a pair.
  void (*pack_panels)(const CosineJob&, float*, float*, int64_t, int64_t, double*);
  int64_t (*cosine_workspace)(const CosineJob&);
  void (*cosine_max)(const CosineJob&, int64_t, int64_t, void*);
  int64_t (*key_workspace)(const KeyJob&);  // in doubles
  void (*keys)(const KeyJob&, int64_t, int64_t, double*);
  int64_t (*tree_workspace)(const TreeJob&);  // in bytes
  // Tiles [begin, end) of kTreeQueries queries each, in the job's order.
  void (*tree_search)(const TreeJob&, int64_t, int64_t, void*, TreeWork*);
  // Unit rows (or rows times `factor` where given) of [begin, end) as float32.
  void (*unit_rows)(const void*, bool, int64_t, const double*, float*, int64_t, int64_t);
  WindowTable window_search;
};

// The levels compiled in; a pointer is null where the build left the level out.
const KernelTable* kernels_baseline();
const KernelTable* kernels_avx2();
const KernelTable* kernels_avx512();

}  // namespace hud
