// Which instruction-set level runs: the widest the processor has, unless HUD_FAST_ISA or
// set_level() says otherwise.
#pragma once

#include "common/kernels.h"

namespace hud {

// Levels in rising order: "baseline", "avx2", "avx512".
int level_count();
const char* level_name(int level);
bool level_available(int level);

// The active table. set_level returns false where the level is unknown here.
const KernelTable& active_kernels();
bool set_level(const char* name);

}  // namespace hud
