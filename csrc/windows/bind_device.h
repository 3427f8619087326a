// The block search for groups of threads, as Python sees it: a job is a dict of numbers and of
// addresses (device pointers, or host pointers for the emulation), one entry a field of TileJob.
// hud_fast/kernels/windows/device.py makes it and answers for its sizes.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "windows/device.h"
#include "windows/device_plan.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#endif

namespace hud {
namespace {

namespace py = pybind11;

class AddressReader {
 public:
  explicit AddressReader(const py::dict& dict) : dict_(dict) {}
  int64_t number(const char* name) { return at(name).cast<int64_t>(); }
  template <typename T>
  void pointer(const char* name, T*& to) {
    to = reinterpret_cast<T*>(at(name).cast<uintptr_t>());
  }

 private:
  py::object at(const char* name) {
    if (!dict_.contains(name)) throw py::key_error(std::string("the job lacks '") + name + "'");
    return dict_[name];
  }
  const py::dict& dict_;
};

TileJob tile_job(const py::dict& dict) {
  AddressReader in(dict);
  TileJob job = {};
  in.pointer("scene", job.scene);
  job.is_float32 = in.number("is_float32") != 0;
  job.one_scale = in.number("one_scale") != 0;
  in.pointer("factor", job.factor);
  in.pointer("centre", job.centre);
  job.height = in.number("height");
  job.width = in.number("width");
  job.channels = in.number("channels");
  job.block_height = in.number("block_height");
  job.block_width = in.number("block_width");
  job.stride = in.number("stride");
  job.rows = in.number("rows");
  job.columns = in.number("columns");
  std::vector<double> unused;
  if (!make_fft(in.number("down"), job.down, unused) ||
      !make_fft(in.number("across"), job.across, unused))
    throw py::value_error("no transform of this length");
  in.pointer("twiddle_down", job.down.twiddle);
  in.pointer("twiddle_across", job.across.twiddle);
  job.steps_down = in.number("steps_down");
  job.steps_across = in.number("steps_across");
  job.tiles_down = in.number("tiles_down");
  job.tiles_across = in.number("tiles_across");
  job.folds = in.number("folds");
  in.pointer("fold", job.fold);
  in.pointer("tile_spectra", job.tile_spectra);
  job.first_pair = in.number("first_pair");
  job.pairs = in.number("pairs");
  in.pointer("square", job.square);
  in.pointer("size", job.size);
  in.pointer("along", job.along);
  in.pointer("scale", job.scale);
  in.pointer("exact", job.exact);
  in.pointer("blocks", job.blocks);
  job.count = in.number("count");
  in.pointer("block_factor", job.block_factor);
  in.pointer("block_scale", job.block_scale);
  in.pointer("numbers", job.numbers);
  in.pointer("block_spectra", job.block_spectra);
  in.pointer("least", job.least);
  in.pointer("offered", job.offered);
  job.capacity = in.number("capacity");
  in.pointer("most", job.most);
  in.pointer("position", job.position);
  in.pointer("again", job.again);
  in.pointer("scan", job.scan);
  in.pointer("how", job.how);
  job.pieces = in.number("pieces");
  in.pointer("piece", job.piece);
  in.pointer("value", job.value);
  in.pointer("best_position", job.best_position);
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
void register_tile_steps(py::module_& m, const std::string& prefix, const char* (*why)(int),
                         int (*tiles)(const TileJob&, int, void*),
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
    const TileJob job = tile_job(dict);
    const py::gil_scoped_release free;
    check(tiles(job, device, stream(on)), job, "spectra of the scene");
  });
  m.def((prefix + "_window_blocks").c_str(),
        [=](const py::dict& dict, bool spectra, int device, uintptr_t on) {
          const TileJob job = tile_job(dict);
          const py::gil_scoped_release free;
          check(blocks(job, spectra, device, stream(on)), job, "spectra of the blocks");
        });
  m.def((prefix + "_window_correlate").c_str(),
        [=](const py::dict& dict, bool again, int device, uintptr_t on) {
          const TileJob job = tile_job(dict);
          const py::gil_scoped_release free;
          check(correlate(job, again, device, stream(on)), job, "correlation");
        });
  m.def((prefix + "_window_settle").c_str(),
        [=](const py::dict& dict, int how, int device, uintptr_t on) {
          const TileJob job = tile_job(dict);
          const py::gil_scoped_release free;
          check(settle(job, how, device, stream(on)), job, "lists");
        });
  m.def((prefix + "_window_answer").c_str(), [=](const py::dict& dict, int device, uintptr_t on) {
    const TileJob job = tile_job(dict);
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
  register_tile_steps(m, "emulated", nullptr, &emulated::window_tiles, &emulated::window_blocks,
                      &emulated::window_correlate, &emulated::window_settle,
                      &emulated::window_answer);
#ifdef HUD_HAS_CUDA
  m.def("cuda_window_shared_limit", &cuda::window_shared_limit);
  register_tile_steps(m, "cuda", &cuda::error_text, &cuda::window_tiles, &cuda::window_blocks,
                      &cuda::window_correlate, &cuda::window_settle, &cuda::window_answer);
#endif
}

}  // namespace
}  // namespace hud
