// The pruned cosine search on the device: csrc/cosine/device_search.h, one block a tile of queries.
#define HUD_ISA device
#include "common/device.cuh"
#include "cosine/device.h"
#include "cosine/device_pack.h"
#include "cosine/device_search.h"

namespace hud::cuda {
namespace {

// Two blocks a multiprocessor: at most 128 registers a thread.
__global__ void __launch_bounds__(kSearchThreads, 2)
    search(const CosineSearchJob job, int buffers) {
  extern __shared__ __align__(16) char shared[];
  hud::device::search_tile(hud::device::BlockGroup<kSearchThreads>{}, job, buffers,
                           static_cast<int64_t>(blockIdx.x) * kTile, shared);
}

__global__ void __launch_bounds__(kTile) pack(const CosinePackJob job) {
  __shared__ hud::device::PackShared shared;
  hud::device::pack_tile(hud::device::BlockGroup<kTile>{}, job, blockIdx.x, shared);
}

__global__ void __launch_bounds__(kThreads)
    inverse_norms(const hud::device::Rows rows, int64_t count, int64_t bands, double* inverse) {
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / 32);
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  for (int64_t pair = warp; 2 * pair < count; pair += warps)
    hud::device::inverse_norms(hud::device::WarpGroup<32>{}, rows, count, bands, 2 * pair, inverse);
}

constexpr int64_t kMostBlocks = 0x7fffffff;

}  // namespace

int64_t shared_limit(int device) { return shared_of(device); }

int row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands, double* inverse,
                int device, void* stream) {
  if (count == 0) return cudaSuccess;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  inverse_norms<<<blocks_for(count * 16), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      hud::device::Rows{rows, is_float32}, count, bands, inverse);
  return cudaGetLastError();
}

int cosine_pack(const CosinePackJob& job, int device, void* stream) {
  if (job.tiles == 0) return cudaSuccess;
  if (job.tiles > kMostBlocks) return cudaErrorInvalidConfiguration;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  pack<<<static_cast<unsigned>(job.tiles), kTile, 0, static_cast<cudaStream_t>(stream)>>>(job);
  return cudaGetLastError();
}

int cosine_search(const CosineSearchJob& job, int device, void* stream) {
  const int64_t tiles = (job.queries + kTile - 1) / kTile;
  if (tiles == 0) return cudaSuccess;
  if (tiles > kMostBlocks) return cudaErrorInvalidConfiguration;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  const int64_t shared = shared_of(device);
  const CosinePlan plan = cosine_plan(job.depth, shared);
  if (plan.bytes > shared) return cudaErrorInvalidConfiguration;
  const cudaError_t raised = allow_shared(search, device);
  if (raised != cudaSuccess) return raised;
  search<<<static_cast<unsigned>(tiles), kSearchThreads, static_cast<size_t>(plan.bytes),
           static_cast<cudaStream_t>(stream)>>>(job, plan.buffers);
  return cudaGetLastError();
}

}  // namespace hud::cuda
