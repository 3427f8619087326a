// Launchers of the pruned cosine search; see launch.h for what all launchers keep to. Pointers in
// the jobs lie on `device`.
#pragma once

#include "cosine/device_job.h"

namespace hud::cuda {

// Bytes of shared memory that a block may have; 0 where there is no such device.
int64_t shared_limit(int device);
// 1 / |row| of contiguous rows (count, bands).
int row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands, double* inverse,
                int device, void* stream);
int cosine_pack(const CosinePackJob& job, int device, void* stream);
int cosine_search(const CosineSearchJob& job, int device, void* stream);

}  // namespace hud::cuda
