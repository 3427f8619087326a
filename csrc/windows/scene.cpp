// Setting a scene up: centring, the term along the mean pixel, spectra of its tiles.
#include "windows/scene.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "common/parallel.h"
#include "windows/sums.h"

namespace hud {
namespace {

constexpr int64_t kResident = int64_t{1} << 28;  // spectra kept at most, without a limit

template <typename T>
double value_of(const void* values, int64_t i) {
  return static_cast<double>(static_cast<const T*>(values)[i]);
}

double value_of(const WindowJob& job, int64_t i) {
  return job.is_float32 ? value_of<float>(job.scene, i) : value_of<double>(job.scene, i);
}

}  // namespace

void AlignedDelete::operator()(char* p) const { ::operator delete(p, std::align_val_t{64}); }

AlignedBytes aligned_bytes(int64_t bytes) {
  return AlignedBytes(static_cast<char*>(
      ::operator new(static_cast<size_t>(std::max<int64_t>(bytes, 1)), std::align_val_t{64})));
}

int64_t WindowScene::least(const WindowShape& shape, const WindowOptions& options) {
  return least_bytes(shape, options, windows_kernels().f32.lanes * 4);
}

WindowScene::WindowScene(const void* pixels, bool is_float32, const double* factor,
                         const WindowShape& shape, const WindowOptions& options, int threads)
    : kernels_(&windows_kernels()), shape_(shape), options_(options) {
  plan_ = choose_plan(shape, options, kernels_->f32.lanes * 4);
  job_.scene = pixels;
  job_.is_float32 = is_float32;
  job_.factor = factor;
  job_.height = shape.height;
  job_.width = shape.width;
  job_.channels = shape.channels;
  job_.block_height = shape.block_height;
  job_.block_width = shape.block_width;
  job_.stride = shape.stride;
  job_.rows = shape.rows();
  job_.columns = shape.columns();
  job_.steps_down = plan_.steps_down;
  job_.steps_across = plan_.steps_across;
  job_.tiles_down = plan_.tiles_down;
  job_.tiles_across = plan_.tiles_across;
  centre(threads);
  directions(threads);
  if (!plan_.transforms) {
    prepare_direct(threads);
    return;
  }
  make_fft(plan_.down, job_.down, twiddle_down_);
  make_fft(plan_.across, job_.across, twiddle_across_);
  narrow_down_.assign(twiddle_down_.begin(), twiddle_down_.end());
  narrow_across_.assign(twiddle_across_.begin(), twiddle_across_.end());
  const auto slots = [&](int64_t length, int64_t steps) {
    std::vector<int32_t> slot(static_cast<size_t>(length), -1);
    for (int64_t i = 0; i < steps; ++i)
      slot[static_cast<size_t>(i * shape_.stride)] = static_cast<int32_t>(i);
    return slot;
  };
  row_slot_ = slots(plan_.down, plan_.steps_down);
  column_slot_ = slots(plan_.across, plan_.steps_across);
  for (int32_t i = 0; i < longest(job_); ++i) identity_.push_back(i);
  prepare_spectra<float>(threads);
}

// The mean direction of the pixels, times their typical length: a geometric mean, which no single
// bright pixel can move far.
void WindowScene::centre(int threads) {
  const int64_t K = shape_.channels, H = shape_.height, W = shape_.width;
  std::vector<double> sums(static_cast<size_t>(H * (K + 2)), 0.0);  // a row each: any thread count
  parallel_ranges(H, 16, threads, [&](int, int64_t begin, int64_t end) {
    std::vector<double> pixel(static_cast<size_t>(K));
    for (int64_t y = begin; y < end; ++y) {
      double* sum = sums.data() + y * (K + 2);
      for (int64_t x = 0; x < W; ++x) {
        const int64_t at = y * W + x;
        const double factor = job_.factor[at];
        if (!(factor != 0) || factor != factor) continue;
        double largest = 0, square = 0;
        for (int64_t k = 0; k < K; ++k) {
          pixel[k] = value_of(job_, at * K + k) * factor;
          largest = std::max(largest, std::abs(pixel[k]));
        }
        if (!(largest > 1e-290)) continue;
        for (int64_t k = 0; k < K; ++k) square += pixel[k] / largest * (pixel[k] / largest);
        const double length = largest * std::sqrt(square);
        for (int64_t k = 0; k < K; ++k) sum[k] += pixel[k] / length;
        sum[K] += std::log(length);
        sum[K + 1] += 1;
      }
    }
  });
  std::vector<double> total(static_cast<size_t>(K + 2), 0.0);
  for (int64_t y = 0; y < H; ++y)
    for (int64_t k = 0; k < K + 2; ++k) total[k] += sums[y * (K + 2) + k];
  const double count = std::max(total[K + 1], 1.0);
  double square = 0;
  for (int64_t k = 0; k < K; ++k) square += total[k] / count * (total[k] / count);
  const double share = std::sqrt(square);  // 1 where all pixels point one way
  const double typical = std::exp(total[K] / count);
  mean_.assign(static_cast<size_t>(K), 0.0);
  direction_.assign(static_cast<size_t>(K), 0.0);
  if (share > 1e-6) {
    for (int64_t k = 0; k < K; ++k) {
      direction_[k] = total[k] / count / share;
      mean_[k] = direction_[k] * share * typical;
    }
    job_.mean_length = share * typical;
  }
  job_.mean = mean_.data();
  job_.direction = direction_.data();
}

// sum <u - m, n> over every window, and for the direct path the window's |u - m|.
void WindowScene::directions(int threads) {
  const int64_t K = shape_.channels, H = shape_.height, W = shape_.width;
  std::vector<double> image(static_cast<size_t>(H * W)), square;
  if (!plan_.transforms) square.resize(static_cast<size_t>(H * W));
  parallel_ranges(H, 16, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t at = begin * W; at < end * W; ++at) {
      const double factor = job_.factor[at];
      double along = 0, length = 0;
      if (factor == factor)
        for (int64_t k = 0; k < K; ++k) {
          const double value = (factor != 0 ? value_of(job_, at * K + k) * factor : 0.0) - mean_[k];
          along += value * direction_[k];
          length += value * value;
        }
      image[at] = along;
      if (!square.empty()) square[at] = length;
    }
  });
  along_ = window_sums(image, shape_, threads);
  if (square.empty()) return;
  const std::vector<double> energy = window_sums(square, shape_, threads);
  norm_.resize(energy.size());
  for (size_t i = 0; i < energy.size(); ++i)
    norm_[i] = static_cast<float>(std::sqrt(energy[i]) * (1 + 1e-6));
}

void WindowScene::prepare_direct(int threads) {
  const int64_t K = shape_.channels, pixels = shape_.height * shape_.width;
  centred_.resize(static_cast<size_t>(pixels * K));
  parallel_ranges(pixels, 1024, threads, [&](int, int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const double factor = job_.factor[at];
      for (int64_t k = 0; k < K; ++k) {
        double value = 0;
        if (factor == factor)
          value = (factor != 0 ? value_of(job_, at * K + k) * factor : 0.0) - mean_[k];
        centred_[at * K + k] = static_cast<float>(value);
      }
    }
  });
}

template <typename T>
WindowJob WindowScene::job_of() const {
  WindowJob job = job_;
  if (sizeof(T) == sizeof(float)) {
    job.down.twiddle = narrow_down_.data();
    job.across.twiddle = narrow_across_.data();
  } else {
    job.down.twiddle = twiddle_down_.data();
    job.across.twiddle = twiddle_across_.data();
  }
  job.row_slot = row_slot_.data();
  job.column_slot = column_slot_.data();
  job.identity = identity_.data();
  return job;
}
template WindowJob WindowScene::job_of<float>() const;
template WindowJob WindowScene::job_of<double>() const;

// Keeps all tiles' spectra where they fit; else every search computes them again, chunk by chunk.
template <typename T>
void WindowScene::prepare_spectra(int threads) {
  const WindowJob job = job_of<T>();
  const int64_t pairs = plan_.pairs(), each = pair_bytes(shape_, plan_, sizeof(T));
  squares_.assign(static_cast<size_t>(pairs), 0.0);
  const int64_t vector = kernels_->f32.lanes * 4;
  const int64_t work = scene_work(job) * vector;
  int64_t room = kResident;
  if (options_.memory_limit > 0) room = options_.memory_limit - plan_.bytes;
  if (pairs * each > room) return;
  spectra_ = aligned_bytes(pairs * each);
  const int64_t chunks = (pairs + kPairs - 1) / kPairs;
  if (options_.memory_limit > 0)
    threads = static_cast<int>(std::clamp<int64_t>((room - pairs * each) / work + 1, 1, threads));
  parallel_ranges(chunks, 1, threads, [&](int, int64_t begin, int64_t end) {
    const AlignedBytes scratch = aligned_bytes(work);
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * kPairs, count = std::min<int64_t>(kPairs, pairs - first);
      kernels_->f32.scene_spectra(job, first, count, spectra_.get() + first * each,
                                  squares_.data() + first, scratch.get());
    }
  });
}

}  // namespace hud
