// Checks on borrowed tensors: hud_fast/kernels words the errors for users; these only keep a
// mistake of ours from reading outside a tensor.
#pragma once

#include <stdexcept>

#include "common/storage.h"
#include "common/tensor.h"

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

// For the operations that take 16-bit floats too.
Storage storage_of(const Tensor& t) {
  require(t.contiguous(), "expected a contiguous tensor");
  if (t.is_float32()) return kFloat32;
  if (t.is_float64()) return kFloat64;
  if (t.is(dlpack::kBfloat, 16)) return kBFloat16;
  require(t.is(dlpack::kFloat, 16), "expected a float16, bfloat16, float32 or float64 tensor");
  return kFloat16;
}

const double* doubles(const Tensor& t, int64_t count) {
  require(t.is_float64() && t.contiguous() && t.numel() == count,
          "expected a contiguous float64 tensor of the right size");
  return static_cast<const double*>(t.data);
}

double* mutable_doubles(const Tensor& t, int64_t count) {
  return const_cast<double*>(doubles(t, count));
}

float* floats(const Tensor& t, int64_t count) {
  require(t.is_float32() && t.contiguous() && t.numel() == count,
          "expected a contiguous float32 tensor of the right size");
  return static_cast<float*>(t.data);
}

int32_t* int32s(const Tensor& t, int64_t count) {
  require(t.is(dlpack::kInt, 32) && t.contiguous() && t.numel() == count,
          "expected a contiguous int32 tensor of the right size");
  return static_cast<int32_t*>(t.data);
}

int64_t* int64s(const Tensor& t, int64_t count) {
  require(t.is(dlpack::kInt, 64) && t.contiguous() && t.numel() == count,
          "expected a contiguous int64 tensor");
  return static_cast<int64_t*>(t.data);
}

Storage same_storage(const Tensor& a, const Tensor& b) {
  const Storage storage = storage_of(a);
  require(storage == storage_of(b) && a.numel() == b.numel(),
          "expected two tensors of one dtype and size");
  return storage;
}

// A tensor or None.
struct Maybe {
  Tensor tensor;
  bool given;
  explicit Maybe(const py::object& object) : tensor(), given(!object.is_none()) {
    if (given) tensor = object.cast<Tensor>();
  }
  void check(Storage storage, int64_t count) const {
    require(!given || (storage_of(tensor) == storage && tensor.numel() == count),
            "expected two tensors of one dtype and size");
  }
  void* data() const { return given ? tensor.data : nullptr; }
};

}  // namespace
}  // namespace hud
