// Block search by a group of threads: overlap-save correlation whose maps of scores stay in the
// memory that the group shares.
//
// Spectra of scene tiles, made once a scene, times conjugate spectra of blocks, summed over the
// channels in registers; these go through the first stage of the inverse transform right there.
// Only the rows that hold positions are transformed the other way; their scores are compared with
// the best so far, and the windows within the rounding bound are put on the block's list.
//
// The bound is that of windows/fft.h, (24 log2 N + K + 16) u |s||q|: the transforms have the
// same stages in another order, and the device may fuse a product with a sum, which rounds once
// less.
#pragma once

#include "windows/device_spectra.h"

HUD_CORE_BEGIN

// One pair's spectra times a block's, summed over the channels, through the first stage of the
// inverse transform of the columns. A thread does a butterfly and the one of the mirrored
// frequencies, where a real block has the conjugate: a block's spectrum is read for one of the two.
template <int R, typename Group>
HUD_HD void multiply(const Group& group, const TileJob& job, const Complex* scene,
                     const Complex* block, Complex* grid) {
  const int across = static_cast<int>(job.across.length), pitch = tile_pitch(job);
  const Divider by_across(across);
  const int total = static_cast<int>(tile_points(job)) / R;
  const int points = total * R, channels = static_cast<int>(job.channels);
  const int folds = static_cast<int>(job.folds);
  group.each([&](int lane) {
    for (int i = lane; i < folds; i += Group::kLanes) {
      const Fold fold = job.fold[i];
      // Of output j's frequency the mirror is output R - 1 - j, or R - j where the other digits
      // are zero.
      const bool low = fold.low != 0;
      const int first_shift = low ? (1 - R) * total : 0, shift = low ? total : 0;
      float re[R], im[R], mirror_re[R], mirror_im[R];
      HUD_UNROLL
      for (int j = 0; j < R; ++j) re[j] = im[j] = mirror_re[j] = mirror_im[j] = 0;
      const Complex *s = scene + fold.own, *q = block + fold.own, *m = scene + fold.other;
#ifdef __CUDACC__
#pragma unroll 1
#endif
      for (int k = 0; k < channels; ++k, s += points, q += points, m += points) {
        HUD_UNROLL
        for (int j = 0; j < R; ++j) {
          const Complex a = s[j * total], b = q[j * total];
          const Complex c = m[(R - 1 - j) * total + (j == 0 ? first_shift : shift)];
          re[j] += a.re * b.re;
          re[j] += a.im * b.im;
          im[j] += a.im * b.re;
          im[j] -= a.re * b.im;
          mirror_re[j] += c.re * b.re;
          mirror_re[j] -= c.im * b.im;
          mirror_im[j] += c.im * b.re;
          mirror_im[j] += c.re * b.im;
        }
      }
      Butterfly<R, true, float, Single>::run(re, im);
      int above = by_across.quotient(fold.own);
      Complex* to = grid + above * R * pitch + (fold.own - above * across);
      HUD_UNROLL
      for (int j = 0; j < R; ++j) to[j * pitch] = {re[j], im[j]};
      if (fold.other == fold.own) continue;  // its own mirror
      HUD_UNROLL
      for (int j = 0; j < R; ++j) {
        re[j] = low ? mirror_re[(R - j) % R] : mirror_re[R - 1 - j];
        im[j] = low ? mirror_im[(R - j) % R] : mirror_im[R - 1 - j];
      }
      Butterfly<R, true, float, Single>::run(re, im);
      above = by_across.quotient(fold.other);
      to = grid + above * R * pitch + (fold.other - above * across);
      HUD_UNROLL
      for (int j = 0; j < R; ++j) to[j * pitch] = {re[j], im[j]};
    }
  });
}

// Bounds of a window's score are (score + reach) scale and 2 reach scale below.
struct ScoreBounds {
  float offset, slope, slope_size, reach;

  HUD_HD ScoreBounds(const TileJob& job, const BlockNumbers& numbers, float size, float levels) {
    const float u = 0x1p-24f;
    const float terms = (24 * levels + static_cast<float>(job.channels) + 16) * u;
    const float constant = static_cast<float>(numbers.constant);
    slope = static_cast<float>(numbers.along);
    slope_size = (slope < 0 ? -slope : slope) * 8 * u;
    reach = static_cast<float>(numbers.norm) * size * terms * 1.000001f +
            (constant < 0 ? -constant : constant) * 8 * u + 1e-36f;
    offset = constant;
  }
  HUD_HD void at(float correlation, float along, float scale, float& lower, float& upper) const {
    const float room = reach + slope_size * (along < 0 ? -along : along);
    upper = (correlation + offset + slope * along + room) * scale;
    lower = upper - 2 * room * scale;
    if (upper == upper) return;
    upper = __builtin_inff();  // not a number: neither lost nor a bar for others
    lower = -upper;
  }
};

struct TileBounds {
  float lower, upper;
};
struct LargestBounds {
  HUD_HD TileBounds operator()(const TileBounds& a, const TileBounds& b) const {
    return {b.lower > a.lower ? b.lower : a.lower, b.upper > a.upper ? b.upper : a.upper};
  }
};

// Of the windows that it is told of, the largest bounds.
struct KeepLargest {
  TileBounds found;
  HUD_HD void operator()(float lower, float upper, int64_t) {
    found = LargestBounds{}(found, TileBounds{lower, upper});
  }
};

// Those whose upper bound reaches `least` onto the block's list.
struct PutOnList {
  const TileJob& job;
  int64_t block;
  float least;
  HUD_HD void operator()(float, float upper, int64_t position) {
    if (upper < least) return;
    // Where everything ties, nobody queues for what is full.
    if (*static_cast<volatile const int32_t*>(job.offered + block) > job.capacity) return;
    const int64_t place = take_one(job.offered + block);
    if (place >= job.capacity) return;
    job.most[block * job.capacity + place] = upper;
    job.position[block * job.capacity + place] = position;
  }
};

// f(lower, upper, position) for a lane's share of the windows of a pair of tiles.
template <typename Group, typename F>
HUD_HD void for_windows(int lane, const TileJob& job, const Corner* tiles, const Complex* grid,
                        const ScoreBounds& bounds, F& f) {
  const int pitch = tile_pitch(job), stride = static_cast<int>(job.stride);
  const unsigned across = static_cast<unsigned>(job.steps_across),
                 total = across * static_cast<unsigned>(job.steps_down);
  const Divider by_across(across);
  for (unsigned i = lane; i < total; i += Group::kLanes) {
    const int y = by_across.quotient(i), x = i - y * across;
    const Complex both = grid[y * stride * pitch + x * stride];
    HUD_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Corner& tile = tiles[half];
      if (y >= tile.rows || x >= tile.columns) continue;
      const int64_t position = (tile.row + y) * job.columns + tile.column + x;
      const float scale = job.scale[position];
      if (scale != scale) continue;
      float lower, upper;
      bounds.at(half == 0 ? both.re : both.im, job.along[position], scale, lower, upper);
      f(lower, upper, position);
    }
  }
}

// Puts the windows of a pair of tiles that may be the block's best on its list.
template <typename Group>
HUD_HD void offer_windows(const Group& group, const TileJob& job, int64_t pair, int64_t block,
                          const Complex* grid, float levels, TileBounds* scratch) {
  const ScoreBounds bounds(job, job.numbers[block], job.size[pair], levels);
  const Corner tiles[2] = {Corner(job, 2 * pair), Corner(job, 2 * pair + 1)};
  group.each([&](int lane) {
    KeepLargest largest = {{-__builtin_inff(), -__builtin_inff()}};
    for_windows<Group>(lane, job, tiles, grid, bounds, largest);
    scratch[lane] = largest.found;
  });
  const TileBounds tile = reduce_through(group, scratch, LargestBounds{});
  group.each([&](int lane) {
    if (lane == 0) scratch[0].lower = unordered(raise_to(job.least + block, ordered(tile.lower)));
  });
  const float least = scratch[0].lower;
  group.each([](int) {});
  if (tile.upper < least) return;
  group.each([&](int lane) {
    PutOnList put = {job, block, least};
    for_windows<Group>(lane, job, tiles, grid, bounds, put);
  });
}

template <typename Group>
HUD_HD void multiply_of(const Group& group, const TileJob& job, const Complex* scene,
                        const Complex* block, Complex* grid) {
  switch (job.down.radix[job.down.stages - 1]) {
    case 2:
      return multiply<2>(group, job, scene, block, grid);
    case 3:
      return multiply<3>(group, job, scene, block, grid);
    case 4:
      return multiply<4>(group, job, scene, block, grid);
    case 5:
      return multiply<5>(group, job, scene, block, grid);
    default:
      return multiply<8>(group, job, scene, block, grid);
  }
}

// One pair of tiles against one block. `grid` holds a tile of `tile_pitch` times down.
template <typename Group>
HUD_HD void correlate_pair(const Group& group, const TileJob& job, int64_t pair, int64_t block,
                           Complex* grid, TileBounds* scratch) {
  const int across = static_cast<int>(job.across.length), pitch = tile_pitch(job);
  const int64_t each = job.channels * tile_points(job);
  multiply_of(group, job, job.tile_spectra + (pair - job.first_pair) * each,
              job.block_spectra + block * each, grid);
  float levels = 0;
  for (int64_t points = 1; points < tile_points(job); points *= 2) ++levels;
  const int rows = static_cast<int>(job.steps_down), stride = static_cast<int>(job.stride);
  restore_lines(group, Lines{grid, across, 1, pitch}, job.down, job.down.stages - 1);
  restore_lines(group, Lines{grid, rows, stride * pitch, 1}, job.across, job.across.stages);
  offer_windows(group, job, pair, block, grid, levels, scratch);
}

HUD_CORE_END
