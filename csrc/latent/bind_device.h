// log_project and simplex_softmax on a GPU: device pointers and the stream as integers, which torch
// gives without its headers. And the softmax's emulation, for the tests.
#pragma once

#include "common/checks.h"
#include "latent/emulated.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#include "latent/device.h"
#endif

namespace hud {
namespace {

void emulated_simplex_softmax(const Tensor& a, const py::object& softmax, const Tensor& out,
                              int64_t outer, int64_t D, int64_t inner) {
  const Storage storage = same_storage(a, out);
  require(storage == kFloat32 || storage == kFloat64, "expected float32 or float64");
  require(D >= 1 && outer * D * inner == a.numel(), "sizes do not multiply to the tensor's");
  require(D <= (inner == 1 ? emulated_longest_row() : 32), "lines are too long");
  const bool backward = !softmax.is_none();
  require(!backward || inner == 1, "maps go forward only");
  Tensor x;
  if (backward) {
    x = softmax.cast<Tensor>();
    same_storage(a, x);
  }
  emulated_softmax(a.data, backward ? x.data : nullptr, out.data, storage == kFloat32, outer,
                   static_cast<int>(D), inner);
}

#ifdef HUD_HAS_CUDA
void* pointer(uintptr_t address) { return reinterpret_cast<void*>(address); }

void cuda_log_project(uintptr_t x, uintptr_t z, bool is_float32, int64_t count, double delta,
                      int device, uintptr_t stream) {
  cuda::check(
      cuda::log_project(pointer(x), pointer(z), is_float32, count, delta, device, pointer(stream)),
      "log_project");
}

void cuda_log_project_backward(uintptr_t g, uintptr_t x, uintptr_t gx, bool is_float32,
                               int64_t count, double delta, int device, uintptr_t stream) {
  cuda::check(cuda::log_project_backward(pointer(g), pointer(x), pointer(gx), is_float32, count,
                                         delta, device, pointer(stream)),
              "log_project_backward");
}

void cuda_simplex_softmax(uintptr_t a, uintptr_t b, uintptr_t out, bool is_float32, int64_t outer,
                          int64_t count, int64_t inner, int device, uintptr_t stream) {
  cuda::check(cuda::simplex_softmax(pointer(a), pointer(b), pointer(out), is_float32, outer, count,
                                    inner, device, pointer(stream)),
              "simplex_softmax");
}
#endif

void register_latent_device(py::module_& m) {
  m.def("emulated_simplex_softmax", &emulated_simplex_softmax);
#ifdef HUD_HAS_CUDA
  m.def("cuda_log_project", &cuda_log_project);
  m.def("cuda_log_project_backward", &cuda_log_project_backward);
  m.def("cuda_simplex_softmax", &cuda_simplex_softmax);
#endif
}

}  // namespace
}  // namespace hud
