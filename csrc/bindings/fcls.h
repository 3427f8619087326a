// Fully constrained least squares.
#pragma once

#include "bindings/checks.h"
#include "cpu/run.h"

namespace hud {
namespace {

// residual, gap, status: tensors, or None for all three.
void fcls(const Tensor& pixels, const Tensor& centre, const Tensor& basis, const Tensor& columns,
          const Tensor& centred, double column_max, double scale, bool sum_to_one, int64_t kept,
          const Tensor& abundances, const py::object& residual, const py::object& gap,
          const py::object& status, int threads) {
  require(pixels.ndim == 2 && basis.ndim == 2 && columns.ndim == 2, "expected matrices");
  require(pixels.is_float32() || pixels.is_float64(), "expected float32 or float64 pixels");
  FclsJob job = {};
  const int64_t count = pixels.shape[0];
  job.pixels = pixels.data;
  job.pixel_stride = pixels.strides[0];
  job.band_stride = pixels.strides[1];
  job.is_float32 = pixels.is_float32();
  job.bands = pixels.shape[1];
  job.endmembers = columns.shape[0];
  job.rank = basis.shape[1];
  require(job.rank % 4 == 0 && columns.shape[1] == job.rank,
          "the rank must be padded to a multiple of 4");
  job.centre = doubles(centre, job.bands);
  job.basis = doubles(basis, job.bands * job.rank);
  job.columns = doubles(columns, job.endmembers * job.rank);
  job.centred = doubles(centred, job.endmembers * job.bands);
  job.column_max = column_max;
  job.scale = scale;
  job.sum_to_one = sum_to_one;
  job.kept = kept;
  require(kept >= 0 && kept <= job.endmembers && float32_of(abundances) == job.is_float32 &&
              abundances.numel() == count * kept,
          "abundances do not fit");
  job.abundances = abundances.data;
  if (!status.is_none()) {
    job.residual = mutable_doubles(residual.cast<Tensor>(), count);
    job.gap = mutable_doubles(gap.cast<Tensor>(), count);
    const Tensor flags = status.cast<Tensor>();
    require(flags.is(dlpack::kInt, 8) && flags.contiguous() && flags.numel() == count,
            "status must be int8");
    job.status = static_cast<int8_t*>(flags.data);
  }
  py::gil_scoped_release free;
  run_fcls(job, count, threads);
}

void register_fcls(py::module_& m) { m.def("fcls", &fcls); }

}  // namespace
}  // namespace hud
