// Block search on the device: the kernels are loops of groups over windows/device_tiles.h and
// windows/device_exact.h.
#define HUD_ISA device

#include "windows/device.h"

#include "common/device.cuh"
#include "windows/device_exact.h"

namespace hud::cuda {
namespace {

using namespace hud::device;
using Group = BlockGroup<kTileLanes>;

constexpr unsigned kMostBlocks = 1u << 16;  // of a grid; the kernels stride over the rest
constexpr int64_t kScans = 2048;            // groups that look whether there is anything to scan

unsigned grid_for(int64_t items) {
  return static_cast<unsigned>(items < kMostBlocks ? (items < 1 ? 1 : items) : kMostBlocks);
}

template <typename In>
__global__ void __launch_bounds__(kTileLanes) tiles_kernel(const __grid_constant__ TileJob job) {
  extern __shared__ Complex grid[];
  __shared__ double scratch[kTileLanes];
  for (int64_t i = blockIdx.x; i < job.pairs * job.channels; i += gridDim.x)
    tile_spectrum<In>(Group{}, job, job.first_pair + i / job.channels, i % job.channels, grid,
                      scratch);
}

template <typename In>
__global__ void __launch_bounds__(kTileLanes, 4) pack_kernel(const __grid_constant__ TileJob job) {
  __shared__ double scratch[kTileLanes];
  for (int64_t b = blockIdx.x; b < job.count; b += gridDim.x)
    pack_block<In>(Group{}, job, b, scratch);
}

template <typename In>
__global__ void __launch_bounds__(kTileLanes) blocks_kernel(const __grid_constant__ TileJob job) {
  extern __shared__ Complex grid[];
  for (int64_t i = blockIdx.x; i < job.count * job.channels; i += gridDim.x)
    block_spectrum<In>(Group{}, job, i / job.channels, i % job.channels, grid);
}

// Neighbouring groups take the same pair of tiles and other blocks, so the second cache serves both
// spectra.
__global__ void __launch_bounds__(kTileLanes, 3)
    correlate_kernel(const __grid_constant__ TileJob job, const int32_t* again) {
  extern __shared__ Complex grid[];
  __shared__ TileBounds scratch[kTileLanes];
  const int64_t count = again == nullptr ? job.count : again[0];
  for (int64_t i = blockIdx.x; i < job.pairs * count; i += gridDim.x) {
    const int64_t block = again == nullptr ? i % count : again[1 + i % count];
    correlate_pair(Group{}, job, job.first_pair + i / count, block, grid, scratch);
  }
}

__global__ void settle_kernel(const __grid_constant__ TileJob job, int how) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t b = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; b < job.count;
       b += step)
    settle_block(job, b, how);
}

template <typename In>
__global__ void __launch_bounds__(kTileLanes) scan_kernel(const __grid_constant__ TileJob job) {
  __shared__ BestWindow scratch[kTileLanes];
  const int64_t items = job.scan[0] * job.pieces;
  for (int64_t i = blockIdx.x; i < items; i += gridDim.x)
    scan_piece<In>(Group{}, job, job.scan[1 + i / job.pieces], i % job.pieces, scratch);
}

template <typename In>
__global__ void __launch_bounds__(kTileLanes) answer_kernel(const __grid_constant__ TileJob job) {
  __shared__ double rows[kTileLanes];
  __shared__ BestWindow scratch[kTileLanes];
  for (int64_t b = blockIdx.x; b < job.count; b += gridDim.x)
    answer<In>(Group{}, job, b, rows, scratch);
}

// A multiprocessor's cache as shared memory for as many groups as fit: what these kernels read of
// memory they read once.
template <typename Kernel>
cudaError_t allow(Kernel kernel, int device) {
  const cudaError_t carved =
      cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                           static_cast<int>(cudaSharedmemCarveoutMaxShared));
  return carved != cudaSuccess ? carved : allow_shared(kernel, device);
}

int64_t grid_bytes(const TileJob& job) {
  return job.down.length * tile_pitch(job) * static_cast<int64_t>(sizeof(Complex));
}

template <typename Kernel, typename... Rest>
int launch(Kernel kernel, int64_t items, int64_t bytes, int device, void* stream,
           const TileJob& job, Rest... rest) {
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  const cudaError_t allowed = bytes == 0 ? cudaSuccess : allow(kernel, device);
  if (allowed != cudaSuccess) return allowed;
  kernel<<<grid_for(items), kTileLanes, static_cast<size_t>(bytes),
           static_cast<cudaStream_t>(stream)>>>(job, rest...);
  return cudaGetLastError();
}

}  // namespace

int64_t window_shared_limit(int device) { return shared_of(device); }

int window_tiles(const TileJob& job, int device, void* stream) {
  const int64_t items = job.pairs * job.channels, bytes = grid_bytes(job);
  return job.is_float32 ? launch(tiles_kernel<float>, items, bytes, device, stream, job)
                        : launch(tiles_kernel<double>, items, bytes, device, stream, job);
}

int window_blocks(const TileJob& job, bool spectra, int device, void* stream) {
  const int packed = job.is_float32
                         ? launch(pack_kernel<float>, job.count, 0, device, stream, job)
                         : launch(pack_kernel<double>, job.count, 0, device, stream, job);
  if (packed != cudaSuccess || !spectra) return packed;
  const int64_t items = job.count * job.channels, bytes = grid_bytes(job);
  return job.is_float32 ? launch(blocks_kernel<float>, items, bytes, device, stream, job)
                        : launch(blocks_kernel<double>, items, bytes, device, stream, job);
}

int window_correlate(const TileJob& job, bool again, int device, void* stream) {
  // The second time there are few blocks, if any: a grid that ends soon.
  const int64_t items = again ? job.pairs : job.pairs * job.count;
  const int32_t* which = again ? job.again : nullptr;
  return launch(correlate_kernel, items, grid_bytes(job), device, stream, job, which);
}

int window_settle(const TileJob& job, int how, int device, void* stream) {
  return launch(settle_kernel, (job.count + kTileLanes - 1) / kTileLanes, 0, device, stream, job,
                how);
}

int window_answer(const TileJob& job, int device, void* stream) {
  // Seldom is there anything to scan: a grid that ends soon.
  const int64_t pieces = job.count * job.pieces < kScans ? job.count * job.pieces : kScans;
  const int scanned = job.is_float32 ? launch(scan_kernel<float>, pieces, 0, device, stream, job)
                                     : launch(scan_kernel<double>, pieces, 0, device, stream, job);
  if (scanned != cudaSuccess) return scanned;
  return job.is_float32 ? launch(answer_kernel<float>, job.count, 0, device, stream, job)
                        : launch(answer_kernel<double>, job.count, 0, device, stream, job);
}

}  // namespace hud::cuda
