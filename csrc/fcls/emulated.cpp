// FCLS for groups of threads, run on the host: the groups one after another, a group's lanes as a
// loop. What the tests of machines without a GPU run.
#define HUD_ISA emulated

#include "fcls/device.h"

#include <vector>

#include "fcls/device_alone.h"
#include "fcls/device_lane.h"
#include "fcls/device_project.h"

namespace hud::emulated {
namespace {

template <typename T, int Tiles>
void project(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
             const ProjectedChunk& chunk) {
  const bool whole =
      reads_whole(job.pixels, job.pixel_stride, job.band_stride, sizeof(T) == sizeof(float));
  std::vector<double> basis(static_cast<size_t>(plan.project_bytes / 8));
  const HostGroup<32> warp;
  for (int64_t place = 0; place < count; place += kWarpPixels) {
    WarpSums<HostGroup<32>, Tiles> sums;
    clear(warp, sums);
    for (int64_t band = 0; band < job.bands; band += plan.bands) {
      const int64_t bands = std::min(plan.bands, job.bands - band);
      for (int64_t i = 0; i < basis_values(bands, Tiles); ++i)
        basis[i] = basis_entry(job, band, Tiles, i);
      add_bands<T, Tiles>(warp, job, first + place, first + count, band, bands, whole, basis.data(),
                          sums);
    }
    write_sums<Tiles>(warp, job, place, count, sums, chunk);
  }
}

template <typename T>
void project(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
             const ProjectedChunk& chunk) {
  if (plan.tiles == 1) return project<T, 1>(job, plan, first, count, chunk);
  if (plan.tiles == 2) return project<T, 2>(job, plan, first, count, chunk);
  if (plan.tiles == 4) return project<T, 4>(job, plan, first, count, chunk);
  return project<T, 8>(job, plan, first, count, chunk);
}

template <int Lanes, int N>
void solve(const FclsJob& job, int64_t first, int64_t count, const ProjectedChunk& chunk,
           int64_t* lost, int64_t* list) {
  const HostGroup<Lanes> group;
  PixelMemory<Lanes, N> memory;
  static_assert(fits_unasked(sizeof(memory), Lanes, N));  // on the device; told here without one
  for (int64_t i = 0; i < count; ++i) {
    const ProjectedPixel from = {chunk.z + i * job.rank, chunk.norm[i], chunk.noise[i]};
    if (!solve_pixel(group, job, first + i, from, memory)) list[(*lost)++] = first + i;
  }
}

struct Doubles {
  double* at;
  double& operator()(int i) const { return at[i]; }
};
struct Singles {
  float* at;
  float& operator()(int i) const { return at[i]; }
};

template <int K>
void solve_lanes(const FclsJob& job, int64_t first, int64_t count, const ProjectedChunk& chunk,
                 uint32_t* support, int64_t* lost, int64_t* list) {
  std::vector<LaneTables<K>> tables(1);
  for (int lane = 0; lane < kSolveThreads; ++lane)
    fill_tables<K>(job, tables[0], lane, kSolveThreads);
  double x[K];
  float h[K], factor[K * (K + 1) / 2];
  const auto from = [&](int64_t i) {
    return ProjectedPixel{chunk.z + i * job.rank, chunk.norm[i], chunk.noise[i]};
  };
  for (int64_t i = 0; i < count; ++i)
    support[i] = lane_support<K>(tables[0], job, from(i), Singles{h});
  for (int64_t i = 0; i < count; ++i)
    if (!lane_solve<K>(tables[0], job, first + i, from(i), support[i], Doubles{x}, Singles{h},
                       Singles{factor}))
      list[(*lost)++] = first + i;
}

void solve(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
           const ProjectedChunk& chunk, uint32_t* support, int64_t* lost, int64_t* list) {
  if (plan.lanes == 1) {
    const auto solving = plan.unrolled == 4    ? solve_lanes<4>
                         : plan.unrolled == 8  ? solve_lanes<8>
                         : plan.unrolled == 12 ? solve_lanes<12>
                                               : solve_lanes<16>;
    return solving(job, first, count, chunk, support, lost, list);
  }
  if (plan.lanes == 8) return solve<8, 1>(job, first, count, chunk, lost, list);
  if (plan.lanes == 16) return solve<16, 1>(job, first, count, chunk, lost, list);
  if (plan.per_lane == 1) return solve<32, 1>(job, first, count, chunk, lost, list);
  return solve<32, 2>(job, first, count, chunk, lost, list);
}

FclsGroupWays run(const FclsJob& job, int64_t pixels, const FclsPlan& plan, char* scratch) {
  auto* lost = reinterpret_cast<int64_t*>(scratch + plan.count);
  auto* list = reinterpret_cast<int64_t*>(scratch + plan.list);
  auto* alone = reinterpret_cast<double*>(scratch + plan.alone);
  const HostGroup<32> warp;
  if (plan.lanes == 0) {
    for (int64_t p = 0; p < pixels; ++p) solve_pixel_alone(warp, job, p, alone);
    return {0, pixels};
  }
  const ProjectedChunk chunk = {reinterpret_cast<double*>(scratch + plan.z),
                                reinterpret_cast<double*>(scratch + plan.norm),
                                reinterpret_cast<double*>(scratch + plan.noise)};
  auto* support = reinterpret_cast<uint32_t*>(scratch + plan.support);
  *lost = 0;
  for (int64_t first = 0; first < pixels; first += plan.chunk) {
    const int64_t count = std::min(plan.chunk, pixels - first);
    job.is_float32 ? project<float>(job, plan, first, count, chunk)
                   : project<double>(job, plan, first, count, chunk);
    solve(job, plan, first, count, chunk, support, lost, list);
  }
  for (int64_t i = 0; i < *lost; ++i) solve_pixel_alone(warp, job, list[i], alone);
  return {pixels - *lost, *lost};
}

}  // namespace

FclsGroupWays fcls(const FclsJob& job, int64_t pixels, const FclsPlan& plan, void* scratch) {
  return run(job, pixels, plan, static_cast<char*>(scratch));
}

int64_t fcls_alone_values(int64_t endmembers, int64_t rank) {
  return alone_scratch(endmembers, rank);
}

}  // namespace hud::emulated
