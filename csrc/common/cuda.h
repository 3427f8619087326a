// The CUDA launchers as Python sees them: device pointers and the stream as integers, which torch
// gives without its headers. Each raises RuntimeError with CUDA's own words where a launch fails.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "common/launch.h"
#include "fcls/bind_cuda.h"
#include "windows/bind_cuda.h"

namespace hud::cuda_bindings {

inline void* pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

inline void check(int status, const char* op) {
  if (status != 0)
    throw std::runtime_error(std::string(op) + ": CUDA launch failed: " + cuda::error_text(status));
}

inline void log_project(uintptr_t x, uintptr_t z, bool is_float32, int64_t count, double delta,
                        int device, uintptr_t stream) {
  check(
      cuda::log_project(pointer(x), pointer(z), is_float32, count, delta, device, pointer(stream)),
      "log_project");
}

inline void log_project_backward(uintptr_t g, uintptr_t x, uintptr_t gx, bool is_float32,
                                 int64_t count, double delta, int device, uintptr_t stream) {
  check(cuda::log_project_backward(pointer(g), pointer(x), pointer(gx), is_float32, count, delta,
                                   device, pointer(stream)),
        "log_project_backward");
}

inline void simplex_softmax(uintptr_t a, uintptr_t b, uintptr_t out, bool is_float32, int64_t outer,
                            int64_t count, int64_t inner, int device, uintptr_t stream) {
  check(cuda::simplex_softmax(pointer(a), pointer(b), pointer(out), is_float32, outer, count, inner,
                              device, pointer(stream)),
        "simplex_softmax");
}

inline void register_all(pybind11::module_& m) {
  m.def("cuda_device_count", &cuda::device_count);
  m.def("cuda_log_project", &log_project);
  m.def("cuda_log_project_backward", &log_project_backward);
  m.def("cuda_simplex_softmax", &simplex_softmax);
  register_cuda_fcls(m);
  register_cuda_window_search(m);
}

}  // namespace hud::cuda_bindings
