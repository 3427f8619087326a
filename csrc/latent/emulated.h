// The CUDA softmax's own code, run on the host.
#pragma once

#include <cstdint>

namespace hud {

int emulated_longest_row();

// Contiguous (outer, D, inner): rows up to `emulated_longest_row()`, maps forward up to D = 32.
// b: the softmax's output for the gradient, or null.
void emulated_softmax(const void* a, const void* b, void* out, bool is_float32, int64_t outer,
                      int D, int64_t inner);

}  // namespace hud
