// FCLS on the device: a kernel that projects (a warp 16 pixels), one of the rounds (a group a
// pixel), one for what they leave (a warp a pixel). The work is fcls/device_*.h's; here are the
// grids and what lies in shared memory.
#define HUD_ISA device
#include <cstddef>

#include "fcls/device.h"

#include "common/device.cuh"
#include "fcls/device_alone.h"
#include "fcls/device_lane.h"
#include "fcls/device_project.h"

namespace hud::cuda {
namespace {

namespace core = hud::device;

template <typename T, int Tiles>
__global__ void __launch_bounds__(kProjectThreads, Tiles == 8   ? 1
                                                   : Tiles == 4 ? 2
                                                                : 3)
    project(FclsJob job, int64_t tile_bands, int64_t first, int64_t count, bool whole,
            core::ProjectedChunk chunk) {
  extern __shared__ double basis[];
  constexpr int64_t kPixels = kProjectThreads / kWarpThreads * core::kWarpPixels;
  const core::WarpGroup<32> warp;
  const int64_t own = threadIdx.x / kWarpThreads * core::kWarpPixels;
  for (int64_t block = blockIdx.x; block * kPixels < count; block += gridDim.x) {
    core::WarpSums<core::WarpGroup<32>, Tiles> sums;
    core::clear(warp, sums);
    for (int64_t band = 0; band < job.bands; band += tile_bands) {
      const int64_t bands = job.bands - band < tile_bands ? job.bands - band : tile_bands;
      if (tile_bands < job.bands || block == blockIdx.x) {
        __syncthreads();
        const int64_t values = core::basis_values(bands, Tiles);
        for (int64_t i = threadIdx.x; i < values; i += kProjectThreads)
          basis[i] = core::basis_entry(job, band, Tiles, i);
        __syncthreads();
      }
      core::add_bands<T, Tiles>(warp, job, first + block * kPixels + own, first + count, band,
                                bands, whole, basis, sums);
    }
    core::write_sums<Tiles>(warp, job, block * kPixels + own, count, sums, chunk);
  }
}

// Pixels that the rounds leave.
struct LostPixels {
  unsigned long long* count;
  int64_t* list;
};

template <typename T>
__device__ const T* take_table(const T* from, int64_t count, char** to) {
  T* own = reinterpret_cast<T*>(*to);
  for (int64_t i = threadIdx.x; i < count; i += kSolveThreads) own[i] = from[i];
  *to += count * sizeof(T);
  return own;
}

template <int Lanes, int N>
__global__ void __launch_bounds__(kSolveThreads, Lanes == 32 ? 3 : 4)
    solve(FclsJob job, int64_t first, int64_t count, core::ProjectedChunk chunk, LostPixels lost) {
  constexpr int kGroups = kSolveThreads / Lanes;
  __shared__ core::PixelMemory<Lanes, N> memory[kGroups];
  extern __shared__ double tables[];
  if constexpr (N == 1) {  // with more endmembers they would leave no room for a second block
    char* at = reinterpret_cast<char*>(tables);
    job.gram = take_table(job.gram, job.endmembers * job.padded, &at);
    job.columns_t = take_table(job.columns_t, job.rank * job.padded, &at);
    job.start = take_table(job.start, job.rank * job.padded, &at);
    job.columns = take_table(job.columns, job.endmembers * job.rank, &at);
    job.gram32 = take_table(job.gram32, job.endmembers * job.padded, &at);
    __syncthreads();
  }
  const core::WarpGroup<Lanes> group;
  const int own = threadIdx.x / Lanes;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kGroups;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kGroups + own; i < count; i += step) {
    const core::ProjectedPixel from = {chunk.z + i * job.rank, chunk.norm[i], chunk.noise[i]};
    if (!core::solve_pixel(group, job, first + i, from, memory[own]) && group.lane() == 0)
      lost.list[atomicAdd(lost.count, 1ull)] = first + i;
  }
}

// One value a thread, neighbouring threads in neighbouring places: no bank conflicts.
template <typename V>
struct Interleaved {
  V* at;
  __device__ __forceinline__ V& operator()(int i) const { return at[i * kSolveThreads]; }
};

template <int K>
struct LaneShared {
  core::LaneTables<K> tables;
  float h[K][kSolveThreads];
  // Of the finish alone:
  double x[K][kSolveThreads];
  float factor[core::stored_floats(K) > 0 ? core::stored_floats(K) : 1][kSolveThreads];
};
template <int K>
constexpr int kSupportBytes = offsetof(LaneShared<K>, x);

template <int K>
__device__ LaneShared<K>& lane_shared(const FclsJob& job) {
  extern __shared__ double tables[];
  auto& shared = *reinterpret_cast<LaneShared<K>*>(tables);
  core::fill_tables<K>(job, shared.tables, threadIdx.x, kSolveThreads);
  __syncthreads();
  return shared;
}

__device__ core::ProjectedPixel projected(const FclsJob& job, const core::ProjectedChunk& chunk,
                                          int64_t i) {
  return {chunk.z + i * job.rank, chunk.norm[i], chunk.noise[i]};
}

// The triangle alone takes K (K - 1) / 2 registers: up to 255 a thread, two blocks of 128 threads.
template <int K>
__global__ void __launch_bounds__(kSolveThreads, K > 8 ? 2 : 3)
    supports(FclsJob job, int64_t count, core::ProjectedChunk chunk, uint32_t* support) {
  LaneShared<K>& shared = lane_shared<K>(job);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kSolveThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kSolveThreads + threadIdx.x; i < count;
       i += step)
    support[i] = core::lane_support<K>(shared.tables, job, projected(job, chunk, i),
                                       Interleaved<float>{&shared.h[0][threadIdx.x]});
}

template <int K>
__global__ void __launch_bounds__(kSolveThreads, K > 4 ? 2 : 3)
    finish(FclsJob job, int64_t first, int64_t count, core::ProjectedChunk chunk,
           const uint32_t* support, LostPixels lost) {
  LaneShared<K>& shared = lane_shared<K>(job);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kSolveThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kSolveThreads + threadIdx.x; i < count;
       i += step) {
    const bool solved =
        core::lane_solve<K>(shared.tables, job, first + i, projected(job, chunk, i), support[i],
                            Interleaved<double>{&shared.x[0][threadIdx.x]},
                            Interleaved<float>{&shared.h[0][threadIdx.x]},
                            Interleaved<float>{&shared.factor[0][threadIdx.x]});
    if (!solved) lost.list[atomicAdd(lost.count, 1ull)] = first + i;
  }
}

// The pixels of the list, or all of `pixels` where there is none.
__global__ void __launch_bounds__(kAloneThreads, 2)
    alone(FclsJob job, int64_t pixels, LostPixels lost, double* scratch, int64_t values) {
  constexpr int kWarps = kAloneThreads / kWarpThreads;
  const int64_t own = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kWarps;
  const int64_t count = lost.list == nullptr ? pixels : static_cast<int64_t>(*lost.count);
  for (int64_t i = own; i < count; i += step)
    core::solve_pixel_alone(core::WarpGroup<32>{}, job, lost.list == nullptr ? i : lost.list[i],
                            scratch + own * values);
}

template <typename T, int Tiles>
cudaError_t launch_project(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
                           const core::ProjectedChunk& chunk, int device, cudaStream_t stream) {
  const cudaError_t status = allow_shared(project<T, Tiles>, device);
  if (status != cudaSuccess) return status;
  const bool whole =
      reads_whole(job.pixels, job.pixel_stride, job.band_stride, sizeof(T) == sizeof(float));
  project<T, Tiles><<<static_cast<unsigned>(plan.project_blocks), kProjectThreads,
                      static_cast<size_t>(plan.project_bytes), stream>>>(job, plan.bands, first,
                                                                         count, whole, chunk);
  return cudaGetLastError();
}

template <typename T>
auto projection(const FclsPlan& plan) {
  return plan.tiles == 1   ? launch_project<T, 1>
         : plan.tiles == 2 ? launch_project<T, 2>
         : plan.tiles == 4 ? launch_project<T, 4>
                           : launch_project<T, 8>;
}

template <int Lanes, int N>
cudaError_t launch_solve(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
                         const core::ProjectedChunk& chunk, const LostPixels& lost,
                         cudaStream_t stream) {
  static_assert(fits_unasked(sizeof(core::PixelMemory<Lanes, N>), Lanes, N));
  solve<Lanes, N>
      <<<static_cast<unsigned>(plan.solve_blocks), kSolveThreads,
         static_cast<size_t>(plan.table_bytes), stream>>>(job, first, count, chunk, lost);
  return cudaGetLastError();
}

template <int K>
cudaError_t launch_lanes(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
                         const core::ProjectedChunk& chunk, uint32_t* support,
                         const LostPixels& lost, int device, cudaStream_t stream) {
  static_assert(kSupportBytes<K> <= kUnaskedBytes);
  cudaError_t status = allow_shared(finish<K>, device);
  if (status != cudaSuccess) return status;
  const auto blocks = static_cast<unsigned>(plan.solve_blocks);
  supports<K><<<blocks, kSolveThreads, kSupportBytes<K>, stream>>>(job, count, chunk, support);
  status = cudaGetLastError();
  if (status != cudaSuccess) return status;
  finish<K><<<blocks, kSolveThreads, sizeof(LaneShared<K>), stream>>>(job, first, count, chunk,
                                                                      support, lost);
  return cudaGetLastError();
}

cudaError_t launch_chunk(const FclsJob& job, const FclsPlan& plan, int64_t first, int64_t count,
                         const core::ProjectedChunk& chunk, uint32_t* support,
                         const LostPixels& lost, int device, cudaStream_t on) {
  const auto projecting = job.is_float32 ? projection<float>(plan) : projection<double>(plan);
  const cudaError_t status = projecting(job, plan, first, count, chunk, device, on);
  if (status != cudaSuccess) return status;
  if (plan.lanes == 1) {
    const auto solving = plan.unrolled == 4    ? launch_lanes<4>
                         : plan.unrolled == 8  ? launch_lanes<8>
                         : plan.unrolled == 12 ? launch_lanes<12>
                                               : launch_lanes<16>;
    return solving(job, plan, first, count, chunk, support, lost, device, on);
  }
  const auto solving = plan.lanes == 8      ? launch_solve<8, 1>
                       : plan.lanes == 16   ? launch_solve<16, 1>
                       : plan.per_lane == 1 ? launch_solve<32, 1>
                                            : launch_solve<32, 2>;
  return solving(job, plan, first, count, chunk, lost, on);
}

cudaError_t launch_all(const FclsJob& job, int64_t pixels, const FclsPlan& plan, char* scratch,
                       int device, cudaStream_t on) {
  LostPixels lost = {};
  if (plan.lanes != 0) {
    lost = {reinterpret_cast<unsigned long long*>(scratch + plan.count),
            reinterpret_cast<int64_t*>(scratch + plan.list)};
    const core::ProjectedChunk chunk = {reinterpret_cast<double*>(scratch + plan.z),
                                        reinterpret_cast<double*>(scratch + plan.norm),
                                        reinterpret_cast<double*>(scratch + plan.noise)};
    cudaError_t status = cudaMemsetAsync(lost.count, 0, sizeof(*lost.count), on);
    for (int64_t first = 0; status == cudaSuccess && first < pixels; first += plan.chunk)
      status = launch_chunk(job, plan, first, std::min(plan.chunk, pixels - first), chunk,
                            reinterpret_cast<uint32_t*>(scratch + plan.support), lost, device, on);
    if (status != cudaSuccess) return status;
  }
  alone<<<static_cast<unsigned>(plan.alone_blocks), kAloneThreads, 0, on>>>(
      job, pixels, lost, reinterpret_cast<double*>(scratch + plan.alone), plan.alone_values);
  return cudaGetLastError();
}

}  // namespace

int fcls(const FclsJob& job, int64_t pixels, const FclsPlan& plan, void* scratch, int device,
         void* stream) {
  if (pixels == 0) return cudaSuccess;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  return launch_all(job, pixels, plan, static_cast<char*>(scratch), device,
                    static_cast<cudaStream_t>(stream));
}

}  // namespace hud::cuda
