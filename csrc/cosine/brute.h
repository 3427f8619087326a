// The largest cosine of each query with any reference row: a float32 pass that prunes, a float64
// pass that decides.
//
// Scores are centred on the mean unit row m: <u, q> = <u - m, q - m> + <u - m, m> + const(q), so
// float32 rounding is relative to the scene's spread, not to 1. Each query keeps every row whose
// float32 score lies within twice a proven bound of the best; those are rescored in float64 from
// the raw bands. The value is therefore the float64 maximum, and the same bits for any order, split
// or thread count.
#pragma once

#include "common/platform.h"
#include "common/vector.h"
#include "cosine/exact.h"
#include "cosine/job.h"

HUD_CORE_BEGIN

constexpr int kKept = 24;         // candidates a query holds before they are rescored
constexpr int kQueryBlock = 240;  // queries packed at once: a multiple of every kTileRows
constexpr int64_t kCacheBytes =
    262144;  // reference panels worked on while they stay in the L2 cache

struct QueryState {
  double inverse, epsilon;
  double exact;  // best float64 cosine so far
  int64_t index;
  float best, threshold;
  int32_t count;
  float score[kKept];
  int64_t row[kKept];
};

template <typename T>
void rescore(const CosineJob& job, int64_t query, QueryState& state, double* unit) {
  if (state.count == 0) return;
  const T* rows = static_cast<const T*>(job.reference);
  unit_row(static_cast<const T*>(job.query) + query * job.bands, state.inverse, job.bands, unit);
  for (int i = 0; i < state.count; ++i) {
    if (state.score[i] < state.threshold) continue;
    // Rows come in rising order: a copy of the best one (a flat or filled region) cannot win.
    if (state.index < job.rows &&
        __builtin_memcmp(rows + state.row[i] * job.bands, rows + state.index * job.bands,
                         sizeof(T) * job.bands) == 0)
      continue;
    const double value = unit_cosine(unit, rows + state.row[i] * job.bands,
                                     job.reference_inverse[state.row[i]], job.bands);
    if (value > state.exact || (value == state.exact && state.row[i] < state.index)) {
      state.exact = value;
      state.index = state.row[i];
    }
  }
  state.count = 0;
}

template <typename T>
void offer(const CosineJob& job, int64_t query, QueryState& state, float score, int64_t row,
           double* unit) {
  if (score > state.best) {
    state.best = score;
    // Rounded down: the threshold may only be too low.
    state.threshold =
        static_cast<float>(score - 2 * state.epsilon - 2e-7 * (score < 0 ? -score : score));
  }
  if (state.count == kKept) rescore<T>(job, query, state, unit);
  state.score[state.count] = score;
  state.row[state.count] = row;
  ++state.count;
}

// Scores of kTileRows queries (packed (C, kTileRows)) with one panel: kTileRows x kPanel.
HUD_HD void score_tile(const float* panel, const float* queries, const float* bias, int64_t bands,
                       float* scores) {
  constexpr int n = kPanel / kWidth<float>;
  Vector<float> sum[kTileRows][n] = {};
  for (int64_t c = 0; c < bands; ++c) {
    Vector<float> u[n];
    for (int j = 0; j < n; ++j) u[j] = load(panel + c * kPanel + j * kWidth<float>);
    for (int i = 0; i < kTileRows; ++i) {
      const float q = queries[c * kTileRows + i];
      for (int j = 0; j < n; ++j) sum[i][j] += q * u[j];
    }
  }
  for (int i = 0; i < kTileRows; ++i)
    for (int j = 0; j < n; ++j)
      store(scores + i * kPanel + j * kWidth<float>, sum[i][j] + load(bias + j * kWidth<float>));
}

int64_t cosine_workspace(const CosineJob& job) {
  return static_cast<int64_t>(sizeof(QueryState)) * kQueryBlock + kQueryBlock * job.bands * 4 +
         job.bands * 8 + 64;
}

template <typename T>
void start_query(const CosineJob& job, int64_t query, QueryState& state, float* packed, int lane) {
  const T* q = static_cast<const T*>(job.query) + query * job.bands;
  state.inverse = job.query_inverse[query];
  state.exact = -2;
  state.index = job.rows;
  state.count = 0;
  state.best = -__builtin_inff();
  state.threshold = -3.0e38f;  // above -inf: rows left out never enter
  double norm = 0;
  const bool active = state.inverse > 0;
  for (int64_t c = 0; c < job.bands; ++c) {
    const double value = active ? static_cast<double>(q[c]) * state.inverse - job.mean[c] : 0.0;
    packed[c * kTileRows + lane] = static_cast<float>(value);
    norm += value * value;
  }
  // |float32 score - float64 score| <= u ((C + 4) |u'| |q'| + 2 |b|), u = 2^-24 (Higham 2002, ch.
  // 3), doubled for safety.
  const double unit = 2 * 5.9604644775390625e-08;
  state.epsilon =
      unit * ((job.bands + 4) * job.centred_max * __builtin_sqrt(norm) + 2 * job.bias_max) +
      // The unit rows and the deciding sums are float64: in a scene of one direction their rounding
      // is all that parts the rows, and ties to the last bit must all be decided.
      4e-16 * (job.bands + 8);
  if (!active) state.threshold = __builtin_inff();  // zero and non-finite queries take no part
}

template <typename T>
void cosine_block(const CosineJob& job, int64_t begin, int64_t end, void* workspace) {
  QueryState* states = static_cast<QueryState*>(workspace);
  double* unit = reinterpret_cast<double*>(states + kQueryBlock);
  float* packed = reinterpret_cast<float*>(unit + job.bands);
  const int64_t tiles = (end - begin + kTileRows - 1) / kTileRows;
  for (int64_t i = 0; i < tiles * kTileRows; ++i) {
    const int64_t query =
        begin + i < end ? begin + i : end - 1;  // spare lanes repeat the last query
    start_query<T>(job, query, states[i], packed + (i / kTileRows) * kTileRows * job.bands,
                   static_cast<int>(i % kTileRows));
    if (begin + i >= end) states[i].threshold = __builtin_inff();
  }
  const int64_t panels = (job.rows + kPanel - 1) / kPanel;
  const int64_t panel_bytes = job.bands * kPanel * 4;
  const int64_t together = kCacheBytes / panel_bytes > 0 ? kCacheBytes / panel_bytes : 1;
  float scores[kTileRows * kPanel];
  for (int64_t first = 0; first < panels; first += together) {
    const int64_t last = first + together < panels ? first + together : panels;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const float* queries = packed + tile * kTileRows * job.bands;
      for (int64_t panel = first; panel < last; ++panel) {
        score_tile(job.panels + panel * job.bands * kPanel, queries, job.bias + panel * kPanel,
                   job.bands, scores);
        for (int i = 0; i < kTileRows; ++i) {
          QueryState& state = states[tile * kTileRows + i];
          const float* row = scores + i * kPanel;
          int any = 0;
          for (int l = 0; l < kPanel; ++l) any |= row[l] >= state.threshold;
          if (!any) continue;
          for (int l = 0; l < kPanel; ++l) {
            if (row[l] >= state.threshold)
              offer<T>(job, begin + tile * kTileRows + i, state, row[l], panel * kPanel + l, unit);
          }
        }
      }
    }
  }
  int64_t first_valid = 0;
  while (first_valid < job.rows && !(job.reference_inverse[first_valid] > 0)) ++first_valid;
  for (int64_t query = begin; query < end; ++query) {
    QueryState& state = states[query - begin];
    rescore<T>(job, query, state, unit);
    if (state.inverse > 0 && first_valid < job.rows) {
      job.value[query] = state.exact;
      job.index[query] = state.index;
    } else {
      const bool zero = state.inverse == 0 && first_valid < job.rows;
      job.value[query] = zero ? 0.0 : __builtin_nan("");
      job.index[query] = zero ? first_valid : -1;
    }
  }
}

void cosine_max_range(const CosineJob& job, int64_t begin, int64_t end, void* workspace) {
  for (int64_t first = begin; first < end; first += kQueryBlock) {
    const int64_t last = first + kQueryBlock < end ? first + kQueryBlock : end;
    if (job.is_float32) {
      cosine_block<float>(job, first, last, workspace);
    } else {
      cosine_block<double>(job, first, last, workspace);
    }
  }
}

HUD_CORE_END
