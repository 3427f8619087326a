// The latent space on the CPU: the loops that each level exports, and what the binding calls.
// Pointers named `void` hold values of the storage type.
#pragma once

#include "common/level.h"
#include "common/storage.h"
#include "latent/job.h"

namespace hud {

struct LatentTable {
  // By storage type, items [begin, end). The last argument: write past the caches.
  void (*log_project[kStorages])(const void*, void*, int64_t, int64_t, double, bool);
  void (*log_project_backward[kStorages])(const void*, const void*, void*, int64_t, int64_t, double,
                                          bool);
  void (*softmax[kStorages])(const void*, const void*, void*, int64_t, int64_t, int64_t, int64_t,
                             bool);
  void (*softmax_backward[kStorages])(const void*, const void*, void*, int64_t, int64_t, int64_t,
                                      int64_t, bool);
  void (*log_standardize[kStorages])(const StandardizeJob&, int64_t, int64_t);
  void (*log_standardize_backward[kStorages])(const StandardizeJob&, int64_t, int64_t);
  void (*standardized_softmax[kStorages])(const StandardizedSoftmaxJob&, int64_t, int64_t);
  void (*softmax_decode[kStorages])(const DecodeJob&, int64_t, int64_t);
};
HUD_DECLARE_LEVELS(LatentTable, latent);

void run_log_project(const void* x, void* z, Storage storage, int64_t count, double delta,
                     int threads);
void run_log_project_backward(const void* g, const void* x, void* gx, Storage storage,
                              int64_t count, double delta, int threads);
// x, z, g: contiguous (outer, D, inner); b is null for the forward pass.
void run_softmax(const void* a, const void* b, void* out, Storage storage, int64_t outer,
                 int64_t count, int64_t inner, int threads);

// mean, std: (D) float64.
struct Standard {
  const double* mean;
  const double* std;
};
// x, z, g: contiguous (outer, D, inner). g is null forward.
void run_log_standardize(const void* g, const void* x, void* out, Storage storage, int64_t outer,
                         int64_t D, int64_t inner, double delta, Standard standard, int threads);
// a: z, or the gradient beside x, the softmax's output; x is null forward.
void run_standardized_softmax(const void* a, const void* x, void* out, Storage storage,
                              int64_t outer, int64_t D, int64_t inner, Standard standard,
                              int threads);
// z (outer, D, inner) to (outer, inner, bands); endmembers (D, bands) float64.
void run_softmax_decode(const void* z, void* out, Storage storage, int64_t outer, int64_t D,
                        int64_t inner, const double* endmembers, int64_t bands, Standard standard,
                        int threads);

}  // namespace hud
