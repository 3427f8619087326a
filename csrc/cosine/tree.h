// The pruned search: tiles of neighbouring queries walk a tree of reference rows, nearest box
// first.
//
// For unit rows |y_u - y_q|^2 = 2 - 2 cos, so the largest cosine is the smallest distance D. Keys
// (keys.h) bound it: L <= D, D^2 <= L^2 + 4 rho_u rho_q with L = |a_u - a_q|. What is stored
// are rounded keys; with eta >= |rounded - true| of both sides together, |L~ - L| <= eta. A box or
// a row is passed over only where its L~ exceeds D_best + eta, D_best an upper bound of the
// smallest distance that comes from a row already seen. Bounds used, u = 2^-24:
//
//   eta      = 1.01 u (|a_q| + max |a_u|) + 2 sqrt(e) + slack_q,   e = 4e-16 (C + 8)
//              (rounding of the key; rho is the root of a difference of float64 sums, off by e)
//   boxes    : a sum of n squares of differences in float32 is off by a factor 1 + (n + 3) u at
//   most scores   : S = <a_q, a_u> - |a_u|^2 / 2 = (|a_q|^2 - L~^2) / 2 in float32, off by at most
//              2 u ((n + 3) |a_q| max |a_u| + max |a_u|^2)   (Higham 2002, ch. 3, doubled)
//   cosines  : float64, off by e; so ties to the last bit are never passed over.
//
// Where a row elsewhere is known to reach a cosine, D_best starts from it; a query for which no row
// here reaches as much may end without one: -2 and row -1.
//
// Every row within these bounds of the best is decided by unit_cosine: the result is the float64
// maximum and the lowest row that attains it, whatever the tree, the order or the tile.
#pragma once

#include "common/platform.h"
#include "common/vector.h"
#include "cosine/job.h"
#include "cosine/tile.h"

HUD_CORE_BEGIN

constexpr int kFewQueries = 4;  // up to so many, a leaf is scored query by query
constexpr int kStack = 1024;    // 15 siblings a level, far more levels than 2^31 rows can have

// Squared distances of the tile's box to the boxes of one node.
HUD_HD void box_distances(const float* box, const float* lower, const float* upper, int64_t dims,
                          float* out) {
  constexpr int n = kFan / kWidth<float>;
  Vector<float> sum[n] = {};
  const Vector<float> zero = {};
  for (int64_t k = 0; k < dims; ++k) {
    for (int j = 0; j < n; ++j) {
      const Vector<float> above = load(box + k * 2 * kFan + j * kWidth<float>) - upper[k];
      const Vector<float> below = lower[k] - load(box + (k * 2 + 1) * kFan + j * kWidth<float>);
      const Vector<float> apart = larger(zero, larger(above, below));
      sum[j] += apart * apart;
    }
  }
  for (int j = 0; j < n; ++j) store(out + j * kWidth<float>, sum[j]);
}

// Squared distance of each query of the tile to one child's box.
HUD_HD void query_distances(const float* box, const float* keys, int64_t dims, float* out) {
  constexpr int n = kFan / kWidth<float>;
  Vector<float> sum[n] = {};
  const Vector<float> zero = {};
  for (int64_t k = 0; k < dims; ++k) {
    const float lower = box[k * 2 * kFan], upper = box[(k * 2 + 1) * kFan];
    for (int j = 0; j < n; ++j) {
      const Vector<float> q = load(keys + k * kFan + j * kWidth<float>);
      const Vector<float> apart = larger(zero, larger(lower - q, q - upper));
      sum[j] += apart * apart;
    }
  }
  for (int j = 0; j < n; ++j) store(out + j * kWidth<float>, sum[j]);
}

template <int Rows>
HUD_HD void score_rows(const float* panel, const float* queries, const float* bias, int64_t dims,
                       float* scores) {
  constexpr int n = kPanel / kWidth<float>;
  Vector<float> sum[Rows][n] = {};
  for (int64_t k = 0; k < dims; ++k) {
    Vector<float> u[n];
    for (int j = 0; j < n; ++j) u[j] = load(panel + k * kPanel + j * kWidth<float>);
    for (int i = 0; i < Rows; ++i) {
      const float q = queries[k * kTreeQueries + i];
      for (int j = 0; j < n; ++j) sum[i][j] += q * u[j];
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < n; ++j)
      store(scores + i * kPanel + j * kWidth<float>, sum[i][j] + load(bias + j * kWidth<float>));
}

// Scores the queries `wanted` at one leaf, and takes the scores.
void visit_leaf(const TreeJob& job, TreeTile& tile, int64_t leaf, uint32_t wanted, TreeWork& work) {
  const float* panel = job.panels + leaf * job.leaf_dims * kPanel;
  const float* bias = job.bias + leaf * kPanel;
  const int count = __builtin_popcount(wanted);
  if (count <= kFewQueries) {
    work.single += count;
    for (uint32_t rest = wanted; rest != 0; rest &= rest - 1) {
      const int i = lowest_bit(rest);
      score_rows<1>(panel, tile.leaf + i, bias, job.leaf_dims, tile.scores + i * kPanel);
    }
  } else {
    ++work.panels;
    for (int i = 0; i < kTreeQueries; i += kTileRows)
      score_rows<kTileRows>(panel, tile.leaf + i, bias, job.leaf_dims, tile.scores + i * kPanel);
  }
  for (uint32_t rest = wanted; rest != 0; rest &= rest - 1)
    take_scores(job, tile, lowest_bit(rest), leaf, work);
}

// A first bound for query i from one leaf. Nothing is held: the walk meets the same leaf again.
void seed_at(const TreeJob& job, TreeTile& tile, int i, int64_t leaf, TreeWork& work) {
  TreeQuery& q = tile.queries[i];
  ++work.single;
  float* scores = tile.scores + i * kPanel;
  score_rows<1>(job.panels + leaf * job.leaf_dims * kPanel, tile.leaf + i, job.bias + leaf * kPanel,
                job.leaf_dims, scores);
  const float low = largest16(scores), high = largest16(scores + kFan);
  const float best = low > high ? low : high;
  if (q.tight) {
    tighten(job, tile, i, reach_of(q, best));
    return;
  }
  ready(job, tile, i);
  const int lane = lowest_bit(reaching(scores, best));
  decide(job, tile, i, static_cast<int32_t>(leaf * kPanel + lane), work);
  tighten(job, tile, i, positive(2 - 2 * q.exact));
}

// The leaf that a query reaches by its nearest boxes.
int64_t descend(const TreeJob& job, int64_t query, TreeWork& work) {
  const float* key = job.query_keys + query * job.key_stride;
  for (int64_t node = 0;;) {
    ++work.nodes;
    float apart[kFan], nearness[kFan];
    box_distances(job.boxes + node * job.key_dims * 2 * kFan, key, key, job.test_dims, apart);
    for (int l = 0; l < kFan; ++l) nearness[l] = -apart[l];
    const int nearest = lowest_bit(within(apart, -largest16(nearness)));
    const int32_t child = job.children[node * kFan + nearest];
    if (child < 0) return ~child;
    node = child;
  }
}

// First bounds for the whole tile: every other query descends, its neighbour takes the same leaf.
// Halves the pairs that the walk scores.
void seed_tile(const TreeJob& job, TreeTile& tile, TreeWork& work) {
  for (int i = 0; i < kTreeQueries; i += 2) {
    if (tile.limit[i] < 0) return;
    const int64_t leaf = descend(job, tile.queries[i].query, work);
    seed_at(job, tile, i, leaf, work);
    if (tile.limit[i + 1] >= 0) seed_at(job, tile, i + 1, leaf, work);
  }
}

// The leaves of one node. All tests come first: a branch on each would be guessed wrong half of the
// time, and the panels that are wanted arrive meanwhile.
void visit_leaves(const TreeJob& job, TreeTile& tile, int64_t node, uint32_t bits, TreeWork& work) {
  float apart[kFan][kFan];
  uint32_t wanted = 0;
  const float* boxes = job.boxes + node * job.key_dims * 2 * kFan;
  const int32_t* children = job.children + node * kFan;
  for (uint32_t rest = bits; rest != 0; rest &= rest - 1) {
    const int slot = lowest_bit(rest);
    query_distances(boxes + slot, tile.keys, job.test_dims, apart[slot]);
    const uint32_t some = at_most(apart[slot], tile.limit) != 0;
    wanted |= some << slot;
    __builtin_prefetch(job.panels + ~children[slot] * job.leaf_dims * kPanel);
  }
  work.leaves += __builtin_popcount(bits);
  for (; wanted != 0; wanted &= wanted - 1) {
    const int slot = lowest_bit(wanted);
    const uint32_t queries = at_most(apart[slot], tile.limit);
    if (queries != 0) visit_leaf(job, tile, ~children[slot], queries, work);
  }
}

void walk(const TreeJob& job, TreeTile& tile, TreeWork& work) {
  float distance[kStack];
  int64_t at[kStack];
  int depth = 1;
  distance[0] = 0;
  at[0] = 0;
  while (depth > 0) {
    --depth;
    const float limit = tile_limit(tile);
    if (distance[depth] > limit) continue;
    const int64_t node = at[depth];
    ++work.nodes;
    float apart[kFan];
    box_distances(job.boxes + node * job.key_dims * 2 * kFan, tile.lower, tile.upper, job.test_dims,
                  apart);
    const uint32_t bits = within(apart, limit);
    if (bits == 0) continue;
    if (job.children[node * kFan] < 0) {
      visit_leaves(job, tile, node, bits, work);
      continue;
    }
    // The nearest goes on top and is taken next; the order of the others hardly matters, and
    // sorting them cost more than it saved.
    int nearest = depth;
    for (uint32_t rest = bits; rest != 0; rest &= rest - 1) {
      const int slot = lowest_bit(rest);
      distance[depth] = apart[slot];
      at[depth] = job.children[node * kFan + slot];
      nearest = apart[slot] < distance[nearest] ? depth : nearest;
      ++depth;
    }
    const float d = distance[nearest];
    const int64_t a = at[nearest];
    distance[nearest] = distance[depth - 1];
    at[nearest] = at[depth - 1];
    distance[depth - 1] = d;
    at[depth - 1] = a;
  }
}

void start_tile(const TreeJob& job, TreeTile& tile, int64_t first) {
  const double unit = 5.9604644775390625e-08;
  const double rest_error = __builtin_sqrt(cosine_error(job));
  for (int i = 0; i < kFan; ++i) {
    const int64_t at = first + i < job.count ? first + i : job.count - 1;
    const int64_t query = job.order[at];
    const float* key = job.query_keys + query * job.key_stride;
    for (int64_t k = 0; k < job.key_dims; ++k) tile.keys[k * kFan + i] = key[k];
    if (i >= kTreeQueries) continue;
    TreeQuery& q = tile.queries[i];
    q.query = query;
    q.index = -1;
    q.exact = -2;
    q.distance = 5;  // more than two unit rows can be apart
    if (job.query_known != nullptr) {
      const double known = positive(2 - 2 * job.query_known[query]);
      q.distance = known < q.distance ? known : q.distance;  // NaN: nothing is known
    }
    q.count = 0;
    q.unit_ready = false;
    double square = 0;
    for (int64_t k = 0; k < job.key_dims; ++k) square += static_cast<double>(key[k]) * key[k];
    const double slack = job.mixtures ? job.query_slack[query] : 0.0;
    const double rest = static_cast<double>(key[job.key_dims - 1]) + rest_error + slack;
    q.box_error = 1.01 * unit * (__builtin_sqrt(square) + job.key_norm) + 2 * rest_error + slack;
    if (job.all_bands) {
      ready(job, tile, i);
      square = 0;
      for (int64_t c = 0; c < job.bands; ++c) {
        const float value = static_cast<float>(tile.unit[i * job.bands + c] - job.mean[c]);
        tile.leaf[c * kTreeQueries + i] = value;
        square += static_cast<double>(value) * value;
      }
      q.leaf_error = 1.01 * unit * (__builtin_sqrt(square) + job.leaf_norm) + 1e-15;
      q.gap = 0;
    } else {
      for (int64_t k = 0; k < job.key_dims; ++k) tile.leaf[k * kTreeQueries + i] = key[k];
      q.leaf_error = q.box_error;
      q.gap = 4 * rest * (job.rest_max + rest_error);
    }
    const double size = __builtin_sqrt(square);
    q.square = square;
    q.score_error =
        2 * unit * ((job.leaf_dims + 3) * size * job.leaf_norm + job.leaf_norm * job.leaf_norm);
    q.tight = q.gap <= 1e-6;
    set_limits(job, tile, i);
    if (first + i >= job.count) {  // spare lanes repeat the last query and take no part
      tile.limit[i] = -1;
      q.threshold = __builtin_inff();
    }
  }
  for (int i = 0; i < kTreeQueries; ++i) {
    if (first + i < job.count) set_limits(job, tile, i);
  }
  for (int64_t k = 0; k < job.key_dims; ++k) {
    float lower = tile.keys[k * kFan], upper = lower;
    for (int i = 1; i < kTreeQueries; ++i) {
      const float value = tile.keys[k * kFan + i];
      lower = value < lower ? value : lower;
      upper = value > upper ? value : upper;
    }
    tile.lower[k] = lower;
    tile.upper[k] = upper;
  }
}

void finish_tile(const TreeJob& job, TreeTile& tile, int64_t first, TreeWork& work) {
  const int count = static_cast<int>(
      job.count - first < kTreeQueries ? job.count - first : static_cast<int64_t>(kTreeQueries));
  const int64_t bytes = job.bands * (job.reference_float32 ? 4 : 8);
  for (int i = 0; i < count; ++i) {
    const TreeQuery& q = tile.queries[i];
    for (int n = 0; n < q.count; ++n) {
      if (!(q.score[n] >= q.threshold)) continue;
      const char* row = static_cast<const char*>(job.reference) + job.row[q.place[n]] * bytes;
      for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b);
    }
  }
  for (int i = 0; i < count; ++i) {
    TreeQuery& q = tile.queries[i];
    decide_held(job, tile, i, work);
    double length = 1;
    if (job.mixtures) {  // abundances may cancel to a spectrum of zeros
      length = 0;
      for (int64_t c = 0; c < job.bands; ++c)
        length += tile.unit[i * job.bands + c] * tile.unit[i * job.bands + c];
    }
    job.value[q.query] = length > 0 ? q.exact : 0;
    job.index[q.query] = length > 0 ? q.index : job.first_row;
  }
}

int64_t tree_workspace(const TreeJob& job) {
  return static_cast<int64_t>(sizeof(TreeQuery)) * kTreeQueries + 8 * kTreeQueries * job.bands +
         4 * (job.key_dims * (kFan + 2) + job.leaf_dims * kTreeQueries + kTreeQueries * kPanel) +
         64;
}

// The next tile's keys and this one's rows are asked for early: in their order, queries lie all
// over memory.
void prefetch_queries(const TreeJob& job, int64_t first, bool rows) {
  for (int64_t i = first; i < first + kTreeQueries && i < job.count; ++i) {
    const int64_t query = job.order[i];
    const int64_t bytes = job.query_columns * (job.query_float32 ? 4 : 8);
    const char* from = rows
                           ? static_cast<const char*>(job.query) + query * bytes
                           : reinterpret_cast<const char*>(job.query_keys + query * job.key_stride);
    const int64_t size = rows ? bytes : job.key_dims * 4;
    for (int64_t b = 0; b < size; b += 64) __builtin_prefetch(from + b);
  }
}

void tree_search_range(const TreeJob& job, int64_t begin, int64_t end, void* workspace,
                       TreeWork* work) {
  TreeTile tile;
  tile.queries = static_cast<TreeQuery*>(workspace);
  tile.unit = reinterpret_cast<double*>(tile.queries + kTreeQueries);
  tile.keys = reinterpret_cast<float*>(tile.unit + kTreeQueries * job.bands);
  tile.lower = tile.keys + job.key_dims * kFan;
  tile.upper = tile.lower + job.key_dims;
  tile.leaf = tile.upper + job.key_dims;
  tile.scores = tile.leaf + job.leaf_dims * kTreeQueries;
  for (int i = 0; i < kFan; ++i) tile.limit[i] = -1;
  TreeWork done = {};
  for (int64_t t = begin; t < end; ++t) {
    start_tile(job, tile, t * kTreeQueries);
    prefetch_queries(job, (t + 1) * kTreeQueries, false);
    prefetch_queries(job, t * kTreeQueries, true);
    if (job.query_known == nullptr) seed_tile(job, tile, done);
    walk(job, tile, done);
    finish_tile(job, tile, t * kTreeQueries, done);
  }
  work->nodes += done.nodes;
  work->leaves += done.leaves;
  work->panels += done.panels;
  work->single += done.single;
  work->exact += done.exact;
}

HUD_CORE_END
