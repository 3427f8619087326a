// Launchers of the latent space's CUDA kernels; see common/launch.h for what all launchers keep to.
#pragma once

#include <cstdint>

namespace hud::cuda {

// x, z: contiguous arrays of `count` values on `device`.
int log_project(const void* x, void* z, bool is_float32, int64_t count, double delta, int device,
                void* stream);
int log_project_backward(const void* g, const void* x, void* gx, bool is_float32, int64_t count,
                         double delta, int device, void* stream);
// a: z (b null) or the gradient (b the softmax's output); contiguous (outer, D, inner).
int simplex_softmax(const void* a, const void* b, void* out, bool is_float32, int64_t outer,
                    int64_t count, int64_t inner, int device, void* stream);

}  // namespace hud::cuda
