// The block search for groups of threads, run on the host: the groups one after another, a group's
// threads as a loop. What the tests of machines without a GPU run.
#define HUD_ISA emulated

#include "windows/device.h"

#include <vector>

#include "windows/device_exact.h"

namespace hud::emulated {
namespace {

using Group = HostGroup<kTileLanes>;

template <typename T>
std::vector<T> of_lanes() {
  return std::vector<T>(kTileLanes);
}

std::vector<Complex> one_grid(const TileJob& job) {
  return std::vector<Complex>(static_cast<size_t>(job.down.length * tile_pitch(job)));
}

template <typename In>
void tiles(const TileJob& job) {
  std::vector<Complex> grid = one_grid(job);
  std::vector<double> scratch = of_lanes<double>();
  for (int64_t i = 0; i < job.pairs * job.channels; ++i)
    tile_spectrum<In>(Group{}, job, job.first_pair + i / job.channels, i % job.channels,
                      grid.data(), scratch.data());
}

template <typename In>
void blocks(const TileJob& job, bool spectra) {
  std::vector<double> scratch = of_lanes<double>();
  for (int64_t b = 0; b < job.count; ++b) pack_block<In>(Group{}, job, b, scratch.data());
  if (!spectra) return;
  std::vector<Complex> grid = one_grid(job);
  for (int64_t i = 0; i < job.count * job.channels; ++i)
    block_spectrum<In>(Group{}, job, i / job.channels, i % job.channels, grid.data());
}

template <typename In>
void answers(const TileJob& job) {
  std::vector<double> rows = of_lanes<double>();
  std::vector<BestWindow> scratch = of_lanes<BestWindow>();
  for (int64_t i = 0; i < job.scan[0] * job.pieces; ++i)
    scan_piece<In>(Group{}, job, job.scan[1 + i / job.pieces], i % job.pieces, scratch.data());
  for (int64_t b = 0; b < job.count; ++b) answer<In>(Group{}, job, b, rows.data(), scratch.data());
}

}  // namespace

int window_tiles(const TileJob& job, int, void*) {
  job.is_float32 ? tiles<float>(job) : tiles<double>(job);
  return 0;
}

int window_blocks(const TileJob& job, bool spectra, int, void*) {
  job.is_float32 ? blocks<float>(job, spectra) : blocks<double>(job, spectra);
  return 0;
}

int window_correlate(const TileJob& job, bool again, int, void*) {
  std::vector<Complex> grid = one_grid(job);
  std::vector<TileBounds> scratch = of_lanes<TileBounds>();
  const int64_t count = again ? job.again[0] : job.count;
  for (int64_t pair = job.first_pair; pair < job.first_pair + job.pairs; ++pair)
    for (int64_t i = 0; i < count; ++i)
      correlate_pair(Group{}, job, pair, again ? job.again[1 + i] : i, grid.data(), scratch.data());
  return 0;
}

int window_settle(const TileJob& job, int how, int, void*) {
  for (int64_t b = 0; b < job.count; ++b) settle_block(job, b, how);
  return 0;
}

int window_answer(const TileJob& job, int, void*) {
  job.is_float32 ? answers<float>(job) : answers<double>(job);
  return 0;
}

}  // namespace hud::emulated
