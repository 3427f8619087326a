// FCLS for groups of threads: on the device, and emulated on the host.
#pragma once

#include "fcls/device_plan.h"
#include "fcls/job.h"

namespace hud {

namespace cuda {
// All pointers of the job and `scratch` (plan.bytes, on 256 bytes) are the device's. Returns a
// cudaError_t; does not wait.
int fcls(const FclsJob& job, int64_t pixels, const FclsPlan& plan, void* scratch, int device,
         void* stream);
}  // namespace cuda

namespace emulated {
// Pixels by the way that solved them.
struct FclsGroupWays {
  int64_t rounds, alone;
};
FclsGroupWays fcls(const FclsJob& job, int64_t pixels, const FclsPlan& plan, void* scratch);
int64_t fcls_alone_values(int64_t endmembers, int64_t rank);
}  // namespace emulated

}  // namespace hud
