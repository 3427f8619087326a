// FCLS for groups of threads, as Python sees it: a job is a dict of numbers and of addresses
// (device pointers, or host pointers for the emulation), one entry a field of FclsJob.
// hud_fast/kernels/fcls/device.py makes it and answers for its sizes.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "fcls/device.h"
#ifdef HUD_HAS_CUDA
#include "common/launch.h"
#endif

namespace hud {
namespace {

namespace py = pybind11;

FclsJob read_fcls_job(const py::dict& from) {
  const auto number = [&](const char* name) { return from[name].cast<int64_t>(); };
  const auto real = [&](const char* name) { return from[name].cast<double>(); };
  const auto address = [&](const char* name) {
    return reinterpret_cast<void*>(from[name].cast<uintptr_t>());
  };
  const auto doubles_at = [&](const char* name) { return static_cast<double*>(address(name)); };
  const auto floats_at = [&](const char* name) { return static_cast<float*>(address(name)); };
  FclsJob job = {};
  job.pixels = address("pixels");
  job.pixel_stride = number("pixel_stride");
  job.band_stride = number("band_stride");
  job.is_float32 = from["is_float32"].cast<bool>();
  job.scale = real("scale");
  job.bands = number("bands");
  job.centre = doubles_at("centre");
  job.basis = doubles_at("basis");
  job.columns = doubles_at("columns");
  job.centred = doubles_at("centred");
  job.endmembers = number("endmembers");
  job.rank = number("rank");
  job.column_max = real("column_max");
  job.sum_to_one = from["sum_to_one"].cast<bool>();
  job.padded = number("padded");
  job.gram = doubles_at("gram");
  job.gram32 = floats_at("gram32");
  job.columns_t = doubles_at("columns_t");
  job.start = doubles_at("start");
  job.start_offset = doubles_at("start_offset");
  job.per_freedom = real("per_freedom");
  job.refine = from["refine"].cast<bool>();
  job.kept = number("kept");
  job.abundances = address("abundances");
  job.residual = doubles_at("residual");
  job.gap = doubles_at("gap");
  job.status = static_cast<int8_t*>(address("status"));
  return job;
}

FclsPlan fcls_plan_of(const FclsJob& job, int64_t pixels, int multiprocessors, int64_t chunk) {
  return plan_fcls(pixels, job.bands, job.endmembers, job.rank, job.gram != nullptr, job.refine,
                   emulated::fcls_alone_values(job.endmembers, job.rank), multiprocessors, chunk);
}

py::dict fcls_plan(const py::dict& from, int64_t pixels, int multiprocessors, int64_t chunk) {
  const FclsPlan p = fcls_plan_of(read_fcls_job(from), pixels, multiprocessors, chunk);
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

py::tuple emulated_fcls(const py::dict& from, int64_t pixels, int multiprocessors, int64_t chunk,
                        uintptr_t scratch) {
  const FclsJob job = read_fcls_job(from);
  const FclsPlan plan = fcls_plan_of(job, pixels, multiprocessors, chunk);
  const emulated::FclsGroupWays ways =
      emulated::fcls(job, pixels, plan, reinterpret_cast<void*>(scratch));
  return py::make_tuple(ways.rounds, ways.alone);
}

#ifdef HUD_HAS_CUDA
void cuda_fcls(const py::dict& from, int64_t pixels, int multiprocessors, int64_t chunk,
               uintptr_t scratch, int device, uintptr_t stream) {
  const FclsJob job = read_fcls_job(from);
  const int status =
      cuda::fcls(job, pixels, fcls_plan_of(job, pixels, multiprocessors, chunk),
                 reinterpret_cast<void*>(scratch), device, reinterpret_cast<void*>(stream));
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
