// Fully constrained least squares.
#pragma once

#include "common/checks.h"
#include "fcls/rules.h"
#include "fcls/run.h"

namespace hud {
namespace {

// residual, gap, status: tensors, or None for all three. The tables from columns_t on may be empty:
// then every pixel takes the way that needs none.
void fcls(const Tensor& pixels, const Tensor& centre, const Tensor& centred, double column_max,
          double scale, bool sum_to_one, int64_t kept, const Tensor& basis, const Tensor& columns,
          const Tensor& columns_t, const Tensor& gram, const Tensor& start,
          const Tensor& start_offset, double per_freedom, bool refine, const Tensor& abundances,
          const py::object& residual, const py::object& gap, const py::object& status,
          int threads) {
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
  if (gram.numel() > 0) {
    require(gram.ndim == 2 && gram.shape[1] % 16 == 0 && gram.shape[1] >= job.endmembers &&
                job.endmembers <= kMaxEndmembers,
            "the Gram matrix must be padded to a multiple of 16, for 64 endmembers at most");
    job.padded = gram.shape[1];
    job.gram = doubles(gram, job.endmembers * job.padded);
    job.columns_t = doubles(columns_t, job.rank * job.padded);
    job.start = doubles(start, job.rank * job.padded);
    job.start_offset = doubles(start_offset, job.padded);
    job.per_freedom = per_freedom;
    job.refine = refine;
  }
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

void register_fcls(py::module_& m) {
  m.def("fcls", &fcls);
  m.attr("fcls_certified") = kCertified;
  m.attr("fcls_tolerance") = kWideTolerance;
  m.attr("fcls_most_endmembers") = kMaxEndmembers;
  m.def(
      "fcls_ways",
      [] {
        const FclsWays ways = fcls_ways();
        return py::make_tuple(ways.lanes, ways.rounds, ways.alone);
      },
      "Pixels of this thread's last call by the way that solved them; for tests.");
}

}  // namespace
}  // namespace hud
