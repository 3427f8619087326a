// Noise and what it is added to, on the CPU: the loops that each level exports, and what the
// binding calls. Pointers named `void` hold values of the storage type.
#pragma once

#include "common/level.h"
#include "common/storage.h"
#include "noise/job.h"

namespace hud {

struct NoiseTable {
  void (*diffusion_step[kStorages])(const NoiseJob&, int64_t, int64_t);
  void (*philox)(const uint32_t*, const uint32_t*, uint32_t*);
};
HUD_DECLARE_LEVELS(NoiseTable, noise);

void run_diffusion_step(const NoiseJob& job, Storage storage, int threads);
void run_philox(const uint32_t* counter, const uint32_t* key, uint32_t* out);

}  // namespace hud
