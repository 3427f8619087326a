#include "network/run.h"

#include <cstddef>
#include <vector>

#include "common/parallel.h"

namespace hud {
namespace {

// A thread's own, kept from call to call: memory fresh from the system costs more than what is done
// in it.
struct Kept {
  std::vector<float> values;
  float* at_least(int64_t count) {
    if (static_cast<int64_t>(values.size()) < count) values.resize(static_cast<size_t>(count));
    return values.data();
  }
};
thread_local Kept scratch, transformed;

}  // namespace

HUD_DEFINE_KERNELS(NetworkTable, network)

void run_conv(const ConvJob& job, const float* x, const float* w, const int64_t* strides,
              bool mirrored, const float* bias, float* y, int threads) {
  const NetworkTable& kernels = network_kernels();
  float* const u = transformed.at_least(kFrequencies * plane_of(job.in, job.out));
  kernels.transform_weights(w, strides, job.in, job.out, mirrored, u);
  const int64_t blocks = (job.tiles() + kTileBlock - 1) / kTileBlock;
  parallel_ranges(blocks, 1, threads, [&](int, int64_t begin, int64_t end) {
    kernels.conv(job, x, u, bias, y, scratch.at_least(conv_scratch(job.in, job.out)), begin, end);
  });
}

void run_conv_gradient(const ConvJob& job, const float* x, const float* g, float* w, int threads) {
  const NetworkTable& kernels = network_kernels();
  float* const u = transformed.at_least(kFrequencies * plane_of(job.in, job.out));
  const int64_t columns = job.out / kChannels;  // every piece of them transforms all windows
  parallel_ranges(columns, (columns + threads - 1) / threads, threads,
                  [&](int, int64_t begin, int64_t end) {
                    kernels.conv_gradient(
                        job, x, g, u, scratch.at_least(conv_scratch(job.in, job.out)), begin, end);
                  });
  kernels.weights_of(u, job.in, job.out, w);
}

void run_norm_silu(const NormJob& job, float* y, int threads) {
  const NetworkTable& kernels = network_kernels();
  parallel_ranges(job.images, 1, threads,
                  [&](int, int64_t begin, int64_t end) { kernels.norm_silu(job, y, begin, end); });
}

void run_norm_silu_gradient(const NormJob& job, const float* gradient, float* of_x,
                            float* of_weights, float* of_told, int threads) {
  const NetworkTable& kernels = network_kernels();
  parallel_ranges(job.images, 1, threads, [&](int, int64_t begin, int64_t end) {
    kernels.norm_silu_gradient(job, gradient, of_x, of_weights, of_told, begin, end);
  });
}

}  // namespace hud
