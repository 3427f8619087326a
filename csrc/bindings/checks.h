// Checks on borrowed tensors: hud_fast/kernels words the errors for users; these only keep a
// mistake of ours from reading outside a tensor.
#pragma once

#include <stdexcept>

#include "bindings/tensor.h"

namespace py = pybind11;

namespace hud {
namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

bool float32_of(const Tensor& t) {
  require(t.is_float32() || t.is_float64(), "expected a float32 or float64 tensor");
  require(t.contiguous(), "expected a contiguous tensor");
  return t.is_float32();
}

const double* doubles(const Tensor& t, int64_t count) {
  require(t.is_float64() && t.contiguous() && t.numel() == count,
          "expected a contiguous float64 tensor of the right size");
  return static_cast<const double*>(t.data);
}

double* mutable_doubles(const Tensor& t, int64_t count) {
  return const_cast<double*>(doubles(t, count));
}

int64_t* int64s(const Tensor& t, int64_t count) {
  require(t.is(dlpack::kInt, 64) && t.contiguous() && t.numel() == count,
          "expected a contiguous int64 tensor");
  return static_cast<int64_t*>(t.data);
}

void same_kind(const Tensor& a, const Tensor& b) {
  require(float32_of(a) == float32_of(b) && a.numel() == b.numel(),
          "expected two tensors of one dtype and size");
}

}  // namespace
}  // namespace hud
