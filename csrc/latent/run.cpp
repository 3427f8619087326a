#include "common/run.h"

#include <algorithm>

#include "common/level.h"
#include "common/parallel.h"

namespace hud {
namespace {

constexpr int64_t kElementGrain =
    32768;  // elements under which a parallel region costs more than it saves

// Outputs from this size on are written past the caches: such an output and its input no longer fit
// a last-level cache of 32 MiB, and reading each line before overwriting it costs a third of the
// traffic. Smaller outputs stay where their reader will look for them.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

bool streams(int64_t count, Storage storage) {
  return count * kStorageBytes[storage] >= kStreamBytes;
}

}  // namespace

void run_log_project(const void* x, void* z, Storage storage, int64_t count, double delta,
                     int threads) {
  const auto kernel = active_kernels().log_project[storage];
  const bool stream = streams(count, storage);
  parallel_ranges(count, kElementGrain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(x, z, begin, end, delta, stream);
  });
}

void run_log_project_backward(const void* g, const void* x, void* gx, Storage storage,
                              int64_t count, double delta, int threads) {
  const auto kernel = active_kernels().log_project_backward[storage];
  const bool stream = streams(count, storage);
  parallel_ranges(count, kElementGrain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(g, x, gx, begin, end, delta, stream);
  });
}

void run_softmax(const void* a, const void* b, void* out, Storage storage, int64_t outer,
                 int64_t count, int64_t inner, int threads) {
  const KernelTable& k = active_kernels();
  const auto kernel = b == nullptr ? k.softmax[storage] : k.softmax_backward[storage];
  const bool stream = streams(outer * count * inner, storage);
  const int64_t grain = std::max<int64_t>(16, kElementGrain / std::max<int64_t>(count, 1));
  parallel_ranges(outer * inner, grain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(a, b, out, begin, end, count, inner, stream);
  });
}

}  // namespace hud
