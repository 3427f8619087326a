#include "common/launch.h"

#include <cuda_runtime_api.h>

#include <stdexcept>

namespace hud::cuda {

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // no driver is no error here
    return 0;
  }
  return count;
}

const char* error_text(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

void check(int status, const std::string& op) {
  if (status != 0) throw std::runtime_error(op + ": CUDA launch failed: " + error_text(status));
}

}  // namespace hud::cuda
