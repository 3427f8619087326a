// What the cosine search's loops on the CPU take. Pointers named `void` hold float or double, as
// the job says.
#pragma once

#include <cstdint>

namespace hud {

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

// Keys of pixels or mixtures: see cosine/keys.h.
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

// A search of the tree that cosine/build_tree.cpp builds: see cosine/tree.h.
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
  const double* query_known;    // (n) cosines that some row elsewhere reaches, or null
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

}  // namespace hud
