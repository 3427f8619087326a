// Block search by a group of threads: overlap-save correlation whose maps of scores stay in the
// memory that the group shares.
//
// Spectra of scene tiles, made once a scene, times conjugate spectra of blocks, summed over the
// channels in registers; these go through the first stage of the inverse transform right there.
// Only the rows that hold positions are transformed the other way; their scores are compared with
// the best so far, and the windows within the rounding bound are put on the block's list.
//
// The bound is that of cpu/window_fft.h, (24 log2 N + K + 16) u |s||q|: the transforms have the
// same stages in another order, and the device may fuse a product with a sum, which rounds once
// less.
#pragma once

#include "core/block_fft.h"
#include "core/window_tile_job.h"

HUD_CORE_BEGIN

HUD_HD int64_t tile_points(const TileJob& job) { return job.down.length * job.across.length; }

// Floats as integers in the same order, so that a maximum needs no comparison of floats. NaN must
// not come.
HUD_HD uint32_t ordered(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

HUD_HD float unordered(uint32_t bits) {
  bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

constexpr uint32_t kNone = 0x007fffffu;  // `ordered` of minus infinity
constexpr uint32_t kAll = 0xff800000u;   // of infinity: no offer reaches it

// The larger of a number in memory and `value`, which is put there; for many groups at once.
HUD_HD uint32_t raise_to(uint32_t* at, uint32_t value) {
#ifdef __CUDA_ARCH__
  const uint32_t before = atomicMax(at, value);
#else
  const uint32_t before = *at;
  if (value > before) *at = value;
#endif
  return value > before ? value : before;
}

HUD_HD int32_t take_one(int32_t* at) {
#ifdef __CUDA_ARCH__
  return atomicAdd(at, 1);
#else
  return (*at)++;
#endif
}

// 2^-e for the e with 2^(e-1) <= value < 2^e; `value` above 1e-290.
HUD_HD double power_against(double value) {
  int64_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  const int64_t exponent = 2045 - ((bits >> 52) & 0x7ff);
  bits = (exponent < 1 ? 1 : exponent) << 52;
  double power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return power;
}

struct Largest {
  HUD_HD double operator()(double a, double b) const { return a > b ? a : b; }
};
struct Sum {
  HUD_HD double operator()(double a, double b) const { return a + b; }
};

// What a block is centred with and multiplied by; empties its list. `scratch` holds a double a
// lane.
template <typename In, typename Group>
HUD_HD void pack_block(const Group& group, const TileJob& job, int64_t block, double* scratch) {
  const int64_t K = job.channels, pixels = job.block_height * job.block_width;
  const In* values = static_cast<const In*>(job.blocks) + block * pixels * K;
  const double* factors = job.block_factor + block * pixels;
  const double* direction = job.centre + K;
  typename Group::template PerLane<double> sums;
  group.each([&](int lane) {
    double along = 0, largest = 0;
    for (int64_t i = lane; i < pixels; i += Group::kLanes) {
      const double factor = factors[i];
      if (!(factor != 0) || factor != factor) continue;
      for (int64_t k = 0; k < K; ++k) {
        const double value = static_cast<double>(values[i * K + k]) * factor;
        const double size = value < 0 ? -value : value;
        largest = size > largest ? size : largest;
        along += value * direction[k];
      }
    }
    sums[lane] = along;
    scratch[lane] = largest;
  });
  const double largest = reduce_through(group, scratch, Largest{});
  group.each([&](int lane) { scratch[lane] = sums[lane]; });
  const double sum = reduce_through(group, scratch, Sum{});
  const bool zero = !(largest > 1e-290);  // every score is 0
  const double power = zero ? 0 : power_against(largest);
  // Rounded as the search will see it: what is subtracted here is added there.
  const double along = static_cast<float>(sum * power / static_cast<double>(pixels));
  group.each([&](int lane) {
    double square = 0;
    for (int64_t i = lane; i < pixels; i += Group::kLanes) {
      double factor = factors[i] * power;
      if (factor != factor) factor = 0;
      for (int64_t k = 0; k < K; ++k) {
        const double own = factor != 0 ? static_cast<double>(values[i * K + k]) * factor : 0.0;
        const double value = own - along * direction[k];
        square += value * value;
      }
    }
    scratch[lane] = square;
  });
  const double norm = __builtin_sqrt(reduce_through(group, scratch, Sum{}));
  group.each([&](int lane) {
    if (lane != 0) return;
    const double constant = job.one_scale ? 0 : sum * power * job.centre[2 * K];
    job.numbers[block] = {along, norm * (1 + 1e-6), constant, power};
    job.least[block] = zero ? kAll : kNone;
    job.offered[block] = 0;
    job.how[block] = 0;
    if (block == 0) job.again[0] = job.scan[0] = 0;
  });
}

// The columns of a tile forwards, and the spectrum to memory, times `share`: (j, t) for output j of
// the last stage's butterfly t, in which order `multiply` reads it.
template <int R, typename Group>
HUD_HD void store_columns(const Group& group, const Complex* grid, int down, int across,
                          float share, Complex* to) {
  const int pitch = across + 1;
  group.each([&](int lane) {
    const unsigned total = static_cast<unsigned>(down / R * across);
    for (unsigned t = lane; t < total; t += Group::kLanes) {
      const int x = t % static_cast<unsigned>(across), first = t / across * R;
      float re[R], im[R];
      HUD_UNROLL
      for (int j = 0; j < R; ++j) {
        const Complex c = grid[(first + j) * pitch + x];
        re[j] = c.re;
        im[j] = c.im;
      }
      Butterfly<R, false, float, Single>::run(re, im);
      HUD_UNROLL
      for (int j = 0; j < R; ++j)
        to[static_cast<int64_t>(j) * total + t] = {re[j] * share, im[j] * share};
    }
  });
}

// Both transforms of a tile whose first `filled` rows are not all zero.
template <typename Group>
HUD_HD void transform_tile(const Group& group, const TileJob& job, Complex* grid, int filled,
                           float share, Complex* to) {
  const int down = static_cast<int>(job.down.length), across = static_cast<int>(job.across.length);
  const int pitch = across + 1;
  transform_lines(group, Lines{grid, filled, pitch, 1}, job.across, job.across.stages);
  transform_lines(group, Lines{grid, across, 1, pitch}, job.down, job.down.stages - 1);
  switch (job.down.radix[job.down.stages - 1]) {
    case 2:
      return store_columns<2>(group, grid, down, across, share, to);
    case 3:
      return store_columns<3>(group, grid, down, across, share, to);
    case 4:
      return store_columns<4>(group, grid, down, across, share, to);
    case 5:
      return store_columns<5>(group, grid, down, across, share, to);
    default:
      return store_columns<8>(group, grid, down, across, share, to);
  }
}

// A tile's first position, and how many rows and columns of positions and of pixels it has. An odd
// number of tiles leaves the last pair one that has none.
struct Corner {
  int64_t row, column;
  int rows, columns, height, width;

  HUD_HD Corner(const TileJob& job, int64_t tile) {
    row = tile / job.tiles_across * job.steps_down;
    column = tile % job.tiles_across * job.steps_across;
    rows = within(job.rows - row, job.steps_down);
    columns = within(job.columns - column, job.steps_across);
    height = within(job.height - row * job.stride, job.down.length);
    width = within(job.width - column * job.stride, job.across.length);
  }
  HUD_HD static int within(int64_t left, int64_t most) {
    return static_cast<int>(left < 0 ? 0 : left < most ? left : most);
  }
};

// Pixel (y, x) of a tile of the scene in one channel, centred; 0 outside of the scene.
template <typename In>
HUD_HD double centred_pixel(const TileJob& job, const Corner& tile, int y, int x, int64_t k) {
  if (y >= tile.height || x >= tile.width) return 0;
  const int64_t pixel = (tile.row * job.stride + y) * job.width + tile.column * job.stride + x;
  const double factor = job.factor[pixel];
  if (factor != factor) return 0;  // windows that touch it are left out
  const In* scene = static_cast<const In*>(job.scene);
  return (factor != 0 ? static_cast<double>(scene[pixel * job.channels + k]) * factor : 0.0) -
         job.centre[k];
}

// Spectrum of one channel of a pair of tiles, and its squared norm.
template <typename In, typename Group>
HUD_HD void tile_spectrum(const Group& group, const TileJob& job, int64_t pair, int64_t k,
                          Complex* grid, double* scratch) {
  const int down = static_cast<int>(job.down.length), across = static_cast<int>(job.across.length);
  const Corner first(job, 2 * pair), second(job, 2 * pair + 1);
  group.each([&](int lane) {
    double square = 0;
    for (int i = lane; i < down * across; i += Group::kLanes) {
      const int y = i / across, x = i % across;
      const double a = centred_pixel<In>(job, first, y, x, k),
                   b = centred_pixel<In>(job, second, y, x, k);
      grid[y * (across + 1) + x] = {static_cast<float>(a), static_cast<float>(b)};
      square += a * a + b * b;
    }
    scratch[lane] = square;
  });
  const double square = reduce_through(group, scratch, Sum{});
  group.each([&](int lane) {
    if (lane == 0) job.square[pair * job.channels + k] = square;
  });
  const float share = 1.0f / (static_cast<float>(down) * static_cast<float>(across));
  transform_tile(
      group, job, grid, down, share,
      job.tile_spectra + ((pair - job.first_pair) * job.channels + k) * tile_points(job));
}

// Spectrum of one channel of a packed block.
template <typename In, typename Group>
HUD_HD void block_spectrum(const Group& group, const TileJob& job, int64_t block, int64_t k,
                           Complex* grid) {
  const int down = static_cast<int>(job.down.length), across = static_cast<int>(job.across.length);
  const int h = static_cast<int>(job.block_height), w = static_cast<int>(job.block_width);
  const BlockNumbers numbers = job.numbers[block];
  const In* values = static_cast<const In*>(job.blocks) + block * h * w * job.channels;
  const double* factors = job.block_factor + block * h * w;
  const double along = numbers.along * job.centre[job.channels + k];
  group.each([&](int lane) {
    for (int i = lane; i < down * across; i += Group::kLanes) {
      const int y = i / across, x = i % across;
      double value = 0;
      if (y < h && x < w) {
        double factor = factors[y * w + x] * numbers.power;
        if (factor != factor) factor = 0;
        const int64_t at = (static_cast<int64_t>(y) * w + x) * job.channels + k;
        value = (factor != 0 ? static_cast<double>(values[at]) * factor : 0.0) - along;
      }
      grid[y * (across + 1) + x] = {static_cast<float>(value), 0.0f};
    }
  });
  transform_tile(group, job, grid, h, 1.0f,
                 job.block_spectra + (block * job.channels + k) * tile_points(job));
}

// One pair's spectra times N blocks', summed over the channels, through the first stage of the
// inverse transform of the columns.
template <int R, int N, typename Group>
HUD_HD void multiply(const Group& group, const TileJob& job, const Complex* scene,
                     const Complex* const* blocks, Complex* grid, int64_t size) {
  const int across = static_cast<int>(job.across.length), pitch = across + 1;
  const unsigned total = static_cast<unsigned>(tile_points(job)) / R;
  const int64_t K = job.channels, points = tile_points(job);
  group.each([&](int lane) {
    for (unsigned t = lane; t < total; t += Group::kLanes) {
      float re[N][R], im[N][R];
      HUD_UNROLL
      for (int b = 0; b < N; ++b) HUD_UNROLL
      for (int j = 0; j < R; ++j) re[b][j] = im[b][j] = 0;
#ifdef __CUDACC__
#pragma unroll 1
#endif
      for (int64_t k = 0; k < K; ++k) {
        HUD_UNROLL
        for (int j = 0; j < R; ++j) {
          const int64_t at = k * points + static_cast<int64_t>(j) * total + t;
          const Complex s = scene[at];
          HUD_UNROLL
          for (int b = 0; b < N; ++b) {
            const Complex q = blocks[b][at];
            re[b][j] += s.re * q.re;
            re[b][j] += s.im * q.im;
            im[b][j] += s.im * q.re;
            im[b][j] -= s.re * q.im;
          }
        }
      }
      const int x = t % static_cast<unsigned>(across), first = t / across * R;
      HUD_UNROLL
      for (int b = 0; b < N; ++b) {
        Butterfly<R, true, float, Single>::run(re[b], im[b]);
        HUD_UNROLL
        for (int j = 0; j < R; ++j) grid[b * size + (first + j) * pitch + x] = {re[b][j], im[b][j]};
      }
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
  const int pitch = static_cast<int>(job.across.length) + 1, stride = static_cast<int>(job.stride);
  const unsigned across = static_cast<unsigned>(job.steps_across),
                 total = across * static_cast<unsigned>(job.steps_down);
  for (unsigned i = lane; i < total; i += Group::kLanes) {
    const int y = i / across, x = i % across;
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

template <int N, typename Group>
HUD_HD void multiply_of(const Group& group, const TileJob& job, const Complex* scene,
                        const Complex* const* blocks, Complex* grid, int64_t size) {
  switch (job.down.radix[job.down.stages - 1]) {
    case 2:
      return multiply<2, N>(group, job, scene, blocks, grid, size);
    case 3:
      return multiply<3, N>(group, job, scene, blocks, grid, size);
    case 4:
      return multiply<4, N>(group, job, scene, blocks, grid, size);
    case 5:
      return multiply<5, N>(group, job, scene, blocks, grid, size);
    default:
      return multiply<8, N>(group, job, scene, blocks, grid, size);
  }
}

// One pair of tiles against `n` <= N blocks; `which` lists them, or null for `first` and those
// after it. `grid` holds N tiles of (down, across + 1).
template <int N, typename Group>
HUD_HD void correlate_pair(const Group& group, const TileJob& job, int64_t pair,
                           const int32_t* which, int64_t first, int n, Complex* grid,
                           TileBounds* scratch) {
  const int across = static_cast<int>(job.across.length), pitch = across + 1;
  const int64_t size = job.down.length * pitch, each = job.channels * tile_points(job);
  const Complex* blocks[N];
  HUD_UNROLL
  for (int b = 0; b < N; ++b) {  // what is beyond the last is done twice and not looked at
    const int64_t at = first + (b < n ? b : 0);
    blocks[b] = job.block_spectra + (which == nullptr ? at : which[at]) * each;
  }
  multiply_of<N>(group, job, job.tile_spectra + (pair - job.first_pair) * each, blocks, grid, size);
  float levels = 0;
  for (int64_t points = 1; points < tile_points(job); points *= 2) ++levels;
  const int rows = static_cast<int>(job.steps_down), stride = static_cast<int>(job.stride);
  for (int b = 0; b < n; ++b) {
    Complex* own = grid + b * size;
    restore_lines(group, Lines{own, across, 1, pitch}, job.down, job.down.stages - 1);
    restore_lines(group, Lines{own, rows, stride * pitch, 1}, job.across, job.across.stages);
    offer_windows(group, job, pair, which == nullptr ? first + b : which[first + b], own, levels,
                  scratch);
  }
}

HUD_CORE_END
