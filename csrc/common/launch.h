// Launchers of the CUDA kernels: device pointers, sizes and the caller's stream in, a status out.
// They neither synchronise nor allocate, so a CUDA graph can capture them. The return value is a
// cudaError_t (0: launched).
#pragma once

#include <string>

namespace hud::cuda {

// Number of devices the driver offers; 0 without a driver.
int device_count();
const char* error_text(int status);
// Raises RuntimeError with CUDA's own words where a launch of `op` failed.
void check(int status, const std::string& op);

}  // namespace hud::cuda
