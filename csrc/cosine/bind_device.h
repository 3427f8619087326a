// The tile search as Python sees it, emulated and on the device: one way to read its jobs,
// dicts of numbers and of tensors, so the same Python code serves both.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "common/checks.h"
#include "common/job.h"
#include "cosine/emulated.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#include "cosine/device.h"
#endif

namespace hud {
namespace {

// (n, columns) contiguous float32 or float64.
Tensor matrix(const JobReader& in, const char* name, int64_t columns) {
  const Tensor found = in.tensor(name);
  in.require(found.ndim == 2 && (columns < 0 || found.shape[1] == columns) && found.contiguous() &&
                 (found.is_float32() || found.is_float64()),
             name, "must be a contiguous float32 or float64 matrix of the job's columns");
  return found;
}

void row_inverse_of(const JobReader& in, Tensor& rows, double*& inverse) {
  rows = matrix(in, "rows", -1);
  inverse = in.array<double>("inverse", rows.shape[0]);
}

// The sizes that both jobs have; their names are the same.
template <typename Job>
void read_sizes(const JobReader& in, Job& job) {
  job.tiles = in.number<int64_t>("tiles");
  job.dims = in.number<int64_t>("dims");
  job.depth = in.number<int64_t>("depth");
  job.tested = in.number<int64_t>("tested");
  require(job.depth % kDepthStep == 0 && job.depth <= kMostDepth && job.dims <= job.depth &&
              job.tested <= kTested,
          "expected keys that fit a tile");
}

CosinePackJob pack_job(const JobReader& in) {
  CosinePackJob job = {};
  read_sizes(in, job);
  const int64_t P = in.tensor("inverse").numel();
  job.keys = in.array<float>("keys", P * job.dims);
  job.tests = in.array<float>("tests", P * job.tested);
  job.inverse = in.array<double>("inverse", P);
  job.row = in.array<int32_t>("row", job.tiles * kTile);
  job.packed = in.array<uint32_t>("packed", job.tiles * tile_words(job.depth));
  job.boxes = in.array<float>("boxes", job.tested * 2 * job.tiles);
  return job;
}

CosineSearchJob search_job(const JobReader& in) {
  CosineSearchJob job = {};
  read_sizes(in, job);
  const Tensor reference = matrix(in, "reference", -1);
  job.bands = reference.shape[1];
  const Tensor query = matrix(in, "query", job.bands);
  const int64_t Q = job.queries = query.shape[0];
  job.reference = reference.data;
  job.reference_float32 = reference.is_float32();
  job.reference_inverse = in.array<double>("reference_inverse", reference.shape[0]);
  job.packed = in.array<uint32_t>("packed", job.tiles * tile_words(job.depth));
  job.boxes = in.array<float>("boxes", job.tested * 2 * job.tiles);
  job.query = query.data;
  job.query_float32 = query.is_float32();
  job.query_inverse = in.array<double>("query_inverse", Q);
  job.keys = in.array<float>("keys", Q * job.dims);
  job.tests = in.array<float>("tests", Q * job.tested);
  job.order = in.array<int64_t>("order", Q);
  job.value = in.array<double>("value", Q);
  job.index = in.array<int64_t>("index", Q);
  job.work = in.optional<uint64_t>("work", 4);
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
  m.def("emulated_row_inverse", [](const py::dict& from) {
    Tensor rows;
    double* inverse;
    row_inverse_of(JobReader(from, {dlpack::kCpu, 0}), rows, inverse);
    py::gil_scoped_release free;
    emulated_launch::row_inverse(rows.data, rows.is_float32(), rows.shape[0], rows.shape[1],
                                 inverse);
  });
  m.def("emulated_cosine_pack", [](const py::dict& from) {
    const CosinePackJob job = pack_job(JobReader(from, {dlpack::kCpu, 0}));
    py::gil_scoped_release free;
    emulated_launch::cosine_pack(job);
  });
  m.def("emulated_cosine_max", [](const py::dict& from, int64_t shared) {
    const CosineSearchJob job = search_job(JobReader(from, {dlpack::kCpu, 0}));
    require(cosine_plan(job.depth, shared).bytes <= shared, "expected more shared memory");
    py::gil_scoped_release free;
    emulated_launch::cosine_search(job, shared);
  });
  m.def("emulated_mma", &emulated_mma);
  m.def("mma_layout", &mma_layout);
  m.def("emulated_pass_excess", &emulated_pass_excess);
#ifdef HUD_HAS_CUDA
  m.def("cuda_shared_limit", &cuda::shared_limit);
  m.def("cuda_row_inverse", [](const py::dict& from, int device, uintptr_t stream) {
    Tensor rows;
    double* inverse;
    row_inverse_of(JobReader(from, {dlpack::kCuda, device}), rows, inverse);
    cuda::check(cuda::row_inverse(rows.data, rows.is_float32(), rows.shape[0], rows.shape[1],
                                  inverse, device, reinterpret_cast<void*>(stream)),
                "row_inverse of (" + std::to_string(rows.shape[0]) + ", " +
                    std::to_string(rows.shape[1]) + ")");
  });
  m.def("cuda_cosine_pack", [](const py::dict& from, int device, uintptr_t stream) {
    const CosinePackJob job = pack_job(JobReader(from, {dlpack::kCuda, device}));
    cuda::check(cuda::cosine_pack(job, device, reinterpret_cast<void*>(stream)),
                ("cosine_max, packing " + std::to_string(job.tiles) + " tiles of " +
                 std::to_string(job.depth) + " numbers"));
  });
  m.def("cuda_cosine_max", [](const py::dict& from, int device, uintptr_t stream) {
    const CosineSearchJob job = search_job(JobReader(from, {dlpack::kCuda, device}));
    cuda::check(
        cuda::cosine_search(job, device, reinterpret_cast<void*>(stream)),
        ("cosine_max of (" + std::to_string(job.queries) + ", " + std::to_string(job.bands) +
         ") queries among " + std::to_string(job.tiles) + " tiles"));
  });
#endif
}

}  // namespace
}  // namespace hud
