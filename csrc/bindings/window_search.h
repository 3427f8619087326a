// The search for the most similar window.
#pragma once

#include "bindings/checks.h"
#include "cpu/run.h"

namespace hud {
namespace {

void window_search(const Tensor& blocks, const Tensor& scene, const Tensor& block_factor,
                   const Tensor& scene_factor, const Tensor& block_scale,
                   const Tensor& window_scale, int64_t stride, double margin, const Tensor& value,
                   const Tensor& position, int threads) {
  require(blocks.ndim == 4 && scene.ndim == 3 && blocks.shape[3] == scene.shape[2],
          "expected (B, h, w, C) and (H, W, C)");
  WindowSearch s = {};
  s.is_float32 = float32_of(scene);
  require(float32_of(blocks) == s.is_float32, "expected one dtype");
  s.scene = scene.data;
  s.blocks = blocks.data;
  s.height = scene.shape[0];
  s.width = scene.shape[1];
  s.channels = scene.shape[2];
  s.count = blocks.shape[0];
  s.block_height = blocks.shape[1];
  s.block_width = blocks.shape[2];
  s.stride = stride;
  require(stride >= 1 && s.block_height >= 1 && s.block_width >= 1 && s.block_height <= s.height &&
              s.block_width <= s.width,
          "the block does not fit into the scene");
  const int64_t rows = (s.height - s.block_height) / stride + 1,
                columns = (s.width - s.block_width) / stride + 1;
  s.scene_factor = doubles(scene_factor, s.height * s.width);
  s.block_factor = doubles(block_factor, s.count * s.block_height * s.block_width);
  s.window_scale = doubles(window_scale, rows * columns);
  s.block_scale = doubles(block_scale, s.count);
  s.margin = margin;
  s.value = mutable_doubles(value, s.count);
  s.position = int64s(position, s.count * 2);
  py::gil_scoped_release free;
  run_window_search(s, threads);
}

void register_window_search(py::module_& m) { m.def("window_search", &window_search); }

}  // namespace
}  // namespace hud
