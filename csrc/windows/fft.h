// Overlap-save correlation: spectra of scene tiles times conjugate spectra of a vector of blocks,
// summed over the channels; the inverse transform is taken of the valid rows only, and its scores
// go from registers to the candidate lists. No map of scores is written.
//
// Two real tiles make one complex transform (real part: the first tile's scores). A block's
// spectrum is kept for half of the columns; the other half is its conjugate.
//
// Rounding, with u the unit roundoff, N the points of a tile: a transform errs by at most
// 8 u log2 N |input| in the Euclidean norm (Higham, Accuracy and Stability, theorem 24.2, with
// room), the inverse at each point by as much of the sum of its terms' magnitudes, the sum over K
// channels by (K + 4) u of them, and these sums are at most |s||q| (Parseval, Cauchy-Schwarz). In
// all (24 log2 N + K + 16) u |s||q|, the norms those of a centred pair of tiles and block.
#pragma once

#include "windows/lists.h"
#include "windows/run.h"

HUD_CORE_BEGIN

template <typename T>
constexpr double unit_roundoff() {
  return sizeof(T) == 4 ? 0x1p-24 : 0x1p-53;
}

// `run` channels of pixels side by side, or N of them, each pixel's into the lanes at `to`; returns
// their squared norm. A sum a channel: one for all would wait for itself.
template <int64_t N, typename In, typename T>
double gather_pixels(const In* from, int64_t K, const double* factor, const double* mean,
                     int64_t count, int64_t run, T* to) {
  constexpr int64_t lanes = kWidth<T>;
  const int64_t n = N > 0 ? N : run;
  double part[lanes] = {};
  for (int64_t x = 0; x < count; ++x, from += K, to += 2 * lanes) {
    const double f = factor[x];
    if (f != f) continue;  // windows that touch it are left out
    for (int64_t k = 0; k < n; ++k) {
      const double value = (f != 0 ? static_cast<double>(from[k]) * f : 0.0) - mean[k];
      to[k] = static_cast<T>(value);
      part[k] += value * value;
    }
  }
  double sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += part[k];
  return sum;
}

// Row `y` of both tiles of some (pair, channel) lanes: (length, 2, lanes). Returns false for a row
// outside of the scene.
template <typename In, typename T>
bool gather_row(const WindowJob& job, int64_t first_pair, int64_t items, int64_t item, int64_t y,
                T* row, double* square) {
  constexpr int64_t lanes = kWidth<T>;
  const int64_t K = job.channels, length = job.across.length;
  const int64_t tiles = job.tiles_down * job.tiles_across;
  const In* scene = static_cast<const In*>(job.scene);
  for (int64_t i = 0; i < length * 2 * lanes; ++i) row[i] = 0;
  bool any = false;
  for (int64_t l = 0; l < lanes && item + l < items;) {
    const int64_t pair = (item + l) / K, k0 = (item + l) % K;
    int64_t run = K - k0;  // lanes of the same pair
    if (run > lanes - l) run = lanes - l;
    if (run > items - item - l) run = items - item - l;
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t tile = (first_pair + pair) * 2 + half;
      if (tile >= tiles) continue;
      const int64_t top = tile / job.tiles_across * job.steps_down * job.stride + y;
      const int64_t left = tile % job.tiles_across * job.steps_across * job.stride;
      if (top >= job.height) continue;
      any = true;
      const int64_t count = job.width - left < length ? job.width - left : length;
      const int64_t pixel = top * job.width + left;
      const auto gather = run == lanes ? gather_pixels<lanes, In, T> : gather_pixels<0, In, T>;
      square[pair] += gather(scene + pixel * K + k0, K, job.factor + pixel, job.mean + k0, count,
                             run, row + half * lanes + l);
    }
    l += run;
  }
  return any;
}

template <typename T>
void scene_spectra(const WindowJob& job, int64_t first, int64_t count, void* to_spectra,
                   double* square, void* work) {
  using V = Vector<T>;
  const auto gather = job.is_float32 ? gather_row<float, T> : gather_row<double, T>;
  T* spectra = static_cast<T*>(to_spectra);
  constexpr int64_t lanes = kWidth<T>;
  const int64_t K = job.channels, items = count * K, down = job.down.length,
                across = job.across.length, pitch = tile_stride(job);
  V* grid = static_cast<V*>(work);  // (down, across + 1, 2)
  V* row = grid + down * pitch;
  V* work_a = row + 2 * longest(job);
  V* work_b = work_a + 2 * longest(job);
  const T share = static_cast<T>(1.0 / (static_cast<double>(down) * static_cast<double>(across)));
  for (int64_t pair = 0; pair < count; ++pair) square[pair] = 0;
  for (int64_t item = 0; item < items; item += lanes) {
    int64_t filled = 0;  // rows below lie outside of the scene for every lane
    for (int64_t y = 0; y < down; ++y) {
      if (!gather(job, first, items, item, y, reinterpret_cast<T*>(row), square)) break;
      PlainSink<T> sink = {grid + y * pitch};
      lane_fft<false, T>(job.across, PaddedSource<T>{row, 2, across}, work_a, row, sink);
      filled = y + 1;
    }
    const int64_t used = items - item < lanes ? items - item : lanes;
    int64_t place[lanes];
    for (int64_t l = 0; l < used; ++l) place[l] = ((item + l) % K * count + (item + l) / K) * 2;
    for (int64_t x = 0; x < across; ++x) {
      PlainSink<T> sink = {row};
      lane_fft<false, T>(job.down, PaddedSource<T>{grid + 2 * x, pitch, filled}, work_a, work_b,
                         sink);
      for (int64_t y = 0; y < down; ++y) {
        const T* re = reinterpret_cast<const T*>(row + 2 * y);
        T* to = spectra + (x * down + y) * items * 2;
        for (int64_t l = 0; l < used; ++l) {
          to[place[l]] = re[l] * share;
          to[place[l] + 1] = re[lanes + l] * share;
        }
      }
    }
  }
}

template <typename T>
void block_spectra(const WindowJob& job, const BlockGroup& group, int64_t begin, int64_t end,
                   void* scratch) {
  using V = Vector<T>;
  const int64_t K = job.channels, h = job.block_height, w = job.block_width;
  const int64_t down = job.down.length, across = job.across.length, half = across / 2 + 1;
  const V* packed = static_cast<const V*>(group.packed);
  V* spectra = static_cast<V*>(group.spectra);
  V* rows = static_cast<V*>(scratch);  // (h, half, 2)
  V* pair = rows + h * half * 2;       // (w, 2)
  V* both = pair + 2 * w;              // (across, 2)
  V* work_a = both + 2 * longest(job);
  V* work_b = work_a + 2 * longest(job);
  for (int64_t k = begin; k < end; ++k) {
    for (int64_t y = 0; y < h; y += 2) {  // two real rows make one complex one
      const bool last = y + 1 == h;
      for (int64_t x = 0; x < w; ++x) {
        pair[2 * x] = packed[(y * w + x) * K + k];
        pair[2 * x + 1] = last ? V{} : packed[((y + 1) * w + x) * K + k];
      }
      PlainSink<T> sink = {both};
      lane_fft<false, T>(job.across, PaddedSource<T>{pair, 2, w}, work_a, work_b, sink);
      for (int64_t x = 0; x < half; ++x) {
        const int64_t mirror = x == 0 ? 0 : across - x;
        const V ar = both[2 * x], ai = both[2 * x + 1];
        const V br = both[2 * mirror], bi = both[2 * mirror + 1];
        V* to = rows + (y * half + x) * 2;
        to[0] = (ar + br) * T(0.5);
        to[1] = (ai - bi) * T(0.5);
        if (last) continue;
        to[half * 2] = (ai + bi) * T(0.5);
        to[half * 2 + 1] = (br - ar) * T(0.5);
      }
    }
    for (int64_t x = 0; x < half; ++x) {
      SlotSink<T> sink = {spectra + (x * down * K + k) * 2, K * 2, job.identity};
      lane_fft<false, T>(job.down, PaddedSource<T>{rows + 2 * x, 2 * half, h}, work_a, work_b,
                         sink);
    }
  }
}

// Column x of N pairs' spectra times the blocks', and its mirror column with the same read.
template <int N, bool Both, typename T>
void multiply_columns(int64_t K, int64_t down, const Vector<T>* block, const T* scene,
                      const T* mirror, Vector<T>* column, Vector<T>* mirrored) {
  using V = Vector<T>;
  for (int64_t y = 0; y < down; ++y) {
    const int64_t opposite = y == 0 ? 0 : down - y;
    const V* b = block + y * K * 2;
    const T* s = scene + y * K * N * 2;
    const T* m = mirror + opposite * K * N * 2;
    V sr[N] = {}, si[N] = {}, mr[N] = {}, mi[N] = {};
    for (int64_t k = 0; k < K; ++k) {
      const V br = b[2 * k], bi = b[2 * k + 1];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) {
        const T re = s[(k * N + i) * 2], im = s[(k * N + i) * 2 + 1];
        sr[i] += br * re;
        sr[i] += bi * im;
        si[i] += br * im;
        si[i] -= bi * re;
        if (Both) {
          const T mre = m[(k * N + i) * 2], mim = m[(k * N + i) * 2 + 1];
          mr[i] += br * mre;
          mr[i] -= bi * mim;
          mi[i] += br * mim;
          mi[i] += bi * mre;
        }
      }
    }
    for (int i = 0; i < N; ++i) {
      V* to = column + (i * down + y) * 2;
      to[0] = sr[i];
      to[1] = si[i];
      if (Both) {
        V* other = mirrored + (i * down + opposite) * 2;
        other[0] = mr[i];
        other[1] = mi[i];
      }
    }
  }
}

// One row of two tiles' positions: the upper bounds of their scores.
template <typename T>
struct RowMaps {
  const T *along[2], *scale[2], *hole[2];  // (steps_across)
  Vector<T> slope, offset;                 // a; constant + bound
  HUD_HD Vector<T> bound(const Vector<T>& correlation, int half, int64_t x) const {
    return (correlation + offset + slope * along[half][x]) * scale[half][x] + hole[half][x];
  }
};

template <typename T>
struct LargestSink {
  RowMaps<T> maps;
  const int32_t* slot;
  Vector<T> largest;
  HUD_HD void operator()(int64_t i, const Vector<T>& re, const Vector<T>& im) {
    const int64_t x = slot[i];
    if (x < 0) return;
    const Vector<T> a = maps.bound(re, 0, x), b = maps.bound(im, 1, x);
    largest = a > largest ? a : largest;
    largest = b > largest ? b : largest;
  }
};

// The windows of one row whose upper bound reaches their lane's best lower bound.
template <typename T>
void offer_row(const WindowJob& job, const RowMaps<T>& maps, const Vector<T>* row,
               const Vector<T>& reach, int64_t first_tile, int64_t y, const Vector<T>& largest,
               Vector<T>& least, CandidateList* lists, Vector<T>* bounds) {
  const int64_t steps = job.steps_across, tiles = job.tiles_down * job.tiles_across;
  for (int64_t x = 0; x < steps; ++x)
    for (int half = 0; half < 2; ++half)
      bounds[2 * x + half] = maps.bound(row[2 * x + half], half, x);
  for (int64_t l = 0; l < kWidth<T>; ++l) {
    if (!(largest[l] >= least[l])) continue;
    for (int64_t half = 0; half < 2 && first_tile + half < tiles; ++half) {
      const int64_t tile = first_tile + half;
      const int64_t window_row = tile / job.tiles_across * job.steps_down + y,
                    left = tile % job.tiles_across * job.steps_across;
      const int64_t at = window_row * job.columns + left;
      const T* scale = maps.scale[half];
      for (int64_t x = 0; x < steps; ++x) {
        const T most = bounds[2 * x + half][l];
        if (!(most >= static_cast<T>(lists[l].least)) || maps.hole[half][x] < 0) continue;
        if (lies_in(lists[l].apart, window_row, left + x)) continue;
        offer_window(lists[l], most - 2 * reach[l] * scale[x], most, at + x);
      }
    }
    least[l] = static_cast<T>(lists[l].least);
  }
}

template <bool Both, typename T>
auto columns_product(int64_t pairs) {
  return pairs == 1   ? multiply_columns<1, Both, T>
         : pairs == 2 ? multiply_columns<2, Both, T>
         : pairs == 3 ? multiply_columns<3, Both, T>
                      : multiply_columns<4, Both, T>;
}

template <typename T>
void correlate(const WindowJob& job, const WindowMaps& given, const BlockGroup& group,
               int64_t first, int64_t N, const void* given_spectra, const double* square,
               CandidateList* lists, void* work) {
  using V = Vector<T>;
  const T* spectra = static_cast<const T*>(given_spectra);
  const auto multiply_both = columns_product<true, T>(N),
             multiply_one = columns_product<false, T>(N);
  const int64_t K = job.channels, down = job.down.length, across = job.across.length,
                pitch = tile_stride(job), steps_down = job.steps_down,
                steps_across = job.steps_across, tiles = job.tiles_down * job.tiles_across;
  V* column = static_cast<V*>(work);       // (N, down, 2)
  V* mirrored = column + N * down * 2;     // (N, down, 2)
  V* grid = mirrored + N * down * 2;       // (N, steps_down, across + 1, 2)
  V* row = grid + N * steps_down * pitch;  // (steps_across, 2)
  V* bounds = row + steps_across * 2;      // (steps_across, 2)
  V* rest = bounds + steps_across * 2;
  const V* blocks = static_cast<const V*>(group.spectra);
  const int64_t line = down * K * N * 2;
  for (int64_t x = 0; x <= across / 2; ++x) {
    const int64_t mirror = x == 0 ? 0 : across - x;
    const V* b = blocks + x * down * K * 2;
    const bool both = mirror != x;
    (both ? multiply_both : multiply_one)(K, down, b, spectra + x * line, spectra + mirror * line,
                                          column, mirrored);
    for (int64_t i = 0; i < N; ++i) {
      V* to = grid + i * steps_down * pitch;
      SlotSink<T> sink = {to + 2 * x, pitch, job.row_slot};
      V* own = column + i * down * 2;
      lane_fft<true, T>(job.down, PlainSource<T>{own}, rest, own, sink);
      if (!both) continue;
      sink.to = to + 2 * mirror;
      own = mirrored + i * down * 2;
      lane_fft<true, T>(job.down, PlainSource<T>{own}, rest, own, sink);
    }
  }
  const V slope = load_lanes<T>(group.along), constant = load_lanes<T>(group.constant),
          norm = load_lanes<T>(group.norm);
  const V slope_size = slope < 0 ? -slope : slope, floor = constant < 0 ? -constant : constant;
  double levels = 0;
  for (int64_t n = 1; n < down * across; n *= 2) ++levels;
  const double terms = (24 * levels + static_cast<double>(K) + 16) * unit_roundoff<T>();
  V least;
  for (int64_t l = 0; l < kWidth<T>; ++l) least[l] = static_cast<T>(lists[l].least);
  for (int64_t i = 0; i < N; ++i) {
    const int64_t pair = first + i;
    const T size = static_cast<T>(terms * __builtin_sqrt(square[i]));
    const T along = static_cast<T>(8 * unit_roundoff<T>() * given.along_max[pair]);
    const V reach = norm * size + slope_size * along +
                    floor * static_cast<T>(8 * unit_roundoff<T>()) + static_cast<T>(1e-36);
    // Rows that lie in the scene for one tile of the pair; the first tile is never the lower one.
    const int64_t top = pair * 2 / job.tiles_across * steps_down;
    const int64_t rows = job.rows - top < steps_down ? job.rows - top : steps_down;
    for (int64_t y = 0; y < rows; ++y) {
      RowMaps<T> maps;
      for (int64_t half = 0; half < 2; ++half) {
        // An odd number of tiles leaves the last pair a tile that is one hole.
        const int64_t tile = pair * 2 + half < tiles ? pair * 2 + half : tiles;
        const int64_t at = (tile * steps_down + y) * steps_across;
        maps.along[half] = static_cast<const T*>(given.along) + at;
        maps.scale[half] = static_cast<const T*>(given.scale) + at;
        maps.hole[half] = static_cast<const T*>(given.hole) + at;
      }
      maps.slope = slope;
      maps.offset = constant + reach;
      V* own = grid + (i * steps_down + y) * pitch;
      const V* from = lane_fft_begin<true, T>(job.across, PlainSource<T>{own}, rest, own);
      LargestSink<T> sink = {maps, job.column_slot, V{} - static_cast<T>(__builtin_inf())};
      lane_fft_end<true, T>(job.across, from, sink);
      if (!any_reaches<T>(sink.largest, least)) continue;
      SlotSink<T> keep = {row, 2, job.column_slot};
      lane_fft_end<true, T>(job.across, from, keep);
      offer_row<T>(job, maps, row, reach, pair * 2, y, sink.largest, least, lists, bounds);
    }
  }
}

template <typename T>
constexpr WindowKernels window_kernels() {
  return {kWidth<T>, scene_spectra<T>, pack_blocks<T>, block_spectra<T>, correlate<T>};
}

HUD_CORE_END
