// Noise added to a sum, and the generator alone.
#pragma once

#include "common/checks.h"
#include "noise/run.h"

namespace hud {
namespace {

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

void register_noise(py::module_& m) {
  m.def("diffusion_step", &diffusion_step);
  m.def("philox", &philox);
}

}  // namespace
}  // namespace hud
