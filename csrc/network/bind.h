// Layers of the network.
#pragma once

#include "common/checks.h"
#include "network/run.h"

namespace hud {
namespace {

ConvJob conv_job(const Tensor& x, int64_t in, int64_t out) {
  require(x.ndim == 4 && x.shape[3] == in && in % kChannels == 0 && out % kChannels == 0,
          "expected maps (N, H, W, C), channels in sixteens");
  const auto tiles = [](int64_t pixels) { return (pixels + kTileSide - 1) / kTileSide; };
  return {x.shape[0], x.shape[1], x.shape[2], in, out, tiles(x.shape[1]), tiles(x.shape[2])};
}

// x (N, H, W, C), w (K, C, 3, 3) of any strides, bias (K), out (N, H, W, K); mirrored: C and K of w
// exchanged.
void conv3x3(const Tensor& x, const Tensor& w, const Tensor& bias, bool mirrored, const Tensor& out,
             int threads) {
  require(w.ndim == 4 && w.is_float32() && w.shape[2] == 3 && w.shape[3] == 3,
          "expected float32 weights (K, C, 3, 3)");
  const ConvJob job = conv_job(x, w.shape[mirrored ? 0 : 1], w.shape[mirrored ? 1 : 0]);
  const int64_t pixels = job.images * job.rows * job.columns;
  const float* const from = floats(x, pixels * job.in);
  const float* const b = floats(bias, job.out);
  float* const to = floats(out, pixels * job.out);
  if (pixels == 0) return;
  py::gil_scoped_release free;
  run_conv(job, from, static_cast<const float*>(w.data), w.strides, mirrored, b, to, threads);
}

// x (N, H, W, C), g (N, H, W, K), out (K, C, 3, 3).
void conv3x3_gradient(const Tensor& x, const Tensor& g, const Tensor& out, int threads) {
  require(out.ndim == 4, "expected weights (K, C, 3, 3)");
  const ConvJob job = conv_job(x, out.shape[1], out.shape[0]);
  const int64_t pixels = job.images * job.rows * job.columns;
  const float* const from = floats(x, pixels * job.in);
  const float* const gradient = floats(g, pixels * job.out);
  float* const to = floats(out, 9 * job.in * job.out);
  require(pixels > 0, "expected pixels");
  py::gil_scoped_release free;
  run_conv_gradient(job, from, gradient, to, threads);
}

NormJob norm_job(const Tensor& x, const Tensor& gamma, const Tensor& beta, const py::object& told,
                 int64_t groups, double eps, const Tensor& moments) {
  require(x.ndim == 3 && x.shape[1] > 0, "expected maps (N, P, C)");
  const int64_t N = x.shape[0], P = x.shape[1], C = x.shape[2];
  require(C > 0 && C % kChannels == 0 && C <= kMostChannels && groups > 0 && C % groups == 0,
          "expected channels in sixteens and in groups");
  const Maybe said(told);
  said.check(kFloat32, N * 2 * C);
  return {N,
          P,
          C,
          groups,
          floats(x, N * P * C),
          floats(gamma, C),
          floats(beta, C),
          static_cast<const float*>(said.data()),
          eps,
          floats(moments, N * 2 * groups)};
}

// x (N, P, C), told (N, 2 C) or None, moments (N, 2, G) written, out as x.
void norm_silu(const Tensor& x, const Tensor& gamma, const Tensor& beta, const py::object& told,
               int64_t groups, double eps, const Tensor& moments, const Tensor& out, int threads) {
  const NormJob job = norm_job(x, gamma, beta, told, groups, eps, moments);
  float* const to = floats(out, x.numel());
  py::gil_scoped_release free;
  run_norm_silu(job, to, threads);
}

// moments read; gradient and of_x as x, of_weights (N, 2, C), of_told (N, 2 C) or None.
void norm_silu_gradient(const Tensor& x, const Tensor& gamma, const Tensor& beta,
                        const py::object& told, int64_t groups, double eps, const Tensor& moments,
                        const Tensor& gradient, const Tensor& of_x, const Tensor& of_weights,
                        const py::object& of_told, int threads) {
  const NormJob job = norm_job(x, gamma, beta, told, groups, eps, moments);
  const Maybe said(of_told);
  said.check(kFloat32, job.images * 2 * job.channels);
  const float* const g = floats(gradient, x.numel());
  float* const to = floats(of_x, x.numel());
  float* const weights = floats(of_weights, job.images * 2 * job.channels);
  py::gil_scoped_release free;
  run_norm_silu_gradient(job, g, to, weights, static_cast<float*>(said.data()), threads);
}

void register_network(py::module_& m) {
  m.def("conv3x3", &conv3x3);
  m.def("conv3x3_gradient", &conv3x3_gradient);
  m.def("norm_silu", &norm_silu);
  m.def("norm_silu_gradient", &norm_silu_gradient);
}

}  // namespace
}  // namespace hud
