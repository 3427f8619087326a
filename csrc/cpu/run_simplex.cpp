#include "cpu/run.h"

#include <algorithm>

#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace hud {
namespace {

constexpr int64_t kElementGrain =
    32768;  // elements under which a parallel region costs more than it saves

}  // namespace

void run_log_project(const void* x, void* z, bool is_float32, int64_t count, double delta,
                     int threads) {
  const KernelTable& k = active_kernels();
  const auto kernel = is_float32 ? k.log_project_f32 : k.log_project_f64;
  parallel_ranges(count, kElementGrain, threads,
                  [&](int, int64_t begin, int64_t end) { kernel(x, z, begin, end, delta); });
}

void run_log_project_backward(const void* g, const void* x, void* gx, bool is_float32,
                              int64_t count, double delta, int threads) {
  const KernelTable& k = active_kernels();
  const auto kernel = is_float32 ? k.log_project_backward_f32 : k.log_project_backward_f64;
  parallel_ranges(count, kElementGrain, threads,
                  [&](int, int64_t begin, int64_t end) { kernel(g, x, gx, begin, end, delta); });
}

void run_softmax(const void* a, const void* b, void* out, bool is_float32, int64_t outer,
                 int64_t count, int64_t inner, int threads) {
  const KernelTable& k = active_kernels();
  const auto kernel = b == nullptr ? (is_float32 ? k.softmax_f32 : k.softmax_f64)
                                   : (is_float32 ? k.softmax_backward_f32 : k.softmax_backward_f64);
  const int64_t grain = std::max<int64_t>(16, kElementGrain / std::max<int64_t>(count, 1));
  parallel_ranges(outer * inner, grain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(a, b, out, begin, end, count, inner);
  });
}

}  // namespace hud
