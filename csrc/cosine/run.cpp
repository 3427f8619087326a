#include "cosine/run.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "common/interrupt.h"
#include "common/parallel.h"

namespace hud {
namespace {

constexpr int64_t kQueryGrain = 240;
constexpr int64_t kRowGrain = 1024;

}  // namespace

HUD_DEFINE_KERNELS(CosineTable, cosine)

void run_row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands,
                     double* inverse, int threads) {
  const CosineTable& k = cosine_kernels();
  parallel_ranges(count, kRowGrain, threads, [&](int, int64_t begin, int64_t end) {
    k.row_inverse(rows, is_float32, bands, inverse, begin, end);
  });
}

void run_cosine_max(CosineJob job, int threads) {
  const CosineTable& k = cosine_kernels();
  std::vector<double> query_inverse(job.queries), reference_inverse(job.rows), mean(job.bands, 0.0);
  run_row_inverse(job.query, job.is_float32, job.queries, job.bands, query_inverse.data(), threads);
  run_row_inverse(job.reference, job.is_float32, job.rows, job.bands, reference_inverse.data(),
                  threads);
  const int64_t used = std::count_if(reference_inverse.begin(), reference_inverse.end(),
                                     [](double v) { return v > 0; });

  const int64_t pieces = parallel_pieces(threads);
  std::vector<double> sums(static_cast<size_t>(pieces * job.bands), 0.0);
  parallel_ranges(job.rows, kRowGrain, threads, [&](int piece, int64_t begin, int64_t end) {
    k.row_sum(job.reference, job.is_float32, job.bands, reference_inverse.data(),
              sums.data() + piece * job.bands, begin, end);
  });
  for (int64_t piece = 0; piece < pieces; ++piece)
    for (int64_t c = 0; c < job.bands; ++c) mean[c] += sums[piece * job.bands + c];
  for (double& value : mean) value /= static_cast<double>(std::max<int64_t>(used, 1));

  const int64_t panels = (job.rows + kPanel - 1) / kPanel;
  std::vector<float> packed(static_cast<size_t>(panels * kPanel * job.bands)),
      bias(static_cast<size_t>(panels * kPanel));
  job.query_inverse = query_inverse.data();
  job.reference_inverse = reference_inverse.data();
  job.mean = mean.data();
  std::vector<double> largest(static_cast<size_t>(pieces * 2), 0.0);
  parallel_ranges(panels, kRowGrain / kPanel, threads, [&](int piece, int64_t begin, int64_t end) {
    k.pack_panels(job, packed.data(), bias.data(), begin, end, largest.data() + piece * 2);
  });
  job.panels = packed.data();
  job.bias = bias.data();
  job.centred_max = job.bias_max = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    job.centred_max = std::max(job.centred_max, largest[piece * 2]);
    job.bias_max = std::max(job.bias_max, largest[piece * 2 + 1]);
  }

  const int64_t size = (k.brute_workspace(job) + 63) / 64 * 8;
  std::vector<double> workspace(static_cast<size_t>(size * pieces));
  const int64_t first = short_part(static_cast<double>(job.rows) * job.bands, threads);
  interruptible_ranges(job.queries, kQueryGrain, first, threads,
                       [&](int piece, int64_t begin, int64_t end) {
                         k.brute(job, begin, end, workspace.data() + piece * size);
                       });
}

}  // namespace hud
