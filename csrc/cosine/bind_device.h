// The tile search as Python sees it, emulated and on the device: one way to read its jobs. Tensors
// come as addresses, so the same Python code serves both.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "common/checks.h"
#include "cosine/emulated.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#include "cosine/device.h"
#endif

namespace hud {
namespace {

template <typename T>
T* address(const py::dict& job, const char* name) {
  return reinterpret_cast<T*>(job[name].cast<uintptr_t>());
}

int64_t number(const py::dict& job, const char* name) { return job[name].cast<int64_t>(); }

CosinePackJob pack_job(const py::dict& from) {
  CosinePackJob job = {};
  job.keys = address<const float>(from, "keys");
  job.tests = address<const float>(from, "tests");
  job.inverse = address<const double>(from, "inverse");
  job.row = address<const int32_t>(from, "row");
  job.tiles = number(from, "tiles");
  job.dims = number(from, "dims");
  job.depth = number(from, "depth");
  job.tested = number(from, "tested");
  job.packed = address<uint32_t>(from, "packed");
  job.boxes = address<float>(from, "boxes");
  require(job.depth % kDepthStep == 0 && job.depth <= kMostDepth && job.dims <= job.depth &&
              job.tested <= kTested,
          "expected keys that fit a tile");
  return job;
}

CosineSearchJob search_job(const py::dict& from) {
  CosineSearchJob job = {};
  job.reference = address<const void>(from, "reference");
  job.reference_float32 = from["reference_float32"].cast<bool>();
  job.reference_inverse = address<const double>(from, "reference_inverse");
  job.packed = address<const uint32_t>(from, "packed");
  job.boxes = address<const float>(from, "boxes");
  job.tiles = number(from, "tiles");
  job.bands = number(from, "bands");
  job.dims = number(from, "dims");
  job.depth = number(from, "depth");
  job.tested = number(from, "tested");
  job.query = address<const void>(from, "query");
  job.query_float32 = from["query_float32"].cast<bool>();
  job.query_inverse = address<const double>(from, "query_inverse");
  job.keys = address<const float>(from, "keys");
  job.tests = address<const float>(from, "tests");
  job.order = address<const int64_t>(from, "order");
  job.queries = number(from, "queries");
  job.value = address<double>(from, "value");
  job.index = address<int64_t>(from, "index");
  job.work = address<uint64_t>(from, "work");
  require(job.depth % kDepthStep == 0 && job.depth <= kMostDepth && job.dims <= job.depth &&
              job.tested <= kTested,
          "expected keys that fit a tile");
  return job;
}

py::tuple emulated_mma(const py::bytes& a, const py::bytes& b, const py::bytes& c) {
  const std::string left = a, right = b, start = c;
  require(left.size() == 512 && right.size() == 256 && start.size() == 512,
          "expected (16, 16) and (16, 8) float16, (16, 8) float32");
  float out[128];
  emulated_launch::mma_product(reinterpret_cast<const uint16_t*>(left.data()),
                               reinterpret_cast<const uint16_t*>(right.data()),
                               reinterpret_cast<const float*>(start.data()), out);
  py::tuple values(128);
  for (int i = 0; i < 128; ++i) values[static_cast<size_t>(i)] = out[i];
  return values;
}

// (lane, i, row, column) of each element of A, B and C that a lane holds.
py::tuple mma_layout() {
  std::vector<int> layout[3];
  emulated_launch::mma_layout(layout[0], layout[1], layout[2]);
  return py::make_tuple(layout[0], layout[1], layout[2]);
}

double emulated_pass_excess(const Tensor& queries, const Tensor& rows) {
  require(queries.is_float32() && queries.contiguous() && rows.is_float32() && rows.contiguous() &&
              queries.ndim == 2 && rows.ndim == 2 && queries.shape[0] == kTile &&
              rows.shape[0] == kTile && queries.shape[1] == rows.shape[1] &&
              rows.shape[1] <= kMostDepth,
          "expected two float32 tiles of keys");
  return emulated_launch::pass_excess(static_cast<const float*>(queries.data),
                                      static_cast<const float*>(rows.data), rows.shape[1]);
}

void register_cosine_device(py::module_& m) {
  m.attr("cosine_tile") = kTile;
  m.attr("cosine_tested") = kTested;
  m.attr("cosine_most_depth") = kMostDepth;
  m.attr("cosine_most_shared") = kMostShared;
  m.def("cosine_tile_words", &tile_words);
  m.def("cosine_plan_bytes",
        [](int64_t depth, int64_t shared) { return cosine_plan(depth, shared).bytes; });
  m.def("emulated_row_inverse",
        [](uintptr_t rows, bool is_float32, int64_t count, int64_t bands, uintptr_t inverse) {
          py::gil_scoped_release free;
          emulated_launch::row_inverse(reinterpret_cast<const void*>(rows), is_float32, count,
                                       bands, reinterpret_cast<double*>(inverse));
        });
  m.def("emulated_cosine_pack", [](const py::dict& from) {
    const CosinePackJob job = pack_job(from);
    py::gil_scoped_release free;
    emulated_launch::cosine_pack(job);
  });
  m.def("emulated_cosine_max", [](const py::dict& from, int64_t shared) {
    const CosineSearchJob job = search_job(from);
    require(cosine_plan(job.depth, shared).bytes <= shared, "expected more shared memory");
    py::gil_scoped_release free;
    emulated_launch::cosine_search(job, shared);
  });
  m.def("emulated_mma", &emulated_mma);
  m.def("mma_layout", &mma_layout);
  m.def("emulated_pass_excess", &emulated_pass_excess);
#ifdef HUD_HAS_CUDA
  m.def("cuda_shared_limit", &cuda::shared_limit);
  m.def("cuda_row_inverse", [](uintptr_t rows, bool is_float32, int64_t count, int64_t bands,
                               uintptr_t inverse, int device, uintptr_t stream) {
    cuda::check(cuda::row_inverse(reinterpret_cast<void*>(rows), is_float32, count, bands,
                                  static_cast<double*>(reinterpret_cast<void*>(inverse)), device,
                                  reinterpret_cast<void*>(stream)),
                ("row_inverse of (" + std::to_string(count) + ", " + std::to_string(bands) + ")"));
  });
  m.def("cuda_cosine_pack", [](const py::dict& from, int device, uintptr_t stream) {
    const CosinePackJob job = pack_job(from);
    cuda::check(cuda::cosine_pack(job, device, reinterpret_cast<void*>(stream)),
                ("cosine_max, packing " + std::to_string(job.tiles) + " tiles of " +
                 std::to_string(job.depth) + " numbers"));
  });
  m.def("cuda_cosine_max", [](const py::dict& from, int device, uintptr_t stream) {
    const CosineSearchJob job = search_job(from);
    cuda::check(
        cuda::cosine_search(job, device, reinterpret_cast<void*>(stream)),
        ("cosine_max of (" + std::to_string(job.queries) + ", " + std::to_string(job.bands) +
         ") queries among " + std::to_string(job.tiles) + " tiles"));
  });
#endif
}

}  // namespace
}  // namespace hud
