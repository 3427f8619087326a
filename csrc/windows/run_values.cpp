// What goes with a window search in fewer dimensions: coordinates before it, cosines of the raw
// bands after it.
#include <cstddef>
#include <vector>

#include "common/parallel.h"
#include "windows/run.h"

namespace hud {

HUD_DEFINE_KERNELS(WindowTable, windows)

void run_window_similarity(const SimilarityJob& job, int64_t count, const int64_t* position,
                           double* value, int threads) {
  const WindowTable& kernels = windows_kernels();
  parallel_ranges(count, 1, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      value[b] = kernels.similarity(job, b, position[2 * b], position[2 * b + 1]);
  });
}

void run_project_rows(const void* rows, bool is_float32, int64_t count, int64_t bands,
                      const double* basis, int64_t rank, double* keys, double* square,
                      int threads) {
  constexpr int64_t kRowGrain = 1024, kWidest = 8;
  ProjectJob job = {rows, is_float32, bands, rank, 0, nullptr, keys, square};
  job.padded = (rank + kWidest - 1) / kWidest * kWidest;
  std::vector<double> padded(static_cast<size_t>(bands * job.padded), 0.0);
  for (int64_t c = 0; c < bands; ++c)
    for (int64_t k = 0; k < rank; ++k) padded[c * job.padded + k] = basis[c * rank + k];
  job.basis = padded.data();
  const WindowTable& kernels = windows_kernels();
  parallel_ranges(count, kRowGrain, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<double> work(static_cast<size_t>(4 * bands));
    kernels.project(job, begin, end, work.data());
  });
}

}  // namespace hud
