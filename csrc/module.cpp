// hud_fast._C: the CPU operations on borrowed tensors. Private: hud_fast/kernels checks what a user
// can get wrong and words the errors; the checks here only keep a mistake of ours from reading
// outside a tensor.
#include <pybind11/pybind11.h>

#include <string>

#include "common/interrupt.h"
#include "common/level.h"
#include "common/parallel.h"
#include "cosine/bind.h"
#include "cosine/bind_device.h"
#include "fcls/bind.h"
#include "fcls/bind_device.h"
#include "latent/bind.h"
#include "latent/bind_device.h"
#include "network/bind.h"
#include "noise/bind.h"
#include "windows/bind.h"
#include "windows/bind_device.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#endif

namespace hud {
namespace {

py::list isa_levels() {
  py::list names;
  for (int level = 0; level < level_count(); ++level)
    if (level_available(level)) names.append(level_name(level));
  return names;
}

void set_isa(const std::string& name) {
  if (!set_level(name.c_str()))
    throw py::value_error("this build and processor have no level '" + name + "'");
}

}  // namespace
}  // namespace hud

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "CPU kernels of hud_fast on borrowed tensors; private, call hud_fast.kernels instead.";
  hud::register_interrupt();
  hud::register_latent(m);
  hud::register_latent_device(m);
  hud::register_network(m);
  hud::register_noise(m);
  hud::register_fcls(m);
  hud::register_fcls_device(m);
  hud::register_cosine(m);
  hud::register_cosine_device(m);
  hud::register_windows(m);
  hud::register_windows_device(m);
  m.def("isa_levels", &hud::isa_levels,
        "Instruction-set levels this build and processor have, rising.");
  m.def("isa", [] { return std::string(hud::level_name(hud::active_level())); });
  m.def("set_isa", &hud::set_isa);
  m.def("limit_threads", &hud::limit_threads);
#ifdef HUD_HAS_CUDA
  m.def("cuda_device_count", &hud::cuda::device_count);
#else
  m.def("cuda_device_count", [] { return 0; });
#endif
  m.attr("compiler") = HUD_COMPILER;
  m.attr("cuda_version") = HUD_CUDA_VERSION;
  m.attr("cuda_architectures") = HUD_CUDA_ARCHITECTURES_BUILT;
}
