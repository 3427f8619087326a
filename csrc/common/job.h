// One reader of the jobs that Python hands to a device's launchers and to their emulation: a dict
// of numbers and tensors, each tensor checked for dtype, size, layout and device before its address
// is taken. A wrong one raises ValueError and names the entry.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "common/tensor.h"

namespace hud {
namespace {

namespace py = pybind11;

// The dtype that a C++ type is stored as; torch has no unsigned types but uint8.
template <typename T>
constexpr dlpack::DataType dtype_of() {
  const uint8_t code = std::is_floating_point_v<T>  ? dlpack::kFloat
                       : std::is_same_v<T, uint8_t> ? dlpack::kUInt
                                                    : dlpack::kInt;
  return {code, sizeof(T) * 8, 1};
}

class JobReader {
 public:
  JobReader(const py::dict& dict, dlpack::Device device) : dict_(dict), device_(device) {}

  template <typename T>
  T number(const char* name) const {
    return at(name).cast<T>();
  }

  // A tensor on the job's device, of any layout.
  Tensor tensor(const char* name) const {
    Tensor found;
    require(detail::read(at(name), found), name, "must be a tensor with memory");
    require(found.device.type == device_.type && found.device.id == device_.id, name,
            "lies on another device");
    return found;
  }

  // At least `count` contiguous values of T.
  template <typename T>
  T* array(const char* name, int64_t count) const {
    const Tensor found = tensor(name);
    constexpr dlpack::DataType dtype = dtype_of<std::remove_const_t<T>>();
    require(found.is(dtype.code, dtype.bits), name,
            std::string("must be ") + (dtype.code == dlpack::kFloat ? "float" : "int") +
                std::to_string(dtype.bits));
    return static_cast<T*>(checked(found, name, count));
  }

  // The same, where None is null.
  template <typename T>
  T* optional(const char* name, int64_t count) const {
    return at(name).is_none() ? nullptr : array<T>(name, count);
  }

  // At least `count` contiguous values of float, or of double.
  void* values(const char* name, bool is_float32, int64_t count) const {
    return is_float32 ? static_cast<void*>(array<float>(name, count)) : array<double>(name, count);
  }

  void require(bool condition, const char* name, const std::string& what) const {
    if (!condition) throw py::value_error(std::string("the job's '") + name + "' " + what);
  }

 private:
  py::object at(const char* name) const {
    if (!dict_.contains(name)) throw py::key_error(std::string("the job lacks '") + name + "'");
    return dict_[name];
  }
  void* checked(const Tensor& found, const char* name, int64_t count) const {
    require(found.contiguous(), name, "must be contiguous");
    require(found.numel() >= count, name,
            "must have " + std::to_string(count) + " values or more, got " +
                std::to_string(found.numel()));
    return found.data;
  }

  const py::dict& dict_;
  dlpack::Device device_;
};

}  // namespace
}  // namespace hud
