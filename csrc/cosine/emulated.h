// The launchers of cosine/device.h on host memory: the same source with the threads of a block
// emulated one after the other. For tests; slow.
#pragma once

#include <vector>

#include "cosine/device_job.h"

namespace hud::emulated_launch {

void row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands, double* inverse);
void cosine_pack(const CosinePackJob& job);
void cosine_search(const CosineSearchJob& job, int64_t shared);
// One warp's tensor-core product: out (16, 8) = c + a b, a (16, 16) and b (16, 8) float16 bits.
void mma_product(const uint16_t* a, const uint16_t* b, const float* c, float* out);
// Four numbers (lane, i, row, column) for each element of A, B and C, as the lanes hold them.
void mma_layout(std::vector<int>& a, std::vector<int>& b, std::vector<int>& c);
// Largest of |difference| / bound over all pairs of a tile of queries and one of rows, both keys
// (kTile, dims): of the distances the pass speaks of, and of its sums. Above 1: a bound is wrong.
double pass_excess(const float* queries, const float* rows, int64_t dims);

}  // namespace hud::emulated_launch
