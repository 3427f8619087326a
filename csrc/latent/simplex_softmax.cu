// Softmax over the endmembers on the device: csrc/latent/simplex.h, one line (its D values) a
// thread and step. In channel-first maps neighbouring threads read neighbouring values; band-last
// rows pass through shared memory, so that they do there, too.
#define HUD_ISA device
#include "common/device.cuh"
#include "latent/device.h"
#include "latent/device_softmax.h"

namespace hud::cuda {
namespace {

constexpr int kRowLanes =
    128;  // of 64 doubles and their gradient: 130 KiB, under each target's limit

// The values of one line.
template <typename T>
struct Line {
  T* p;
  int64_t inner;
  __device__ T operator()(int64_t d) const { return p[d * inner]; }
  template <typename V>
  __device__ void operator()(int64_t d, V value) const {
    p[d * inner] = value;
  }
};

// Most: lines up to that long are held in registers; 0: any length, read again in every pass.
template <typename T, int Most>
__global__ void __launch_bounds__(kThreads)
    lines(const T* a, const T* b, T* out, int64_t total, int64_t count, int64_t inner) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total;
       i += step) {
    const int64_t at = (i / inner) * count * inner + i % inner;
    const Line<const T> first{a + at, inner};
    const Line<T> result{out + at, inner};
    if (b != nullptr) {
      hud::device::softmax_backward_line<T>(first, Line<const T>{b + at, inner}, result, count);
    } else if constexpr (Most > 0) {
      hud::device::softmax_short_line<Most, T>(first, result, static_cast<int>(count));
    } else {
      hud::device::softmax_line<T>(first, result, count);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kRowLanes)
    rows(const T* a, const T* b, T* out, int64_t total, int D) {
  extern __shared__ double2 shared[];  // aligned for every T
  const hud::device::BlockGroup<kRowLanes> group;
  const int64_t tiles = (total + kRowLanes - 1) / kRowLanes;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first = tile * kRowLanes, left = total - first, at = first * D;
    hud::device::softmax_rows_tile(group, a + at, b == nullptr ? b : b + at, out + at,
                                   static_cast<int>(left < kRowLanes ? left : kRowLanes), D,
                                   reinterpret_cast<T*>(shared));
  }
}

template <typename T>
int launch_rows(const T* a, const T* b, T* out, int64_t total, int D, int device,
                cudaStream_t stream) {
  const int bytes = hud::device::row_stage_bytes<T>(kRowLanes, D, b != nullptr);
  if (bytes > 48 << 10) {
    const cudaError_t status = allow_shared(rows<T>, device);
    if (status != cudaSuccess) return status;
  }
  const int64_t tiles = (total + kRowLanes - 1) / kRowLanes;
  const unsigned blocks = static_cast<unsigned>(tiles < 1 << 20 ? tiles : 1 << 20);
  rows<<<blocks, kRowLanes, static_cast<size_t>(bytes), stream>>>(a, b, out, total, D);
  return cudaGetLastError();
}

template <typename T>
int launch(const void* a_values, const void* b_values, void* out_values, int64_t total,
           int64_t count, int64_t inner, int device, cudaStream_t stream) {
  const T* const a = static_cast<const T*>(a_values);
  const T* const b = static_cast<const T*>(b_values);
  T* const out = static_cast<T*>(out_values);
  if (inner == 1 && count <= hud::device::kLongestStaged)
    return launch_rows(a, b, out, total, static_cast<int>(count), device, stream);
  const unsigned blocks = blocks_for(total);
  if (count <= 8) {
    lines<T, 8><<<blocks, kThreads, 0, stream>>>(a, b, out, total, count, inner);
  } else if (count <= 16) {
    lines<T, 16><<<blocks, kThreads, 0, stream>>>(a, b, out, total, count, inner);
  } else if (count <= 32) {
    lines<T, 32><<<blocks, kThreads, 0, stream>>>(a, b, out, total, count, inner);
  } else {
    lines<T, 0><<<blocks, kThreads, 0, stream>>>(a, b, out, total, count, inner);
  }
  return cudaGetLastError();
}

}  // namespace

int simplex_softmax(const void* a, const void* b, void* out, bool is_float32, int64_t outer,
                    int64_t count, int64_t inner, int device, void* stream) {
  if (outer * count * inner == 0) return cudaSuccess;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  const auto on = static_cast<cudaStream_t>(stream);
  return is_float32 ? launch<float>(a, b, out, outer * inner, count, inner, device, on)
                    : launch<double>(a, b, out, outer * inner, count, inner, device, on);
}

}  // namespace hud::cuda
