// log_project, simplex_softmax and their standardised forms, forward and backward; softmax_decode.
#pragma once

#include "common/checks.h"
#include "latent/run.h"

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

Standard standard_of(const Tensor& mean, const Tensor& std, int64_t D) {
  return {doubles(mean, D), doubles(std, D)};
}

void log_standardize(const py::object& gradient, const Tensor& x, const Tensor& out, int64_t outer,
                     int64_t D, int64_t inner, double delta, const Tensor& mean, const Tensor& std,
                     int threads) {
  const Storage storage = same_storage(x, out);
  const Maybe g(gradient);
  g.check(storage, x.numel());
  require(outer * D * inner == x.numel(), "sizes do not multiply to the tensor's");
  const Standard standard = standard_of(mean, std, D);
  if (x.numel() == 0) return;
  py::gil_scoped_release free;
  run_log_standardize(g.data(), x.data, out.data, storage, outer, D, inner, delta, standard,
                      threads);
}

void standardized_softmax(const Tensor& a, const py::object& softmax, const Tensor& out,
                          int64_t outer, int64_t D, int64_t inner, const Tensor& mean,
                          const Tensor& std, int threads) {
  const Storage storage = same_storage(a, out);
  const Maybe x(softmax);
  x.check(storage, a.numel());
  require(outer * D * inner == a.numel(), "sizes do not multiply to the tensor's");
  const Standard standard = standard_of(mean, std, D);
  if (a.numel() == 0) return;
  py::gil_scoped_release free;
  run_standardized_softmax(a.data, x.data(), out.data, storage, outer, D, inner, standard, threads);
}

void softmax_decode(const Tensor& z, const Tensor& out, int64_t outer, int64_t D, int64_t inner,
                    const Tensor& endmembers, const Tensor& mean, const Tensor& std, int threads) {
  const Storage storage = storage_of(z);
  require(storage_of(out) == storage, "expected two tensors of one dtype");
  require(D >= 1 && D <= kDecodeLongest, "too many endmembers");
  require(outer * D * inner == z.numel(), "sizes do not multiply to the tensor's");
  const int64_t bands = endmembers.numel() / D;
  const double* spectra = doubles(endmembers, D * bands);
  require(outer * inner * bands == out.numel(), "sizes do not multiply to the result's");
  const Standard standard = standard_of(mean, std, D);
  if (out.numel() == 0) return;
  py::gil_scoped_release free;
  run_softmax_decode(z.data, out.data, storage, outer, D, inner, spectra, bands, standard, threads);
}

void register_latent(py::module_& m) {
  m.attr("decode_longest") = kDecodeLongest;
  m.def("log_project", &log_project);
  m.def("log_project_backward", &log_project_backward);
  m.def("simplex_softmax", &simplex_softmax);
  m.def("simplex_softmax_backward", &simplex_softmax_backward);
  m.def("log_standardize", &log_standardize);
  m.def("standardized_softmax", &standardized_softmax);
  m.def("softmax_decode", &softmax_decode);
}

}  // namespace
}  // namespace hud
