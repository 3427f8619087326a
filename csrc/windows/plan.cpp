#include "windows/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace hud {
namespace {

// Costs in nanoseconds for a group of blocks, fitted to timings of 37 tilings on Zen 4 (AVX-512,
// within 12 % for all but three); the other levels keep the proportions. What they decide is only
// which of the exact paths is taken.
constexpr double kDirect = 0.52;     // a window's pixel and channel
constexpr double kWindow = 15;       // a window, beside its pixels
constexpr double kMultiply = 1.40;   // a frequency and channel of a pair of tiles
constexpr double kButterfly = 0.44;  // a point of a transform, for each factor of two
constexpr double kStage = 4.2;       // a point in a stage that the first cache does not hold ...
constexpr double kFirst = 28000;     // ... of so many bytes
constexpr double kOffer = 21;        // a position of a pair of tiles
constexpr double kFar = 0.041;       // a byte of the blocks' spectra

std::vector<int32_t> radices(int64_t length) {
  std::vector<int32_t> found;
  int twos = 0;
  for (; length % 2 == 0; length /= 2) ++twos;
  for (; length % 3 == 0; length /= 3) found.push_back(3);
  for (; length % 5 == 0; length /= 5) found.push_back(5);
  if (length != 1) return {0};
  while (twos >= 3 && twos != 4) {
    found.push_back(8);
    twos -= 3;
  }
  for (; twos >= 2; twos -= 2) found.push_back(4);
  if (twos == 1) found.push_back(2);
  return found;
}

double fft_cost(int64_t length, int64_t vector_bytes) {
  const double n = static_cast<double>(length),
               stages = static_cast<double>(radices(length).size());
  const double bytes = 6 * n * static_cast<double>(vector_bytes);
  const double beyond = bytes > kFirst ? (bytes - kFirst) / bytes : 0;
  return n * (kButterfly * std::log2(n) + kStage * stages * beyond);
}

bool smooth(int64_t n) {
  for (const int64_t factor : {2, 3, 5})
    while (n % factor == 0) n /= factor;
  return n == 1;
}

// Lengths worth trying for an axis of `size` pixels and blocks of `block`: from the block's own to
// the first that holds the whole axis.
std::vector<int64_t> lengths(int64_t size, int64_t block, int64_t forced) {
  if (forced > 0) return {forced};
  std::vector<int64_t> found;
  if (block == 1) found.push_back(1);
  for (int64_t n = block; n <= 16384; ++n) {
    if (!smooth(n)) continue;
    found.push_back(n);
    if (n >= size) break;
  }
  return found;
}

void cut(int64_t length, int64_t block, int64_t stride, int64_t positions, int64_t& steps,
         int64_t& tiles) {
  steps = std::min(positions, (length - block) / stride + 1);
  tiles = (positions + steps - 1) / steps;
}

int64_t work_vectors(const WindowShape& s, const WindowPlan& p, int64_t pairs) {
  WindowJob job = {};
  job.down.length = p.down;
  job.across.length = p.across;
  job.steps_down = p.steps_down;
  job.steps_across = p.steps_across;
  job.block_height = s.block_height;
  job.block_width = s.block_width;
  return std::max({scene_work(job), block_work(job), correlate_work(job, pairs)});
}

}  // namespace

int64_t map_bytes(const WindowShape& s, const WindowPlan& p, int64_t scalar) {
  if (!p.transforms)
    return s.rows() * s.columns() * 5 * scalar +
           s.height * s.width * (s.channels * scalar + 3 * static_cast<int64_t>(sizeof(double)));
  const int64_t tiles = p.tiles_down * p.tiles_across + 1;
  return tiles * p.steps_down * p.steps_across * 3 * scalar +
         s.height * s.width * 3 * static_cast<int64_t>(sizeof(double));
}

int64_t group_bytes(const WindowShape& s, const WindowPlan& p, int64_t vector_bytes) {
  const int64_t packed = s.block_height * s.block_width * s.channels;
  if (!p.transforms) return packed * vector_bytes;
  return (packed + (p.across / 2 + 1) * p.down * s.channels * 2) * vector_bytes;
}

int64_t pair_bytes(const WindowShape& s, const WindowPlan& p, int64_t scalar) {
  return p.transforms ? p.down * p.across * s.channels * 2 * scalar : 0;
}

namespace {

// Every plan that the options leave, each with what it costs and takes.
template <typename Consider>
void each_plan(const WindowShape& s, const WindowOptions& options, int64_t vector_bytes,
               const Consider& consider) {
  constexpr int64_t kWide = sizeof(double);  // the second pass is in float64
  const double channels = static_cast<double>(s.channels);
  const int64_t rows = s.rows(), columns = s.columns();
  if (options.path != 2) {
    WindowPlan plan;
    plan.cost =
        static_cast<double>(rows * columns) *
        (kWindow + kDirect * static_cast<double>(s.block_height * s.block_width) * channels);
    plan.bytes = map_bytes(s, plan, sizeof(float)) + group_bytes(s, plan, vector_bytes);
    consider(plan);
  }
  if (options.path != 1) {
    for (const int64_t down : lengths(s.height, s.block_height, options.tile_down))
      for (const int64_t across : lengths(s.width, s.block_width, options.tile_across)) {
        WindowPlan p;
        p.transforms = true;
        p.down = down;
        p.across = across;
        cut(down, s.block_height, s.stride, rows, p.steps_down, p.tiles_down);
        cut(across, s.block_width, s.stride, columns, p.steps_across, p.tiles_across);
        const double pairs = static_cast<double>(p.pairs()),
                     half = static_cast<double>(across / 2 + 1);
        const double points = static_cast<double>(down) * static_cast<double>(across);
        const double steps = static_cast<double>(p.steps_down * p.steps_across);
        const double along = fft_cost(across, vector_bytes), upright = fft_cost(down, vector_bytes);
        // The blocks' spectra are written once, and read once for kPairs tile pairs.
        const double spectra =
            half * static_cast<double>(down) * channels * 2 * static_cast<double>(vector_bytes);
        p.cost = pairs * (points * channels * kMultiply + static_cast<double>(across) * upright +
                          static_cast<double>(p.steps_down) * along + steps * kOffer) +
                 channels * (0.5 * static_cast<double>(s.block_height) * along + half * upright);
        p.cost += kFar * spectra * (1 + std::ceil(pairs / kPairs));
        p.bytes = map_bytes(s, p, kWide) + group_bytes(s, p, vector_bytes) +
                  pair_bytes(s, p, kWide) + work_vectors(s, p, 1) * vector_bytes;
        consider(p);
      }
  }
}

}  // namespace

WindowPlan choose_plan(const WindowShape& s, const WindowOptions& options, int64_t vector_bytes) {
  WindowPlan best;
  best.cost = std::numeric_limits<double>::infinity();
  each_plan(s, options, vector_bytes, [&](const WindowPlan& plan) {
    const bool fits = options.memory_limit == 0 || plan.bytes <= options.memory_limit;
    if (fits && plan.cost < best.cost) best = plan;
  });
  if (!(best.cost < std::numeric_limits<double>::infinity()))
    throw std::length_error("no search fits into this memory");
  return best;
}

int64_t least_bytes(const WindowShape& s, const WindowOptions& options, int64_t vector_bytes) {
  int64_t least = std::numeric_limits<int64_t>::max();
  each_plan(s, options, vector_bytes,
            [&](const WindowPlan& plan) { least = std::min(least, plan.bytes); });
  return least;
}

bool make_fft(int64_t length, FftPlan& plan, std::vector<double>& twiddle) {
  plan = {};
  plan.length = length;
  const std::vector<int32_t> factors = length == 1 ? std::vector<int32_t>{} : radices(length);
  if (!factors.empty() && factors[0] == 0) return false;
  const long double turn = 2 * 3.14159265358979323846264338327950288L;
  twiddle.clear();
  int64_t n = length;
  for (const int32_t radix : factors) {
    plan.radix[plan.stages++] = radix;
    const int64_t m = n / radix;
    for (int64_t p = 0; p < m; ++p)
      for (int64_t j = 1; j < radix; ++j) {
        const long double angle = turn * static_cast<long double>((p * j) % n) / n;
        twiddle.push_back(static_cast<double>(std::cos(angle)));
        twiddle.push_back(static_cast<double>(std::sin(angle)));
      }
    n = m;
  }
  return true;
}

}  // namespace hud
