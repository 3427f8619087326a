// FCLS for groups of threads, as Python sees it: a job is a dict of numbers and of tensors, one
// entry a field of FclsJob, which hud_fast/kernels/fcls/device.py makes.
#pragma once

#include <stdexcept>
#include <string>

#include "common/job.h"
#include "fcls/device.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#endif

namespace hud {
namespace {

// What a plan needs.
FclsJob read_fcls_numbers(const JobReader& in) {
  FclsJob job = {};
  job.bands = in.number<int64_t>("bands");
  job.endmembers = in.number<int64_t>("endmembers");
  job.rank = in.number<int64_t>("rank");
  job.padded = in.number<int64_t>("padded");
  job.scale = in.number<double>("scale");
  job.column_max = in.number<double>("column_max");
  job.sum_to_one = in.number<bool>("sum_to_one");
  job.per_freedom = in.number<double>("per_freedom");
  job.refine = in.number<bool>("refine");
  job.kept = in.number<int64_t>("kept");
  return job;
}

FclsJob read_fcls_job(const JobReader& in, int64_t* count) {
  FclsJob job = read_fcls_numbers(in);
  const int64_t C = job.bands, D = job.endmembers, rank = job.rank, padded = job.padded;
  job.centre = in.array<double>("centre", C);
  job.basis = in.array<double>("basis", C * rank);
  job.columns = in.array<double>("columns", D * rank);
  job.centred = in.array<double>("centred", D * C);
  if (padded > 0) {
    job.gram = in.array<double>("gram", D * padded);
    job.gram32 = in.array<float>("gram32", D * padded);
    job.columns_t = in.array<double>("columns_t", rank * padded);
    job.start = in.array<double>("start", rank * padded);
    job.start_offset = in.array<double>("start_offset", padded);
  }
  const Tensor pixels = in.tensor("pixels");
  in.require(pixels.ndim == 2 && pixels.shape[1] == job.bands, "pixels", "must be (P, C)");
  in.require(pixels.is_float32() || pixels.is_float64(), "pixels", "must be float32 or float64");
  const int64_t P = *count = pixels.shape[0];
  job.pixels = pixels.data;
  job.pixel_stride = pixels.strides[0];
  job.band_stride = pixels.strides[1];
  job.is_float32 = pixels.is_float32();
  job.abundances = in.values("abundances", job.is_float32, P * job.kept);
  job.residual = in.optional<double>("residual", P);
  job.gap = in.optional<double>("gap", P);
  job.status = in.optional<int8_t>("status", P);
  return job;
}

FclsPlan fcls_plan_of(const FclsJob& job, int64_t pixels, int multiprocessors, int64_t chunk) {
  return plan_fcls(pixels, job.bands, job.endmembers, job.rank, job.padded > 0, job.refine,
                   emulated::fcls_alone_values(job.endmembers, job.rank), multiprocessors, chunk);
}

py::dict fcls_plan(const py::dict& from, int64_t pixels, int multiprocessors, int64_t chunk) {
  const FclsPlan p =
      fcls_plan_of(read_fcls_numbers(JobReader(from, {})), pixels, multiprocessors, chunk);
  py::dict out;
  out["lanes"] = p.lanes;
  out["per_lane"] = p.per_lane;
  out["unrolled"] = p.unrolled;
  out["tiles"] = p.tiles;
  out["bands"] = p.bands;
  out["chunk"] = p.chunk;
  out["project_bytes"] = p.project_bytes;
  out["table_bytes"] = p.table_bytes;
  out["project_blocks"] = p.project_blocks;
  out["solve_blocks"] = p.solve_blocks;
  out["alone_blocks"] = p.alone_blocks;
  out["alone_values"] = p.alone_values;
  out["list"] = p.list;
  out["alone"] = p.alone;
  out["bytes"] = p.bytes;
  return out;
}

py::tuple emulated_fcls(const py::dict& from, int multiprocessors, int64_t chunk) {
  const JobReader in(from, {dlpack::kCpu, 0});
  int64_t pixels = 0;
  const FclsJob job = read_fcls_job(in, &pixels);
  const FclsPlan plan = fcls_plan_of(job, pixels, multiprocessors, chunk);
  const emulated::FclsGroupWays ways =
      emulated::fcls(job, pixels, plan, in.array<uint8_t>("scratch", plan.bytes));
  return py::make_tuple(ways.rounds, ways.alone);
}

#ifdef HUD_HAS_CUDA
void cuda_fcls(const py::dict& from, int multiprocessors, int64_t chunk, int device,
               uintptr_t stream) {
  const JobReader in(from, {dlpack::kCuda, device});
  int64_t pixels = 0;
  const FclsJob job = read_fcls_job(in, &pixels);
  const FclsPlan plan = fcls_plan_of(job, pixels, multiprocessors, chunk);
  const int status = cuda::fcls(job, pixels, plan, in.array<uint8_t>("scratch", plan.bytes), device,
                                reinterpret_cast<void*>(stream));
  if (status != 0)
    throw std::runtime_error("fcls: CUDA launch failed for " + std::to_string(pixels) +
                             " pixels of " + std::to_string(job.bands) + " bands and " +
                             std::to_string(job.endmembers) +
                             " endmembers: " + cuda::error_text(status));
}
#endif

void register_fcls_device(py::module_& m) {
  m.def("fcls_plan", &fcls_plan, "How a device would cut up a job: sizes, and bytes of scratch.");
  m.def("emulated_fcls", &emulated_fcls,
        "The device's FCLS on the host; pixels by the way that solved them. For tests.");
#ifdef HUD_HAS_CUDA
  m.def("cuda_fcls", &cuda_fcls);
#endif
}

}  // namespace
}  // namespace hud
