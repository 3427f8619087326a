// Scores of 16 blocks (in the vector lanes) against every window of the scene: a direct
// correlation.
//
// Chains are cut at each pixel (K float32 terms), pixels add up over one row of the window in
// float32, rows in float64: the error is that of one pixel's cosine (7e-7 at worst for 200 bands)
// or less. The caller keeps all positions within a margin above twice that and rescores them in
// float64.
#pragma once

#include "cpu/kernels.h"
#include "cpu/vector.h"

HUD_CORE_BEGIN

// Keeps the best kCandidates of those within the margin, in the order of `ahead`: which windows are
// kept does not depend on how the positions are cut into pieces.
HUD_HD void offer_window(CandidateList& list, double score, int64_t position, double margin) {
  if (!(score >= list.best - margin)) return;
  if (score > list.best) list.best = score;
  if (list.count == kCandidates) {
    int64_t kept = 0, last = 0;
    for (int64_t i = 0; i < list.count; ++i) {
      if (list.score[i] < list.best - margin) continue;
      list.score[kept] = list.score[i];
      list.position[kept++] = list.position[i];
    }
    list.count = kept;
    if (kept == kCandidates) {  // all tie within the margin: the last gives way
      for (int64_t i = 1; i < kept; ++i)
        if (ahead(list.score[last], list.position[last], list.score[i], list.position[i])) last = i;
      if (ahead(score, position, list.score[last], list.position[last])) {
        list.score[last] = score;
        list.position[last] = position;
      }
      return;
    }
  }
  list.score[list.count] = score;
  list.position[list.count++] = position;
}

// One pixel of P windows times one pixel of the blocks, added to row sums (P, kBlocks).
template <int P>
HUD_HD void add_pixel(const float* const* windows, const float* block, int64_t channels,
                      float* row) {
  constexpr int n = kBlocks / kLanes;
  FloatVector sum[P][n] = {};
  for (int64_t k = 0; k < channels; ++k) {
    FloatVector b[n];
    for (int j = 0; j < n; ++j) b[j] = load(block + k * kBlocks + j * kLanes);
    for (int i = 0; i < P; ++i) {
      const float u = windows[i][k];
      for (int j = 0; j < n; ++j) sum[i][j] += u * b[j];
    }
  }
  for (int i = 0; i < P; ++i)
    for (int j = 0; j < n; ++j) {
      float* to = row + i * kBlocks + j * kLanes;
      store(to, load(to) + sum[i][j]);
    }
}

template <int P>
void score_windows(const WindowJob& job, const float* blocks, int64_t y, int64_t x,
                   CandidateList* lists) {
  double total[P * kBlocks] = {};
  for (int64_t dy = 0; dy < job.block_height; ++dy) {
    float row[P * kBlocks] = {};
    const float* scene = job.scene + (y * job.stride + dy) * job.width * job.channels;
    for (int64_t dx = 0; dx < job.block_width; ++dx) {
      const float* windows[P];
      for (int i = 0; i < P; ++i) windows[i] = scene + ((x + i) * job.stride + dx) * job.channels;
      add_pixel<P>(windows, blocks + (dy * job.block_width + dx) * job.channels * kBlocks,
                   job.channels, row);
    }
    for (int i = 0; i < P * kBlocks; ++i) total[i] += row[i];
  }
  for (int i = 0; i < P; ++i) {
    const int64_t position = y * job.columns + x + i;
    const double scale = job.window_scale[position];
    if (scale != scale) continue;  // left out
    for (int b = 0; b < kBlocks; ++b)
      offer_window(lists[b], total[i * kBlocks + b] * scale, position, job.margin);
  }
}

void window_search_range(const WindowJob& job, int64_t group, int64_t begin, int64_t end,
                         CandidateList* lists) {
  const float* blocks =
      job.blocks + group * job.block_height * job.block_width * job.channels * kBlocks;
  for (int64_t y = begin; y < end; ++y) {
    int64_t x = 0;
    for (; x + kTilePositions <= job.columns; x += kTilePositions)
      score_windows<kTilePositions>(job, blocks, y, x, lists);
    for (; x < job.columns; ++x) score_windows<1>(job, blocks, y, x, lists);
  }
}

HUD_CORE_END
