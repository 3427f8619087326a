#include "windows/device_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace hud {
namespace {

// Bytes and operations a nanosecond of a Hopper-class chip, from its data sheet and what such code
// commonly reaches; not measured. What they decide is only which of the exact ways is taken.
constexpr double kCache = 5000;      // bytes from the second cache
constexpr double kShared = 20000;    // bytes of memory that a group shares
constexpr double kFloat = 15000;     // float32 operations
constexpr double kDouble = 1500;     // float64 operations of a scan
constexpr double kTurn = 4;          // nanoseconds of waiting for each other, a pair and block
constexpr int64_t kPerGroup = 1024;  // bytes that the device keeps of a group's share
constexpr int kMostGroups = 3;       // groups at once on a multiprocessor, by their registers
constexpr int64_t kLargest = 1024;   // points of an axis

bool smooth(int64_t n) {
  for (const int64_t factor : {2, 3, 5})
    while (n % factor == 0) n /= factor;
  return n == 1;
}

// Lengths worth trying for an axis: from the block's own to the first that holds the whole axis.
std::vector<int64_t> lengths(int64_t size, int64_t block, int64_t forced) {
  if (forced > 0) return {forced};
  std::vector<int64_t> found;
  for (int64_t n = std::max<int64_t>(block, 2); n <= kLargest; ++n) {
    if (!smooth(n)) continue;
    found.push_back(n);
    if (n >= size) break;
  }
  return found;
}

int stages(int64_t length) {
  FftPlan plan;
  std::vector<double> unused;
  make_fft(length, plan, unused);
  return plan.stages;
}

void cut(int64_t length, int64_t block, int64_t stride, int64_t positions, int64_t& steps,
         int64_t& tiles) {
  steps = std::min(positions, (length - block) / stride + 1);
  tiles = (positions + steps - 1) / steps;
}

// The frequency at each index that the first `stages` stages leave, digits last first.
std::vector<int64_t> digits(const FftPlan& plan, int stages) {
  std::vector<int64_t> found = {0};
  int64_t weight = 1;
  for (int stage = 0; stage < stages; ++stage) {
    const int64_t radix = plan.radix[stage];
    std::vector<int64_t> next;
    for (const int64_t before : found)
      for (int64_t digit = 0; digit < radix; ++digit) next.push_back(before + weight * digit);
    found = next;
    weight *= radix;
  }
  return found;
}

// The index that holds the negative frequency, for each.
std::vector<int64_t> mirrors(const std::vector<int64_t>& frequency) {
  const int64_t n = static_cast<int64_t>(frequency.size());
  std::vector<int64_t> index(frequency.size()), found(frequency.size());
  for (int64_t i = 0; i < n; ++i) index[frequency[i]] = i;
  for (int64_t i = 0; i < n; ++i) found[i] = index[(n - frequency[i]) % n];
  return found;
}

double cost_of(const WindowShape& s, const TilePlan& p, int stages_down, int stages_across,
               int64_t shared_limit) {
  const double points = static_cast<double>(p.down * p.across), K = static_cast<double>(s.channels);
  const double rows = static_cast<double>(p.steps_down * p.across);
  const double spectra = points * K * 8 * 1.5;  // the scene's, and half of a block's
  const double tile = 8 * (points * (2 * stages_down - 1) + rows * 2 * stages_across) +
                      24 * static_cast<double>(p.steps_down * p.steps_across);
  const double work = points * (8 * K + 5 * std::log2(static_cast<double>(p.down))) +
                      rows * 5 * std::log2(static_cast<double>(p.across));
  const int64_t groups =
      std::min<int64_t>(kMostGroups, (shared_limit + kPerGroup) / (p.shared + kPerGroup));
  // Alone, a group leaves the multiprocessor idle whenever its threads wait for each other.
  const double idle = groups >= 3 ? 1.0 : groups == 2 ? 1.25 : 1.8;
  return static_cast<double>(p.pairs()) * idle *
         (spectra / kCache + tile / kShared + work / kFloat + kTurn);
}

}  // namespace

int64_t tile_bytes(int64_t down, int64_t across) {
  return down * (across | 1) * 8 + kTileLanes * 8;
}

std::vector<Fold> fold_butterflies(const FftPlan& down, const FftPlan& across) {
  // Frequencies in the order that decimation leaves them in: of a column's butterflies without the
  // last digit, and of the columns.
  const std::vector<int64_t> low = digits(down, down.stages - 1),
                             columns = digits(across, across.stages);
  const std::vector<int64_t> place = mirrors(low), other = mirrors(columns);
  std::vector<Fold> found;
  for (size_t above = 0; above < low.size(); ++above)
    for (size_t x = 0; x < columns.size(); ++x) {
      const int64_t own = static_cast<int64_t>(above * columns.size() + x);
      const int64_t mirror = place[above] * across.length + other[x];
      if (mirror < own) continue;
      found.push_back({static_cast<int32_t>(own), static_cast<int32_t>(mirror), low[above] == 0});
    }
  return found;
}

TilePlan choose_tiles(const WindowShape& s, int64_t shared_limit, int path, int64_t tile_down,
                      int64_t tile_across) {
  const int64_t rows = s.rows(), columns = s.columns();
  TilePlan best;
  best.cost = std::numeric_limits<double>::infinity();
  if (path != 2)
    best.cost = static_cast<double>(rows * columns) *
                static_cast<double>(s.block_height * s.block_width) *
                static_cast<double>(s.channels) * 2 / kDouble;
  if (path == 1) return best;
  for (const int64_t down : lengths(s.height, s.block_height, tile_down)) {
    const int stages_down = stages(down);
    for (const int64_t across : lengths(s.width, s.block_width, tile_across)) {
      const int stages_across = stages(across);
      TilePlan p;
      p.transforms = true;
      p.down = down;
      p.across = across;
      p.shared = tile_bytes(down, across);
      if (p.shared > shared_limit) continue;
      cut(down, s.block_height, s.stride, rows, p.steps_down, p.tiles_down);
      cut(across, s.block_width, s.stride, columns, p.steps_across, p.tiles_across);
      p.cost = cost_of(s, p, stages_down, stages_across, shared_limit);
      if (p.cost < best.cost) best = p;
    }
  }
  if (!(best.cost < std::numeric_limits<double>::infinity()))
    throw std::length_error("no tile of this size fits into the memory that a group shares");
  return best;
}

}  // namespace hud
