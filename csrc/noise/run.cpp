#include "noise/run.h"

#include "common/parallel.h"

namespace hud {
namespace {

// Work items under which a parallel region costs more than it saves.
constexpr int64_t kGrain = 32768 / kNoiseItem;

}  // namespace

HUD_DEFINE_KERNELS(NoiseTable, noise)

void run_diffusion_step(const NoiseJob& job, Storage storage, int threads) {
  const auto kernel = noise_kernels().diffusion_step[storage];
  const int64_t groups = (job.count + kNoiseItem - 1) / kNoiseItem;
  parallel_ranges(job.samples * groups, kGrain, threads,
                  [&](int, int64_t begin, int64_t end) { kernel(job, begin, end); });
}

void run_philox(const uint32_t* counter, const uint32_t* key, uint32_t* out) {
  noise_kernels().philox(counter, key, out);
}

}  // namespace hud
