// The search for the most similar window: a scene made ready, then any number of searches.
#pragma once

#include <string>
#include <vector>

#include "common/checks.h"
#include "windows/run.h"
#include "windows/scene.h"

namespace hud {
namespace {

// Keeps what the scene's pointers lie in.
struct HeldScene {
  py::object scene, factor;
  std::unique_ptr<WindowScene> ready;
  bool is_float32;
};

WindowShape shape_of(const Tensor& scene, int64_t block_height, int64_t block_width,
                     int64_t stride) {
  require(scene.ndim == 3 && scene.shape[2] >= 1, "expected (H, W, C)");
  const WindowShape shape = {scene.shape[0], scene.shape[1], scene.shape[2],
                             block_height,   block_width,    stride};
  require(stride >= 1 && block_height >= 1 && block_width >= 1 && block_height <= shape.height &&
              block_width <= shape.width,
          "the block does not fit into the scene");
  return shape;
}

WindowOptions options_of(const WindowShape& shape, const std::string& path, int64_t tile_down,
                         int64_t tile_across, int64_t memory_limit) {
  require(path.empty() || path == "direct" || path == "fft", "path must be '', 'direct' or 'fft'");
  std::vector<double> unused;
  FftPlan plan;
  require(
      (tile_down == 0 || (tile_down >= shape.block_height && make_fft(tile_down, plan, unused))) &&
          (tile_across == 0 ||
           (tile_across >= shape.block_width && make_fft(tile_across, plan, unused))),
      "no transform of this length");
  WindowOptions options;
  options.path = path == "direct" ? 1 : path == "fft" ? 2 : 0;
  options.tile_down = tile_down;
  options.tile_across = tile_across;
  options.memory_limit = memory_limit;
  return options;
}

int64_t least_memory(const Tensor& scene, int64_t block_height, int64_t block_width, int64_t stride,
                     const std::string& path, int64_t tile_down, int64_t tile_across) {
  const WindowShape shape = shape_of(scene, block_height, block_width, stride);
  return WindowScene::least(shape, options_of(shape, path, tile_down, tile_across, 0));
}

std::unique_ptr<HeldScene> make_scene(const py::object& scene_object,
                                      const py::object& factor_object, int64_t block_height,
                                      int64_t block_width, int64_t stride, const std::string& path,
                                      int64_t tile_down, int64_t tile_across, int64_t memory_limit,
                                      int threads) {
  const Tensor scene = scene_object.cast<Tensor>(), factor = factor_object.cast<Tensor>();
  const WindowShape shape = shape_of(scene, block_height, block_width, stride);
  const WindowOptions options = options_of(shape, path, tile_down, tile_across, memory_limit);
  auto held = std::make_unique<HeldScene>();
  held->scene = scene_object;
  held->factor = factor_object;
  held->is_float32 = float32_of(scene);
  const double* factors = doubles(factor, shape.height * shape.width);
  py::gil_scoped_release free;
  held->ready =
      std::make_unique<WindowScene>(scene.data, held->is_float32, factors, shape, options, threads);
  return held;
}

void search_scene(HeldScene& held, const Tensor& blocks, const Tensor& block_factor,
                  const Tensor& block_scale, const Tensor& window_scale, const Tensor& value,
                  const Tensor& position, const Tensor& apart, int threads) {
  const WindowShape& shape = held.ready->shape();
  require(blocks.ndim == 4 && blocks.shape[1] == shape.block_height &&
              blocks.shape[2] == shape.block_width && blocks.shape[3] == shape.channels,
          "the blocks are not those that the scene was made ready for");
  require(float32_of(blocks) == held.is_float32, "expected one dtype");
  WindowQuery query = {};
  query.blocks.blocks = blocks.data;
  query.blocks.is_float32 = held.is_float32;
  query.blocks.count = blocks.shape[0];
  query.blocks.factor =
      doubles(block_factor, blocks.shape[0] * shape.block_height * shape.block_width);
  query.block_scale = doubles(block_scale, blocks.shape[0]);
  query.window_scale = doubles(window_scale, shape.rows() * shape.columns());
  query.value = mutable_doubles(value, blocks.shape[0]);
  query.position = int64s(position, blocks.shape[0] * 2);
  std::vector<Apart> places;  // none, or one a block
  if (apart.shape[0] > 0) {
    const int64_t* sides = int64s(apart, blocks.shape[0] * 4);
    for (int64_t b = 0; b < blocks.shape[0]; ++b, sides += 4)
      places.push_back({sides[0], sides[1], sides[2], sides[3]});
    query.apart = places.data();
  }
  py::gil_scoped_release free;
  held.ready->search(query, threads);
}

py::dict plan_of(const HeldScene& held) {
  const WindowPlan& plan = held.ready->plan();
  py::dict out;
  out["path"] = plan.transforms ? "fft" : "direct";
  out["tile"] = py::make_tuple(plan.down, plan.across);
  out["tiles"] = py::make_tuple(plan.tiles_down, plan.tiles_across);
  const auto& tied = held.ready->tied();
  out["tied"] = py::make_tuple(tied[0], tied[1], tied[2]);
  return out;
}

void window_similarity(const Tensor& blocks, const Tensor& scene, const Tensor& position,
                       bool per_pixel, const Tensor& value, int threads) {
  require(blocks.ndim == 4 && scene.ndim == 3 && blocks.shape[3] == scene.shape[2],
          "expected (B, h, w, C) and (H, W, C)");
  require(float32_of(blocks) == float32_of(scene), "expected one dtype");
  const int64_t count = blocks.shape[0];
  const SimilarityJob job = {scene.data,     blocks.data,     float32_of(scene), scene.shape[1],
                             scene.shape[2], blocks.shape[1], blocks.shape[2],   per_pixel};
  const int64_t* at = int64s(position, 2 * count);
  for (int64_t b = 0; b < count; ++b)
    require(at[2 * b] >= 0 && at[2 * b] + job.block_height <= scene.shape[0] &&
                at[2 * b + 1] >= 0 && at[2 * b + 1] + job.block_width <= scene.shape[1],
            "a window lies outside of the scene");
  double* values = mutable_doubles(value, count);
  py::gil_scoped_release free;
  run_window_similarity(job, count, at, values, threads);
}

void project_rows(const Tensor& rows, const Tensor& basis, const Tensor& keys, const Tensor& square,
                  int threads) {
  require(rows.ndim == 2 && basis.ndim == 2 && rows.shape[1] == basis.shape[0],
          "expected (n, C) and (C, r)");
  const bool is_float32 = float32_of(rows);
  const int64_t count = rows.shape[0], bands = rows.shape[1], rank = basis.shape[1];
  const double* columns = doubles(basis, bands * rank);
  double *to = mutable_doubles(keys, count * rank), *squares = mutable_doubles(square, count);
  py::gil_scoped_release free;
  run_project_rows(rows.data, is_float32, count, bands, columns, rank, to, squares, threads);
}

void register_windows(py::module_& m) {
  py::class_<HeldScene>(m, "WindowScene")
      .def(py::init(&make_scene))
      .def_static("least", &least_memory)
      .def("search", &search_scene)
      .def_property_readonly("plan", &plan_of);
  m.def("window_similarity", &window_similarity);
  m.def("project_rows", &project_rows);
}

}  // namespace
}  // namespace hud
