// The emulation of the CUDA softmax, for the tests.
#pragma once

#include "common/checks.h"
#include "latent/emulated.h"

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

void register_emulated_simplex(py::module_& m) {
  m.def("emulated_simplex_softmax", &emulated_simplex_softmax);
}

}  // namespace
}  // namespace hud
