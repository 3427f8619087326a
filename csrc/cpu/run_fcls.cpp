#include "cpu/run.h"

#include <cstddef>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/parallel.h"

namespace hud {
namespace {

constexpr int64_t kPixelGrain = 256;

}  // namespace

void run_fcls(const FclsJob& job, int64_t pixels, int threads) {
  const KernelTable& k = active_kernels();
  const int64_t size = k.fcls_workspace(job);
  std::vector<double> workspace(static_cast<size_t>(size * parallel_pieces(threads)));
  parallel_ranges(pixels, kPixelGrain, threads, [&](int piece, int64_t begin, int64_t end) {
    k.fcls(job, begin, end, workspace.data() + piece * size);
  });
}

}  // namespace hud
