// FCLS on the CPU: the loops that each level exports, and what the binding calls.
#pragma once

#include "common/level.h"
#include "fcls/job.h"

namespace hud {

struct FclsTable {
  int64_t (*workspace)(const FclsJob&);  // in doubles
  // Pixels [begin, end), with a caller's workspace.
  void (*solve)(const FclsJob&, int64_t, int64_t, double*, FclsWays*);
};
HUD_DECLARE_LEVELS(FclsTable, fcls);

void run_fcls(FclsJob job, int64_t pixels, int threads);
FclsWays fcls_ways();  // of this thread's last call

}  // namespace hud
