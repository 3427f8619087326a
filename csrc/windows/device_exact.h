// Float64 scores of windows from the inputs, which decide the block search.
//
// A score is the sum of its rows, one after another, and a row the sum of its pixels: whoever forms
// which rows, a window's score has the same bits. Products of float64 inputs are kept apart from
// the sums (the device would fuse them); products of float32 numbers are exact in float64 anyway.
#pragma once

#include "windows/device_tiles.h"

HUD_CORE_BEGIN

template <typename In>
HUD_HD double product(double a, double b) {
  if (sizeof(In) == sizeof(float)) return a * b;
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

// Row dy of sum <u, q> for the window whose first pixel is (y, x).
template <typename In>
HUD_HD double exact_row(const TileJob& job, int64_t block, int64_t y, int64_t x, int64_t dy) {
  const int64_t K = job.channels;
  const int64_t pixel = (y + dy) * job.width + x;
  const int64_t other = (block * job.block_height + dy) * job.block_width;
  const In* a = static_cast<const In*>(job.scene) + pixel * K;
  const In* b = static_cast<const In*>(job.blocks) + other * K;
  double total = 0;
  for (int64_t dx = 0; dx < job.block_width; ++dx) {
    const double factor = job.factor[pixel + dx] * job.block_factor[other + dx];
    if (!(factor != 0) || factor != factor) continue;
    double sum = 0;
    for (int64_t k = dx * K; k < (dx + 1) * K; ++k)
      sum += product<In>(static_cast<double>(a[k]), static_cast<double>(b[k]));
    total += product<double>(sum, factor);
  }
  return total;
}

HUD_HD void keep_better(BestWindow& best, double value, int64_t position) {
  if (best.position < 0 || value > best.value || (value == best.value && position < best.position))
    best = {value, position};
}

struct Better {
  HUD_HD BestWindow operator()(BestWindow a, const BestWindow& b) const {
    if (b.position >= 0) keep_better(a, b.value, b.position);
    return a;
  }
};

HUD_HD BestWindow no_window() { return {__builtin_nan(""), -1}; }

// What a scan's piece is: positions in a row.
HUD_HD int64_t piece_begin(const TileJob& job, int64_t piece) {
  const int64_t positions = job.rows * job.columns;
  return positions / job.pieces * piece +
         (piece < positions % job.pieces ? piece : positions % job.pieces);
}

// The best of a piece of all windows, a window a lane and turn.
template <typename In, typename Group>
HUD_HD void scan_piece(const Group& group, const TileJob& job, int64_t block, int64_t piece,
                       BestWindow* scratch) {
  const int64_t begin = piece_begin(job, piece), end = piece_begin(job, piece + 1);
  group.each([&](int lane) {
    BestWindow best = no_window();
    for (int64_t position = begin + lane; position < end; position += Group::kLanes) {
      const double scale = job.exact[position];
      if (scale != scale) continue;
      const int64_t y = position / job.columns * job.stride,
                    x = position % job.columns * job.stride;
      double sum = 0;
      for (int64_t dy = 0; dy < job.block_height; ++dy) sum += exact_row<In>(job, block, y, x, dy);
      keep_better(best, sum * scale * job.block_scale[block], position);
    }
    scratch[lane] = best;
  });
  const BestWindow best = reduce_through(group, scratch, Better{});
  group.each([&](int lane) {
    if (lane == 0) job.piece[block * job.pieces + piece] = best;
  });
}

// The best of a block's list: rows a lane each, 32 lanes a window.
template <typename In, typename Group>
HUD_HD BestWindow best_listed(const Group& group, const TileJob& job, int64_t block, double* rows,
                              BestWindow* scratch) {
  constexpr int kWide = 32, kWindows = Group::kLanes / kWide;
  const int64_t offered = job.offered[block];
  const int64_t count = offered < job.capacity ? offered : job.capacity;
  const float least = unordered(job.least[block]);
  typename Group::template PerLane<BestWindow> best;
  typename Group::template PerLane<double> sum;
  typename Group::template PerLane<int64_t> position;
  group.each([&](int lane) { best[lane] = no_window(); });
  for (int64_t first = 0; first < count; first += kWindows) {
    group.each([&](int lane) {
      const int64_t at = block * job.capacity + first + lane / kWide;
      const bool there = first + lane / kWide < count && !(job.most[at] < least);
      position[lane] = there ? job.position[at] : -1;
      sum[lane] = 0;
    });
    for (int64_t top = 0; top < job.block_height; top += kWide) {
      group.each([&](int lane) {
        const int64_t dy = top + lane % kWide;
        if (position[lane] < 0 || dy >= job.block_height) return;
        rows[lane] = exact_row<In>(job, block, position[lane] / job.columns * job.stride,
                                   position[lane] % job.columns * job.stride, dy);
      });
      group.each([&](int lane) {
        if (lane % kWide != 0 || position[lane] < 0) return;
        const int64_t left = job.block_height - top;
        for (int i = 0; i < (left < kWide ? left : kWide); ++i) sum[lane] += rows[lane + i];
      });
    }
    group.each([&](int lane) {
      if (lane % kWide != 0 || position[lane] < 0) return;
      keep_better(best[lane], sum[lane] * job.exact[position[lane]] * job.block_scale[block],
                  position[lane]);
    });
  }
  group.each([&](int lane) { scratch[lane] = best[lane]; });
  return reduce_through(group, scratch, Better{});
}

// The first window that is not left out: the answer for a zero block, to which all are equal.
template <typename Group>
HUD_HD BestWindow first_window(const Group& group, const TileJob& job, BestWindow* scratch) {
  const int64_t positions = job.rows * job.columns;
  for (int64_t first = 0; first < positions; first += Group::kLanes) {
    group.each([&](int lane) {
      const int64_t at = first + lane;
      scratch[lane] = no_window();
      if (at < positions && job.exact[at] == job.exact[at]) scratch[lane] = {0.0, at};
    });
    const BestWindow found = reduce_through(group, scratch, Better{});
    if (found.position >= 0) return found;
  }
  return no_window();
}

template <typename In, typename Group>
HUD_HD void answer(const Group& group, const TileJob& job, int64_t block, double* rows,
                   BestWindow* scratch) {
  BestWindow best;
  if (job.how[block] != 0) {
    group.each([&](int lane) {
      BestWindow own = no_window();
      for (int64_t i = lane; i < job.pieces; i += Group::kLanes)
        own = Better{}(own, job.piece[block * job.pieces + i]);
      scratch[lane] = own;
    });
    best = reduce_through(group, scratch, Better{});
  } else if (job.numbers[block].power == 0) {
    best = first_window(group, job, scratch);
  } else {
    best = best_listed<In>(group, job, block, rows, scratch);
  }
  group.each([&](int lane) {
    if (lane != 0) return;
    const int64_t at = best.position;
    job.value[block] = best.value;
    job.best_position[2 * block] = at < 0 ? -1 : at / job.columns * job.stride;
    job.best_position[2 * block + 1] = at < 0 ? -1 : at % job.columns * job.stride;
  });
}

HUD_HD void settle_block(const TileJob& job, int64_t block, int how) {
  if (how == kScanAll) {
    job.how[block] = 1;
    job.scan[1 + block] = static_cast<int32_t>(block);
    if (block == 0) job.scan[0] = static_cast<int32_t>(job.count);
    return;
  }
  if (job.offered[block] <= job.capacity) return;
  if (how == kAgain) {
    job.offered[block] = 0;
    job.again[1 + take_one(job.again)] = static_cast<int32_t>(block);
  } else {
    job.how[block] = 1;
    job.scan[1 + take_one(job.scan)] = static_cast<int32_t>(block);
  }
}

HUD_CORE_END
