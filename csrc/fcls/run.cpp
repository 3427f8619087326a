#include "fcls/run.h"

#include <cstddef>
#include <vector>

#include "common/interrupt.h"
#include "common/parallel.h"

namespace hud {
namespace {

constexpr int64_t kPixelGrain = 256;

thread_local FclsWays last_ways;

}  // namespace

HUD_DEFINE_KERNELS(FclsTable, fcls)

FclsWays fcls_ways() { return last_ways; }

void run_fcls(FclsJob job, int64_t pixels, int threads) {
  const FclsTable& k = fcls_kernels();
  // Float32 copies of the tables, for the rounds in float32.
  std::vector<float> gram32, start32, offset32;
  if (job.gram != nullptr) {
    gram32.assign(job.gram, job.gram + job.endmembers * job.padded);
    offset32.assign(job.start_offset, job.start_offset + job.endmembers);
    start32.resize(static_cast<size_t>(job.endmembers * job.rank));
    for (int64_t i = 0; i < job.endmembers; ++i)
      for (int64_t t = 0; t < job.rank; ++t)
        start32[i * job.rank + t] = static_cast<float>(job.start[t * job.padded + i]);
    job.gram32 = gram32.data();
    job.start32 = start32.data();
    job.start_offset32 = offset32.data();
  }
  const int64_t size = k.workspace(job), pieces = parallel_pieces(threads);
  std::vector<double> workspace(static_cast<size_t>(size * pieces));
  std::vector<FclsWays> ways(static_cast<size_t>(pieces));
  const int64_t first = (1 << 20) / job.endmembers * threads;
  interruptible_ranges(pixels, kPixelGrain, first, threads,
                       [&](int piece, int64_t begin, int64_t end) {
                         k.solve(job, begin, end, workspace.data() + piece * size, &ways[piece]);
                       });
  last_ways = {};
  for (const FclsWays& part : ways) {
    last_ways.lanes += part.lanes;
    last_ways.rounds += part.rounds;
    last_ways.alone += part.alone;
  }
}

}  // namespace hud
