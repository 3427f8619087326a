// What every launcher does around its kernel: the right device for the length of the launch, and
// the grid's size.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace hud::cuda {

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    status_ = cudaGetDevice(&before_);
    if (status_ == cudaSuccess) status_ = cudaSetDevice(device);
  }
  ~DeviceGuard() {
    if (status_ == cudaSuccess) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  cudaError_t status() const { return status_; }

 private:
  int before_ = 0;
  cudaError_t status_;
};

// Bytes of memory that a block may share on a device; 0 where it cannot be asked.
inline int shared_of(int device) {
  int bytes = 0;
  if (cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
      cudaSuccess) {
    cudaGetLastError();  // asked again where it matters
    return 0;
  }
  return bytes;
}

// Leave for more dynamic shared memory than a kernel gets unasked: always all that its own leaves
// of a block's, never what one call needs, so that threads with calls of different sizes may raise
// it side by side.
template <typename Kernel>
cudaError_t allow_shared(Kernel kernel, int device) {
  cudaFuncAttributes own = {};
  cudaError_t status = cudaFuncGetAttributes(&own, kernel);
  if (status == cudaSuccess)
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  shared_of(device) - static_cast<int>(own.sharedSizeBytes));
  if (status != cudaSuccess) cudaGetLastError();
  return status;
}

constexpr int kThreads = 256;

// Enough blocks for one thread an item, at most what keeps every multiprocessor busy many times
// over: the kernels stride over the rest, with 64-bit indices.
inline unsigned blocks_for(int64_t items) {
  const int64_t wanted = (items + kThreads - 1) / kThreads;
  return static_cast<unsigned>(wanted < 65536 ? wanted : 65536);
}

}  // namespace hud::cuda
