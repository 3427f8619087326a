// The block search for groups of threads, as Python sees it: a job is a dict of numbers and of
// tensors, one entry a field of TileJob, which hud_fast/kernels/windows/device.py makes. A step of
// the scene alone has no entries of blocks, a search without transforms none of theirs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/job.h"
#include "windows/device.h"
#include "windows/device_plan.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#endif

namespace hud {
namespace {

// Structures that lie in a tensor of T.
template <typename Struct, typename T>
Struct* packed(const JobReader& in, const char* name, int64_t count) {
  return reinterpret_cast<Struct*>(in.array<T>(name, count * (sizeof(Struct) / sizeof(T))));
}

TileJob tile_job(const py::dict& dict, dlpack::Device device) {
  const JobReader in(dict, device);
  const auto number = [&](const char* name) { return in.number<int64_t>(name); };
  TileJob job = {};
  job.is_float32 = number("is_float32") != 0;
  job.one_scale = number("one_scale") != 0;
  const int64_t H = job.height = number("height"), W = job.width = number("width");
  const int64_t K = job.channels = number("channels");
  const int64_t h = job.block_height = number("block_height"),
                w = job.block_width = number("block_width");
  job.stride = number("stride");
  job.rows = number("rows");
  job.columns = number("columns");
  job.scene = in.values("scene", job.is_float32, H * W * K);
  job.factor = in.array<double>("factor", H * W);
  job.centre = in.array<double>("centre", 2 * K + 1);
  std::vector<double> down, across;  // twiddles, of which the device has its own
  if (!make_fft(number("down"), job.down, down) || !make_fft(number("across"), job.across, across))
    throw py::value_error("no transform of this length");
  job.steps_down = number("steps_down");
  job.steps_across = number("steps_across");
  job.tiles_down = number("tiles_down");
  job.tiles_across = number("tiles_across");
  job.folds = number("folds");
  job.first_pair = number("first_pair");
  job.pairs = number("pairs");
  const int64_t points = job.down.length * job.across.length;
  if (dict.contains("tile_spectra")) {  // by transforms
    const int64_t all = (job.tiles_down * job.tiles_across + 1) / 2;
    in.require(job.first_pair >= 0 && job.first_pair + job.pairs <= all, "pairs",
               "must lie within those of the plan");
    job.down.twiddle = in.array<float>("twiddle_down", static_cast<int64_t>(down.size()));
    job.across.twiddle = in.array<float>("twiddle_across", static_cast<int64_t>(across.size()));
    job.fold = packed<Fold, int32_t>(in, "fold", job.folds);
    job.tile_spectra = packed<Complex, float>(in, "tile_spectra", job.pairs * K * points);
    job.square = in.array<double>("square", all * K);
    job.size = in.array<float>("size", all);
    job.along = in.array<float>("along", job.rows * job.columns);
  }
  const int64_t B = job.count = number("count");
  job.capacity = number("capacity");
  job.pieces = number("pieces");
  if (!dict.contains("blocks")) return job;  // the scene alone
  job.scale = in.array<float>("scale", job.rows * job.columns);
  job.exact = in.array<double>("exact", job.rows * job.columns);
  job.blocks = in.values("blocks", job.is_float32, B * h * w * K);
  job.block_factor = in.array<double>("block_factor", B * h * w);
  job.block_scale = in.array<double>("block_scale", B);
  job.numbers = packed<BlockNumbers, double>(in, "numbers", B);
  if (job.tile_spectra != nullptr)
    job.block_spectra = packed<Complex, float>(in, "block_spectra", B * K * points);
  job.least = in.array<uint32_t>("least", B);
  job.offered = in.array<int32_t>("offered", B);
  job.most = in.array<float>("most", B * job.capacity);
  job.position = in.array<int64_t>("position", B * job.capacity);
  job.again = in.array<int32_t>("again", 1 + B);
  job.scan = in.array<int32_t>("scan", 1 + B);
  job.how = in.array<int32_t>("how", B);
  job.piece = packed<BestWindow, double>(in, "piece", B * job.pieces);
  job.value = in.array<double>("value", B);
  job.best_position = in.array<int64_t>("best_position", B * 2);
  return job;
}

std::string job_text(const TileJob& job, const char* step, const char* why) {
  const auto of = [](int64_t a, int64_t b, int64_t c) {
    return std::to_string(a) + ", " + std::to_string(b) + ", " + std::to_string(c) + ")";
  };
  return std::string("window_search: CUDA launch failed (") + step + ") for " +
         std::to_string(job.count) + " blocks (" +
         of(job.block_height, job.block_width, job.channels) + " and a scene (" +
         of(job.height, job.width, job.channels) + ": " + why;
}

// `why` words a status; null where a status is always 0.
void register_tile_steps(py::module_& m, const std::string& prefix, int32_t type,
                         const char* (*why)(int), int (*tiles)(const TileJob&, int, void*),
                         int (*blocks)(const TileJob&, bool, int, void*),
                         int (*correlate)(const TileJob&, bool, int, void*),
                         int (*settle)(const TileJob&, int, int, void*),
                         int (*answer)(const TileJob&, int, void*)) {
  const auto stream = [](uintptr_t address) { return reinterpret_cast<void*>(address); };
  const auto check = [why](int status, const TileJob& job, const char* step) {
    if (status != 0)
      throw std::runtime_error(job_text(job, step, why == nullptr ? "" : why(status)));
  };
  m.def((prefix + "_window_tiles").c_str(), [=](const py::dict& dict, int device, uintptr_t on) {
    const TileJob job = tile_job(dict, {type, device});
    const py::gil_scoped_release free;
    check(tiles(job, device, stream(on)), job, "spectra of the scene");
  });
  m.def((prefix + "_window_blocks").c_str(),
        [=](const py::dict& dict, bool spectra, int device, uintptr_t on) {
          const TileJob job = tile_job(dict, {type, device});
          const py::gil_scoped_release free;
          check(blocks(job, spectra, device, stream(on)), job, "spectra of the blocks");
        });
  m.def((prefix + "_window_correlate").c_str(),
        [=](const py::dict& dict, bool again, int device, uintptr_t on) {
          const TileJob job = tile_job(dict, {type, device});
          const py::gil_scoped_release free;
          check(correlate(job, again, device, stream(on)), job, "correlation");
        });
  m.def((prefix + "_window_settle").c_str(),
        [=](const py::dict& dict, int how, int device, uintptr_t on) {
          const TileJob job = tile_job(dict, {type, device});
          const py::gil_scoped_release free;
          check(settle(job, how, device, stream(on)), job, "lists");
        });
  m.def((prefix + "_window_answer").c_str(), [=](const py::dict& dict, int device, uintptr_t on) {
    const TileJob job = tile_job(dict, {type, device});
    const py::gil_scoped_release free;
    check(answer(job, device, stream(on)), job, "scores");
  });
}

// The plan and the twiddles of its transforms.
py::dict window_tile_plan(int64_t height, int64_t width, int64_t channels, int64_t block_height,
                          int64_t block_width, int64_t stride, int64_t shared_limit,
                          const std::string& path, int64_t tile_down, int64_t tile_across) {
  const WindowShape shape = {height, width, channels, block_height, block_width, stride};
  const int way = path == "direct" ? 1 : path == "fft" ? 2 : 0;
  const TilePlan plan = choose_tiles(shape, shared_limit, way, tile_down, tile_across);
  py::dict out;
  out["path"] = plan.transforms ? "fft" : "direct";
  out["down"] = plan.down;
  out["across"] = plan.across;
  out["steps_down"] = plan.steps_down;
  out["steps_across"] = plan.steps_across;
  out["tiles_down"] = plan.tiles_down;
  out["tiles_across"] = plan.tiles_across;
  out["shared"] = plan.shared;
  out["cost"] = plan.cost;
  FftPlan fft[2];
  for (const int axis : {0, 1}) {
    std::vector<double> twiddle;
    make_fft(axis == 0 ? plan.down : plan.across, fft[axis], twiddle);
    py::list values;
    for (const double value : twiddle) values.append(value);
    out[axis == 0 ? "twiddle_down" : "twiddle_across"] = values;
  }
  py::list folds;
  if (plan.transforms)
    for (const Fold& fold : fold_butterflies(fft[0], fft[1]))
      folds.append(py::make_tuple(fold.own, fold.other, fold.low));
  out["fold"] = folds;
  return out;
}

void register_windows_device(py::module_& m) {
  m.def("window_tile_plan", &window_tile_plan);
  m.attr("window_settle") = py::make_tuple(+kAgain, +kScan, +kScanAll);
  register_tile_steps(m, "emulated", dlpack::kCpu, nullptr, &emulated::window_tiles,
                      &emulated::window_blocks, &emulated::window_correlate,
                      &emulated::window_settle, &emulated::window_answer);
#ifdef HUD_HAS_CUDA
  m.def("cuda_window_shared_limit", &cuda::window_shared_limit);
  register_tile_steps(m, "cuda", dlpack::kCuda, &cuda::error_text, &cuda::window_tiles,
                      &cuda::window_blocks, &cuda::window_correlate, &cuda::window_settle,
                      &cuda::window_answer);
#endif
}

}  // namespace
}  // namespace hud
