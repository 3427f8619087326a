// The block search's launchers as Python sees them.
#pragma once

#include "common/launch.h"
#include "windows/bind_device.h"

namespace hud::cuda_bindings {

inline void register_cuda_window_search(pybind11::module_& m) {
  m.def("cuda_window_shared_limit", &cuda::window_shared_limit);
  register_tile_steps(m, "cuda", &cuda::error_text, &cuda::window_tiles, &cuda::window_blocks,
                      &cuda::window_correlate, &cuda::window_settle, &cuda::window_answer);
}

}  // namespace hud::cuda_bindings
