// Sizes, threads, and parameters brought into the arithmetic's type.
#include "latent/run.h"

#include <algorithm>
#include <vector>

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

constexpr int64_t kLanes = 16;  // of the widest level

// Numbers as the kernels of a storage type read them: float, or double beside double.
class Parameters {
 public:
  Parameters(Storage storage, int64_t count)
      : wide_(storage == kFloat64),
        doubles_(wide_ ? static_cast<size_t>(count) : 0),
        floats_(wide_ ? 0 : static_cast<size_t>(count)) {}
  void set(int64_t i, double value) {
    if (wide_) {
      doubles_[static_cast<size_t>(i)] = value;
    } else {
      floats_[static_cast<size_t>(i)] = static_cast<float>(value);
    }
  }
  const void* data() const {
    return wide_ ? static_cast<const void*>(doubles_.data())
                 : static_cast<const void*>(floats_.data());
  }

 private:
  bool wide_;
  std::vector<double> doubles_;
  std::vector<float> floats_;
};

// `count` values of p, which has D, over and over; a vector more, so that reading past is harmless.
Parameters repeated(Storage storage, const double* p, int64_t D, int64_t count) {
  Parameters result(storage, count + kLanes);
  for (int64_t i = 0; i < count; ++i) result.set(i, p[i % D]);
  return result;
}

int64_t grain_of(int64_t values) {
  return std::max<int64_t>(1, kElementGrain / std::max<int64_t>(values, 1));
}

}  // namespace

HUD_DEFINE_KERNELS(LatentTable, latent)

void run_log_project(const void* x, void* z, Storage storage, int64_t count, double delta,
                     int threads) {
  const auto kernel = latent_kernels().log_project[storage];
  const bool stream = streams(count, storage);
  parallel_ranges(count, kElementGrain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(x, z, begin, end, delta, stream);
  });
}

void run_log_project_backward(const void* g, const void* x, void* gx, Storage storage,
                              int64_t count, double delta, int threads) {
  const auto kernel = latent_kernels().log_project_backward[storage];
  const bool stream = streams(count, storage);
  parallel_ranges(count, kElementGrain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(g, x, gx, begin, end, delta, stream);
  });
}

void run_softmax(const void* a, const void* b, void* out, Storage storage, int64_t outer,
                 int64_t count, int64_t inner, int threads) {
  const LatentTable& k = latent_kernels();
  const auto kernel = b == nullptr ? k.softmax[storage] : k.softmax_backward[storage];
  const bool stream = streams(outer * count * inner, storage);
  const int64_t grain = std::max<int64_t>(16, kElementGrain / std::max<int64_t>(count, 1));
  parallel_ranges(outer * inner, grain, threads, [&](int, int64_t begin, int64_t end) {
    kernel(a, b, out, begin, end, count, inner, stream);
  });
}

void run_log_standardize(const void* g, const void* x, void* out, Storage storage, int64_t outer,
                         int64_t D, int64_t inner, double delta, Standard standard, int threads) {
  const LatentTable& k = latent_kernels();
  const auto kernel =
      g == nullptr ? k.log_standardize[storage] : k.log_standardize_backward[storage];
  std::vector<double> inverse(static_cast<size_t>(D));
  for (int64_t d = 0; d < D; ++d) inverse[static_cast<size_t>(d)] = 1 / standard.std[d];
  const int64_t count = inner == 1 ? parameter_count(D) : D;
  const Parameters mean = repeated(storage, standard.mean, D, count);
  const Parameters factor = repeated(storage, inverse.data(), D, count);
  const StandardizeJob job{g == nullptr ? x : g,
                           x,
                           out,
                           mean.data(),
                           factor.data(),
                           D,
                           inner,
                           delta,
                           streams(outer * D * inner, storage)};
  const int64_t items = inner == 1 ? outer : outer * D;
  // Rows are cut at multiples of the most rows that go together.
  const int64_t unit = inner == 1 ? kLanes : 1;
  parallel_ranges((items + unit - 1) / unit, grain_of(unit * (inner == 1 ? D : inner)), threads,
                  [&](int, int64_t begin, int64_t end) {
                    kernel(job, begin * unit, std::min(end * unit, items));
                  });
}

void run_standardized_softmax(const void* a, const void* x, void* out, Storage storage,
                              int64_t outer, int64_t D, int64_t inner, Standard standard,
                              int threads) {
  const auto kernel = latent_kernels().standardized_softmax[storage];
  const Parameters mean = repeated(storage, standard.mean, D, D);
  const Parameters std = repeated(storage, standard.std, D, D);
  const StandardizedSoftmaxJob job{a,          x, out,   mean.data(),
                                   std.data(), D, inner, streams(outer * D * inner, storage)};
  parallel_ranges(outer * inner, std::max<int64_t>(kLanes, grain_of(D)), threads,
                  [&](int, int64_t begin, int64_t end) { kernel(job, begin, end); });
}

void run_softmax_decode(const void* z, void* out, Storage storage, int64_t outer, int64_t D,
                        int64_t inner, const double* endmembers, int64_t bands, Standard standard,
                        int threads) {
  const auto kernel = latent_kernels().softmax_decode[storage];
  const Parameters mean = repeated(storage, standard.mean, D, D);
  const Parameters std = repeated(storage, standard.std, D, D);
  const int64_t padded = (bands + 4 * kLanes - 1) / (4 * kLanes) * (4 * kLanes);
  Parameters spectra(storage, D * padded);
  for (int64_t d = 0; d < D; ++d)
    for (int64_t c = 0; c < bands; ++c) spectra.set(d * padded + c, endmembers[d * bands + c]);
  const DecodeJob job{
      z, mean.data(), std.data(), spectra.data(), out,
      D, inner,       bands,      padded,         streams(outer * inner * bands, storage)};
  parallel_ranges(outer * inner, std::max<int64_t>(kLanes, grain_of(bands)), threads,
                  [&](int, int64_t begin, int64_t end) { kernel(job, begin, end); });
}

}  // namespace hud
