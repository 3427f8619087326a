// The diffusion's fused passes: log_standardize, standardized_softmax, softmax_decode,
// diffusion_step.
#pragma once

#include "common/checks.h"
#include "common/run.h"

namespace hud {
namespace {

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

// z, e, noise: None where the sum leaves them out; noise_out: None where nobody wants the noise.
void diffusion_step(const py::object& z_object, const py::object& e_object,
                    const py::object& noise_object, bool draw, const Tensor& out,
                    const py::object& noise_out_object, const Tensor& z_factor,
                    const Tensor& e_factor, const Tensor& noise_factor, uint64_t seed,
                    uint64_t first, uint32_t step, int threads) {
  const Storage storage = storage_of(out);
  const Maybe z(z_object), e(e_object), noise(noise_object), noise_out(noise_out_object);
  for (const Maybe* t : {&z, &e, &noise, &noise_out}) t->check(storage, out.numel());
  const int64_t samples = z_factor.numel();
  require(samples > 0 ? out.numel() % samples == 0 : out.numel() == 0,
          "sizes do not divide the tensor's");
  if (out.numel() == 0) return;
  const NoiseJob job{z.data(),
                     e.data(),
                     noise.data(),
                     draw,
                     out.data,
                     noise_out.data(),
                     doubles(z_factor, samples),
                     doubles(e_factor, samples),
                     doubles(noise_factor, samples),
                     samples,
                     out.numel() / samples,
                     seed,
                     first,
                     step};
  py::gil_scoped_release free;
  run_diffusion_step(job, storage, threads);
}

// For the generator's known answers.
py::tuple philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  const uint32_t counter[4] = {c0, c1, c2, c3}, key[2] = {k0, k1};
  uint32_t out[4];
  run_philox(counter, key, out);
  return py::make_tuple(out[0], out[1], out[2], out[3]);
}

void register_diffusion(py::module_& m) {
  m.def("log_standardize", &log_standardize);
  m.def("standardized_softmax", &standardized_softmax);
  m.def("softmax_decode", &softmax_decode);
  m.def("diffusion_step", &diffusion_step);
  m.def("philox", &philox);
}

}  // namespace
}  // namespace hud
