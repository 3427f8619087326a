// The CPU operations as the bindings call them: plain pointers and sizes, the active
// instruction-set level, threads.
#pragma once

#include <cstdint>

#include "common/kernels.h"

namespace hud {

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
void run_diffusion_step(const NoiseJob& job, Storage storage, int threads);
void run_philox(const uint32_t* counter, const uint32_t* key, uint32_t* out);

void run_fcls(FclsJob job, int64_t pixels, int threads);
FclsWays fcls_ways();  // of this thread's last call
void run_row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands,
                     double* inverse, int threads);
// Fills in the job's inverse norms, mean and panels, then searches.
void run_cosine_max(CosineJob job, int threads);
// Cosines of blocks with the windows at `position` (B, 2).
void run_window_similarity(const SimilarityJob& job, int64_t count, const int64_t* position,
                           double* value, int threads);
// Rows (n, C) in the basis (C, rank), and their squared norms.
void run_project_rows(const void* rows, bool is_float32, int64_t count, int64_t bands,
                      const double* basis, int64_t rank, double* keys, double* square, int threads);

}  // namespace hud
