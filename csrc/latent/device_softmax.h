// Softmax of band-last rows by a group of threads: a row is a thread's, but neighbouring threads
// must read neighbouring values, so rows pass through memory that the group shares. And a line of
// few values held in registers.
#pragma once

#include "common/group.h"
#include "latent/simplex.h"

HUD_CORE_BEGIN

// Longest rows that pass through shared memory, and the bytes of it that a group of `lanes` takes.
constexpr int kLongestStaged = 64;

// An odd distance between rows: threads that walk down theirs side by side meet no bank twice.
HUD_HD int row_pitch(int D) { return D | 1; }

template <typename T>
HUD_HD int row_stage_bytes(int lanes, int D, bool backward) {
  return lanes * row_pitch(D) * static_cast<int>(sizeof(T)) * (backward ? 2 : 1);
}

struct NoStores {
  HUD_HD void operator()(int64_t) const {}
};

template <typename T>
struct RowInStage {
  const T* p;
  HUD_HD T operator()(int64_t d) const { return p[d]; }
};

// `rows` <= lanes rows of D values between memory and the stage.
template <int Lanes, typename T>
struct RowsToStage {
  const T* from;
  T* stage;
  int values, D;
  HUD_HD void operator()(int lane) const {
    for (int i = lane; i < values; i += Lanes) stage[i / D * row_pitch(D) + i % D] = from[i];
  }
};
template <int Lanes, typename T>
struct RowsFromStage {
  const T* stage;
  T* to;
  int values, D;
  HUD_HD void operator()(int lane) const {
    for (int i = lane; i < values; i += Lanes) to[i] = stage[i / D * row_pitch(D) + i % D];
  }
};

// In place in the stage; `second` holds the softmax for the gradient, null forward.
template <typename T>
struct RowOfLane {
  T* stage;
  const T* second;
  int rows, D;
  HUD_HD void operator()(int lane) const {
    if (lane >= rows) return;
    T* const row = stage + lane * row_pitch(D);
    if (second == nullptr) {
      const T inverse = softmax_weights<T>(RowInStage<T>{row}, row, NoStores{}, D);
      for (int d = 0; d < D; ++d) row[d] *= inverse;
    } else {
      const T* const x = second + lane * row_pitch(D);
      T dot = 0;
      for (int d = 0; d < D; ++d) dot += row[d] * x[d];
      for (int d = 0; d < D; ++d) row[d] = x[d] * (row[d] - dot);
    }
  }
};

// The group's tile: `rows` rows from a (and b, the softmax, or null) to out.
template <typename Group, typename T>
HUD_HD void softmax_rows_tile(const Group& group, const T* a, const T* b, T* out, int rows, int D,
                              T* stage) {
  constexpr int kLanes = Group::kLanes;
  T* const second = b == nullptr ? nullptr : stage + kLanes * row_pitch(D);
  const int values = rows * D;
  if (b != nullptr) group.each(RowsToStage<kLanes, T>{b, second, values, D});
  group.each(RowsToStage<kLanes, T>{a, stage, values, D});
  group.each(RowOfLane<T>{stage, second, rows, D});
  group.each(RowsFromStage<kLanes, T>{stage, out, values, D});
}

// A line of at most Most values: read once, kept where a loop of known length lets registers hold
// them.
template <int Most, typename T, typename Source, typename Sink>
HUD_HD void softmax_short_line(const Source& z, const Sink& out, int count) {
  T kept[Most];
  T top = z(0);
  kept[0] = top;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int d = 1; d < Most; ++d) {
    kept[d] = d < count ? z(d) : top;
    top = Elementary<T>::larger(top, kept[d]);
  }
  T sum = 0;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int d = 0; d < Most; ++d) {
    kept[d] = Elementary<T>::exp_nonpositive(kept[d] - top);
    sum += d < count ? kept[d] : 0;
  }
  const T inverse = T(1) / sum;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int d = 0; d < Most; ++d)
    if (d < count) out(d, kept[d] * inverse);
}

HUD_CORE_END
