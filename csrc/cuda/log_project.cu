// The log-projection on the device: csrc/core/simplex.h, one value a thread and step.
#define HUD_ISA device
#include "core/simplex.h"
#include "cuda/device.cuh"
#include "cuda/launch.h"

namespace hud::cuda {
namespace {

template <typename T>
__global__ void forward(const T* x, T* z, int64_t count, T delta) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step)
    z[i] = hud::device::log_project(x[i], delta);
}

template <typename T>
__global__ void backward(const T* g, const T* x, T* gx, int64_t count, T delta) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += step)
    gx[i] = hud::device::log_project_backward(g[i], x[i], delta);
}

template <typename T>
void launch(const void* g, const void* x, void* out, int64_t count, double delta,
            cudaStream_t stream) {
  const unsigned blocks = blocks_for(count);
  if (g == nullptr) {
    forward<<<blocks, kThreads, 0, stream>>>(static_cast<const T*>(x), static_cast<T*>(out), count,
                                             static_cast<T>(delta));
  } else {
    backward<<<blocks, kThreads, 0, stream>>>(static_cast<const T*>(g), static_cast<const T*>(x),
                                              static_cast<T*>(out), count, static_cast<T>(delta));
  }
}

int guarded(const void* g, const void* x, void* out, bool is_float32, int64_t count, double delta,
            int device, void* stream) {
  if (count == 0) return cudaSuccess;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  const auto on = static_cast<cudaStream_t>(stream);
  is_float32 ? launch<float>(g, x, out, count, delta, on)
             : launch<double>(g, x, out, count, delta, on);
  return cudaGetLastError();
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver is no error here
    return 0;
  }
  return count;
}

const char* error_text(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

int log_project(const void* x, void* z, bool is_float32, int64_t count, double delta, int device,
                void* stream) {
  return guarded(nullptr, x, z, is_float32, count, delta, device, stream);
}

int log_project_backward(const void* g, const void* x, void* gx, bool is_float32, int64_t count,
                         double delta, int device, void* stream) {
  return guarded(g, x, gx, is_float32, count, delta, device, stream);
}

}  // namespace hud::cuda
