// The layers of the network on the CPU: the loops that each level exports, and what the binding
// calls.
#pragma once

#include "common/level.h"
#include "network/job.h"

namespace hud {

struct NetworkTable {
  void (*transform_weights)(const float*, const int64_t*, int64_t, int64_t, bool, float*);
  void (*weights_of)(const float*, int64_t, int64_t, float*);
  void (*conv)(const ConvJob&, const float*, const float*, const float*, float*, float*, int64_t,
               int64_t);
  void (*conv_gradient)(const ConvJob&, const float*, const float*, float*, float*, int64_t,
                        int64_t);
  void (*norm_silu)(const NormJob&, float*, int64_t, int64_t);
  void (*norm_silu_gradient)(const NormJob&, const float*, float*, float*, float*, int64_t,
                             int64_t);
};
HUD_DECLARE_LEVELS(NetworkTable, network);

// y (N, H, W, K) = x (N, H, W, C) * w (K, C, 3, 3) + bias (K); `mirrored`: with the weights turned
// by half a turn, K and C exchanged, which takes the gradient of y to that of x.
void run_conv(const ConvJob& job, const float* x, const float* w, const int64_t* strides,
              bool mirrored, const float* bias, float* y, int threads);
// The gradient of w (K, C, 3, 3), contiguous, from x and that of y.
void run_conv_gradient(const ConvJob& job, const float* x, const float* g, float* w, int threads);
void run_norm_silu(const NormJob& job, float* y, int threads);
void run_norm_silu_gradient(const NormJob& job, const float* gradient, float* of_x,
                            float* of_weights, float* of_told, int threads);

}  // namespace hud
