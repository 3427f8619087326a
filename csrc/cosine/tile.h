// One tile of queries of the pruned search: their bounds, the candidates they hold, and the float64
// decisions. The bounds are derived in tree.h.
#pragma once

#include "common/platform.h"
#include "common/vector.h"
#include "cosine/exact.h"
#include "cosine/job.h"
#include "cosine/unit_rows.h"

HUD_CORE_BEGIN

constexpr int kHeld = 24;  // candidates a query holds before they are decided

struct TreeQuery {
  int64_t query, index;
  double square, score_error, leaf_error, box_error, gap;
  double distance;  // upper bound of the smallest squared distance
  double exact;     // best float64 cosine so far
  float threshold;  // scores below it cannot win
  int32_t count;
  bool tight, unit_ready;
  float score[kHeld];
  int32_t place[kHeld];
};

struct TreeTile {
  TreeQuery* queries;
  double* unit;       // (kTreeQueries, bands)
  float* keys;        // (key_dims, kFan): one query a lane
  float* lower;       // (key_dims) the tile's own box
  float* upper;       // (key_dims)
  float* leaf;        // (leaf_dims, kTreeQueries)
  float* scores;      // (kTreeQueries, kPanel)
  float limit[kFan];  // of each query: squared distances above it are passed over
  float tile_limit;   // the largest of them
  bool stale;         // tile_limit is to be found again
};

double cosine_error(const TreeJob& job) { return 4e-16 * static_cast<double>(job.bands + 8); }

HUD_HD double positive(double v) { return v > 0 ? v : 0; }

void set_limits(const TreeJob& job, TreeTile& tile, int i) {
  TreeQuery& q = tile.queries[i];
  const double reach = __builtin_sqrt(q.distance + cosine_error(job) + 1e-13);
  const double box = reach + q.box_error;
  const double leaf = reach + q.leaf_error;
  // Room for the float32 sum of the box test, and for the conversion itself.
  const double unit = 5.9604644775390625e-08;
  tile.limit[i] = static_cast<float>(box * box * (1 + 2 * unit * (job.key_dims + 6)));
  const double least = 0.5 * (q.square - leaf * leaf) - q.score_error;
  q.threshold = static_cast<float>(least - 2 * unit * (least < 0 ? -least : least));
  tile.stale = true;
}

HUD_HD float tile_limit(TreeTile& tile) {
  if (tile.stale) {
    tile.tile_limit = largest16(tile.limit);
    tile.stale = false;
  }
  return tile.tile_limit;
}

// Bit l is set where a[l] <= limit.
HUD_HD uint32_t within(const float* a, float limit) {
  float most[kFan];
  for (int l = 0; l < kFan; ++l) most[l] = limit;
  return at_most(a, most);
}

// Writes the query's unit row; false where it turns out to have no direction.
bool make_unit(const TreeJob& job, int64_t query, double* unit) {
  if (!job.mixtures) {
    const double inverse = job.query_inverse[query];
    if (job.query_float32) {
      unit_row(static_cast<const float*>(job.query) + query * job.bands, inverse, job.bands, unit);
    } else {
      unit_row(static_cast<const double*>(job.query) + query * job.bands, inverse, job.bands, unit);
    }
    return true;
  }
  for (int64_t c = 0; c < job.bands; ++c) unit[c] = 0;
  for (int64_t d = 0; d < job.query_columns; ++d) {
    const int64_t at = query * job.query_columns + d;
    const double share = job.query_float32 ? static_cast<const float*>(job.query)[at]
                                           : static_cast<const double*>(job.query)[at];
    const double* from = job.endmembers + d * job.bands;
    HUD_SIMD
    for (int64_t c = 0; c < job.bands; ++c) unit[c] += share * from[c];
  }
  const double inverse = inverse_norm(unit, job.bands);
  if (!(inverse > 0)) return false;
  HUD_SIMD
  for (int64_t c = 0; c < job.bands; ++c) unit[c] *= inverse;
  return true;
}

double exact_at(const TreeJob& job, const double* unit, int32_t row) {
  const int64_t at = static_cast<int64_t>(row) * job.bands;
  const double inverse = job.reference_inverse[row];
  if (job.reference_float32)
    return unit_cosine(unit, static_cast<const float*>(job.reference) + at, inverse, job.bands);
  return unit_cosine(unit, static_cast<const double*>(job.reference) + at, inverse, job.bands);
}

bool same_row(const TreeJob& job, int64_t a, int64_t b) {
  const int64_t bytes = job.bands * (job.reference_float32 ? 4 : 8);
  const char* rows = static_cast<const char*>(job.reference);
  return __builtin_memcmp(rows + a * bytes, rows + b * bytes, static_cast<size_t>(bytes)) == 0;
}

// One row in float64. Copies of the best row (flat or filled regions) need no sum.
void decide(const TreeJob& job, TreeTile& tile, int i, int32_t place, TreeWork& work) {
  TreeQuery& q = tile.queries[i];
  double* unit = tile.unit + i * job.bands;
  const int32_t row = job.row[place];
  if (q.index >= 0 && same_row(job, row, q.index)) {
    if (row < q.index) q.index = row;
    return;
  }
  ++work.exact;
  const double value = exact_at(job, unit, row);
  if (value > q.exact || (value == q.exact && row < q.index)) {
    q.exact = value;
    q.index = row;
  }
}

void ready(const TreeJob& job, TreeTile& tile, int i) {
  TreeQuery& q = tile.queries[i];
  if (q.unit_ready) return;
  q.unit_ready = true;
  if (make_unit(job, q.query, tile.unit + i * job.bands)) return;
  for (int64_t c = 0; c < job.bands; ++c) tile.unit[i * job.bands + c] = 0;
}

// Decides the held candidates that the bounds still allow.
void decide_held(const TreeJob& job, TreeTile& tile, int i, TreeWork& work) {
  TreeQuery& q = tile.queries[i];
  if (q.count == 0) return;
  ready(job, tile, i);
  for (int n = 0; n < q.count; ++n)
    if (q.score[n] >= q.threshold) decide(job, tile, i, q.place[n], work);
  q.count = 0;
}

void tighten(const TreeJob& job, TreeTile& tile, int i, double squared) {
  TreeQuery& q = tile.queries[i];
  if (!(squared < q.distance)) return;
  q.distance = squared;
  set_limits(job, tile, i);
}

// Bit l is set where lane l of a leaf's scores reaches the threshold.
HUD_HD uint32_t reaching(const float* scores, float threshold) {
  float least[kFan];
  for (int l = 0; l < kFan; ++l) least[l] = threshold;
  return at_most(least, scores) | at_most(least, scores + kFan) << kFan;
}

HUD_HD int lowest_bit(uint32_t bits) { return __builtin_ctz(bits); }

// The bound says little about the distance itself: decide the most promising row first.
void take_loose(const TreeJob& job, TreeTile& tile, int i, int64_t leaf, uint32_t bits,
                TreeWork& work) {
  TreeQuery& q = tile.queries[i];
  const float* scores = tile.scores + i * kPanel;
  ready(job, tile, i);
  while (bits != 0) {
    int best = lowest_bit(bits);
    for (uint32_t rest = bits & (bits - 1); rest != 0; rest &= rest - 1)
      if (scores[lowest_bit(rest)] > scores[best]) best = lowest_bit(rest);
    if (!(scores[best] >= q.threshold) || scores[best] < -1e30f) return;
    bits &= ~(1u << best);
    decide(job, tile, i, static_cast<int32_t>(leaf * kPanel + best), work);
    tighten(job, tile, i, positive(2 - 2 * q.exact));
  }
}

// Makes room in a full list: drops what can no longer win, decides the rest where that is not
// enough.
void make_room(const TreeJob& job, TreeTile& tile, int i, TreeWork& work) {
  TreeQuery& q = tile.queries[i];
  int kept = 0;
  for (int n = 0; n < kHeld; ++n) {
    q.score[kept] = q.score[n];
    q.place[kept] = q.place[n];
    kept += q.score[n] >= q.threshold;
  }
  q.count = kept;
  if (kept <= kHeld / 2) return;
  decide_held(job, tile, i, work);
  tighten(job, tile, i, positive(2 - 2 * q.exact));
}

// Upper bound of the squared distance to a row of that score.
HUD_HD double reach_of(const TreeQuery& q, float score) {
  const double apart =
      __builtin_sqrt(positive(q.square - 2 * (score - q.score_error))) + q.leaf_error;
  return apart * apart + q.gap;
}

// The scores of query i at one leaf: improves the bound, holds or decides what may win.
void take_scores(const TreeJob& job, TreeTile& tile, int i, int64_t leaf, TreeWork& work) {
  TreeQuery& q = tile.queries[i];
  const float* scores = tile.scores + i * kPanel;
  uint32_t bits = reaching(scores, q.threshold);
  if (bits == 0) return;
  if (!q.tight) {
    take_loose(job, tile, i, leaf, bits, work);
    return;
  }
  float best = scores[lowest_bit(bits)];
  for (uint32_t rest = bits & (bits - 1); rest != 0; rest &= rest - 1)
    best = scores[lowest_bit(rest)] > best ? scores[lowest_bit(rest)] : best;
  if (best < -1e30f) return;
  tighten(job, tile, i, reach_of(q, best));
  for (; bits != 0; bits &= bits - 1) {
    const int l = lowest_bit(bits);
    if (q.count == kHeld) make_room(job, tile, i, work);
    if (!(scores[l] >= q.threshold) || scores[l] < -1e30f) continue;
    q.score[q.count] = scores[l];
    q.place[q.count] = static_cast<int32_t>(leaf * kPanel + l);
    ++q.count;
  }
}

HUD_CORE_END
