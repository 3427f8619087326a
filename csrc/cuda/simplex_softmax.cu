// Softmax over the endmembers on the device: csrc/core/simplex.h, one line (its D values) a thread
// and step. In channel-first maps neighbouring threads read neighbouring values.
#define HUD_ISA device
#include "core/simplex.h"
#include "cuda/device.cuh"
#include "cuda/launch.h"

namespace hud::cuda {
namespace {

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

template <typename T>
__global__ void lines(const T* a, const T* b, T* out, int64_t total, int64_t count, int64_t inner) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total;
       i += step) {
    const int64_t at = (i / inner) * count * inner + i % inner;
    const Line<const T> first{a + at, inner};
    const Line<T> result{out + at, inner};
    if (b == nullptr) {
      hud::device::softmax_line<T>(first, result, count);
    } else {
      hud::device::softmax_backward_line<T>(first, Line<const T>{b + at, inner}, result, count);
    }
  }
}

template <typename T>
void launch(const void* a, const void* b, void* out, int64_t total, int64_t count, int64_t inner,
            cudaStream_t stream) {
  lines<<<blocks_for(total), kThreads, 0, stream>>>(static_cast<const T*>(a),
                                                    static_cast<const T*>(b), static_cast<T*>(out),
                                                    total, count, inner);
}

}  // namespace

int simplex_softmax(const void* a, const void* b, void* out, bool is_float32, int64_t outer,
                    int64_t count, int64_t inner, int device, void* stream) {
  if (outer * count * inner == 0) return cudaSuccess;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  const auto on = static_cast<cudaStream_t>(stream);
  is_float32 ? launch<float>(a, b, out, outer * inner, count, inner, on)
             : launch<double>(a, b, out, outer * inner, count, inner, on);
  return cudaGetLastError();
}

}  // namespace hud::cuda
