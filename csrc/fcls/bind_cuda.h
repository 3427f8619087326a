// FCLS on the device, as Python sees it.
#pragma once

#include <stdexcept>
#include <string>

#include "common/launch.h"
#include "fcls/bind_device.h"

namespace hud::cuda_bindings {

inline void fcls(const pybind11::dict& from, int64_t pixels, int multiprocessors, int64_t chunk,
                 uintptr_t scratch, int device, uintptr_t stream) {
  const FclsJob job = read_fcls_job(from);
  const int status =
      cuda::fcls(job, pixels, fcls_plan_of(job, pixels, multiprocessors, chunk),
                 reinterpret_cast<void*>(scratch), device, reinterpret_cast<void*>(stream));
  if (status != 0)
    throw std::runtime_error("fcls: CUDA launch failed for " + std::to_string(pixels) +
                             " pixels of " + std::to_string(job.bands) + " bands and " +
                             std::to_string(job.endmembers) +
                             " endmembers: " + cuda::error_text(status));
}

inline void register_cuda_fcls(pybind11::module_& m) { m.def("cuda_fcls", &fcls); }

}  // namespace hud::cuda_bindings
