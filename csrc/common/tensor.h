// A torch.Tensor borrowed for the length of a call, without torch's headers: through the DLPack C
// exchange API where the tensor's type offers it (DLPack 1.3), else through its Python attributes.
//
// The structures below restate the parts of DLPack's stable C ABI that are read here.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace hud {

namespace dlpack {
struct Device {
  int32_t type, id;
};
struct DataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct ExchangeApi {
  uint32_t major, minor;
  ExchangeApi* previous;
  void* managed_tensor_allocator;
  void* managed_tensor_from_object;
  void* managed_tensor_to_object;
  int (*tensor_from_object)(void* object, Tensor* out);
  int (*current_work_stream)(int32_t device_type, int32_t device_id, void** stream);
};
constexpr int32_t kCpu = 1;
constexpr int32_t kCuda = 2;
constexpr uint8_t kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6;
}  // namespace dlpack

constexpr int kMaxDims = 8;

struct Tensor {
  void* data = nullptr;
  int ndim = 0;
  int64_t shape[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};
  dlpack::DataType dtype = {};
  dlpack::Device device = {dlpack::kCpu, 0};

  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < ndim; ++i) n *= shape[i];
    return n;
  }
  bool contiguous() const {
    if (numel() == 0) return true;
    int64_t expected = 1;
    for (int i = ndim - 1; i >= 0; --i) {
      if (shape[i] != 1 && strides[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }
  bool is(uint8_t code, uint8_t bits) const {
    return dtype.code == code && dtype.bits == bits && dtype.lanes == 1;
  }
  bool is_float32() const { return is(dlpack::kFloat, 32); }
  bool is_float64() const { return is(dlpack::kFloat, 64); }
};

namespace detail {

// The exchange API of a tensor type, or null. The last type seen is remembered: it is nearly always
// torch.Tensor.
inline const dlpack::ExchangeApi* exchange_api(PyTypeObject* type) {
  thread_local PyTypeObject* known = nullptr;
  thread_local const dlpack::ExchangeApi* api = nullptr;
  if (type == known) return api;
  const dlpack::ExchangeApi* found = nullptr;
  PyObject* capsule =
      PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__");
  if (capsule != nullptr) {
    found = static_cast<const dlpack::ExchangeApi*>(
        PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
    Py_DECREF(capsule);
  }
  PyErr_Clear();
  while (found != nullptr && found->major != 1) found = found->previous;
  if (found != nullptr && found->tensor_from_object == nullptr) found = nullptr;
  // Held, so that no later type can come to lie at a dead one's address.
  Py_INCREF(type);
  Py_XDECREF(known);
  known = type;
  api = found;
  return api;
}

inline bool borrow(PyObject* object, const dlpack::ExchangeApi* api, Tensor& out) {
  dlpack::Tensor view = {};
  if (api->tensor_from_object(object, &view) != 0) {
    PyErr_Clear();
    return false;
  }
  if (view.ndim > kMaxDims) return false;
  out.data = static_cast<char*>(view.data) + view.byte_offset;
  out.ndim = view.ndim;
  out.dtype = view.dtype;
  out.device = view.device;
  for (int i = 0; i < view.ndim; ++i) out.shape[i] = view.shape[i];
  int64_t step = 1;
  for (int i = view.ndim - 1; i >= 0; --i) {
    out.strides[i] = view.strides != nullptr ? view.strides[i] : step;
    step *= view.shape[i];
  }
  if (view.data == nullptr) out.data = nullptr;
  return true;
}

inline bool read_attributes(pybind11::handle object, Tensor& out) {
  namespace py = pybind11;
  if (!py::hasattr(object, "data_ptr") || !py::hasattr(object, "stride")) return false;
  try {
    const std::string device = object.attr("device").attr("type").cast<std::string>();
    if (device == "cuda") {
      out.device = {dlpack::kCuda, object.attr("device").attr("index").cast<int32_t>()};
    } else if (device != "cpu") {
      return false;
    }
    const std::string dtype = py::str(object.attr("dtype"));
    if (dtype == "torch.float32") {
      out.dtype = {dlpack::kFloat, 32, 1};
    } else if (dtype == "torch.float64") {
      out.dtype = {dlpack::kFloat, 64, 1};
    } else if (dtype == "torch.bfloat16") {
      out.dtype = {dlpack::kBfloat, 16, 1};
    } else if (dtype == "torch.float16") {
      out.dtype = {dlpack::kFloat, 16, 1};
    } else if (dtype == "torch.int64") {
      out.dtype = {dlpack::kInt, 64, 1};
    } else if (dtype == "torch.int32") {
      out.dtype = {dlpack::kInt, 32, 1};
    } else if (dtype == "torch.int8") {
      out.dtype = {dlpack::kInt, 8, 1};
    } else if (dtype == "torch.uint8") {
      out.dtype = {dlpack::kUInt, 8, 1};
    } else {
      return false;
    }
    const py::tuple shape = py::tuple(object.attr("shape")),
                    strides = py::tuple(object.attr("stride")());
    if (shape.size() > static_cast<size_t>(kMaxDims)) return false;
    out.ndim = static_cast<int>(shape.size());
    for (int i = 0; i < out.ndim; ++i) {
      out.shape[i] = shape[i].cast<int64_t>();
      out.strides[i] = strides[i].cast<int64_t>();
    }
    out.data = reinterpret_cast<void*>(object.attr("data_ptr")().cast<uintptr_t>());
  } catch (const py::error_already_set&) {
    return false;
  }
  return true;
}

// A tensor on any device. A fake tensor has a shape but no memory: reading it would end the
// interpreter.
inline bool read(pybind11::handle object, Tensor& out) {
  const dlpack::ExchangeApi* api = exchange_api(Py_TYPE(object.ptr()));
  const bool known = api != nullptr ? borrow(object.ptr(), api, out) : read_attributes(object, out);
  return known && (out.data != nullptr || out.numel() == 0);
}

}  // namespace detail
}  // namespace hud

namespace pybind11::detail {

template <>
struct type_caster<hud::Tensor> {
  PYBIND11_TYPE_CASTER(hud::Tensor, const_name("torch.Tensor"));

  bool load(handle source, bool) {
    return hud::detail::read(source, value) && value.device.type == hud::dlpack::kCpu;
  }
};

}  // namespace pybind11::detail
