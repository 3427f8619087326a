// Packing blocks, and the spectra of blocks and of scene tiles, by a group of threads.
#pragma once

#include "windows/device_fft.h"
#include "windows/device_job.h"

HUD_CORE_BEGIN

HUD_HD int64_t tile_points(const TileJob& job) { return job.down.length * job.across.length; }

// Points from row to row of a tile in the group's memory: odd, so that neighbouring rows lie in
// other banks.
HUD_HD int tile_pitch(const TileJob& job) { return static_cast<int>(job.across.length) | 1; }

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

// A number counted up, for many groups at once; its value before.
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
HUD_HD void store_columns(const Group& group, const Complex* grid, int down, int across, int pitch,
                          float share, Complex* to) {
  const unsigned total = static_cast<unsigned>(down / R * across);
  const Divider by_across(across);
  group.each([&](int lane) {
    for (unsigned t = lane; t < total; t += Group::kLanes) {
      const int above = by_across.quotient(t), x = t - above * across, first = above * R;
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
  const int pitch = tile_pitch(job);
  transform_lines(group, Lines{grid, filled, pitch, 1}, job.across, job.across.stages);
  transform_lines(group, Lines{grid, across, 1, pitch}, job.down, job.down.stages - 1);
  switch (job.down.radix[job.down.stages - 1]) {
    case 2:
      return store_columns<2>(group, grid, down, across, pitch, share, to);
    case 3:
      return store_columns<3>(group, grid, down, across, pitch, share, to);
    case 4:
      return store_columns<4>(group, grid, down, across, pitch, share, to);
    case 5:
      return store_columns<5>(group, grid, down, across, pitch, share, to);
    default:
      return store_columns<8>(group, grid, down, across, pitch, share, to);
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
  const int pitch = tile_pitch(job);
  const Divider by_across(across);
  const Corner first(job, 2 * pair), second(job, 2 * pair + 1);
  group.each([&](int lane) {
    double square = 0;
    for (int i = lane; i < down * across; i += Group::kLanes) {
      const int y = by_across.quotient(i), x = i - y * across;
      const double a = centred_pixel<In>(job, first, y, x, k),
                   b = centred_pixel<In>(job, second, y, x, k);
      grid[y * pitch + x] = {static_cast<float>(a), static_cast<float>(b)};
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
  const int pitch = tile_pitch(job);
  const Divider by_across(across);
  const BlockNumbers numbers = job.numbers[block];
  const In* values = static_cast<const In*>(job.blocks) + block * h * w * job.channels;
  const double* factors = job.block_factor + block * h * w;
  const double along = numbers.along * job.centre[job.channels + k];
  group.each([&](int lane) {
    for (int i = lane; i < down * across; i += Group::kLanes) {
      const int y = by_across.quotient(i), x = i - y * across;
      double value = 0;
      if (y < h && x < w) {
        double factor = factors[y * w + x] * numbers.power;
        if (factor != factor) factor = 0;
        const int64_t at = (static_cast<int64_t>(y) * w + x) * job.channels + k;
        value = (factor != 0 ? static_cast<double>(values[at]) * factor : 0.0) - along;
      }
      grid[y * pitch + x] = {static_cast<float>(value), 0.0f};
    }
  });
  transform_tile(group, job, grid, h, 1.0f,
                 job.block_spectra + (block * job.channels + k) * tile_points(job));
}

HUD_CORE_END
