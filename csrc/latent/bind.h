// log_project and simplex_softmax, forward and backward.
#pragma once

#include "common/checks.h"
#include "common/run.h"

namespace hud {
namespace {

void log_project(const Tensor& x, const Tensor& z, double delta, int threads) {
  const Storage storage = same_storage(x, z);
  py::gil_scoped_release free;
  run_log_project(x.data, z.data, storage, x.numel(), delta, threads);
}

void log_project_backward(const Tensor& g, const Tensor& x, const Tensor& gx, double delta,
                          int threads) {
  same_storage(g, x);
  const Storage storage = same_storage(x, gx);
  py::gil_scoped_release free;
  run_log_project_backward(g.data, x.data, gx.data, storage, x.numel(), delta, threads);
}

void simplex_softmax(const Tensor& z, const Tensor& x, int64_t outer, int64_t count, int64_t inner,
                     int threads) {
  const Storage storage = same_storage(z, x);
  require(outer * count * inner == z.numel(), "sizes do not multiply to the tensor's");
  py::gil_scoped_release free;
  run_softmax(z.data, nullptr, x.data, storage, outer, count, inner, threads);
}

void simplex_softmax_backward(const Tensor& g, const Tensor& x, const Tensor& gz, int64_t outer,
                              int64_t count, int64_t inner, int threads) {
  same_storage(g, x);
  const Storage storage = same_storage(x, gz);
  require(outer * count * inner == x.numel(), "sizes do not multiply to the tensor's");
  if (x.numel() == 0) return;
  py::gil_scoped_release free;
  run_softmax(g.data, x.data, gz.data, storage, outer, count, inner, threads);
}

void register_simplex(py::module_& m) {
  m.attr("decode_longest") = kDecodeLongest;
  m.def("log_project", &log_project);
  m.def("log_project_backward", &log_project_backward);
  m.def("simplex_softmax", &simplex_softmax);
  m.def("simplex_softmax_backward", &simplex_softmax_backward);
}

}  // namespace
}  // namespace hud
