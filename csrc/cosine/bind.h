// The cosine search and the row norms it shares.
#pragma once

#include "common/checks.h"
#include "common/run.h"

namespace hud {
namespace {

void row_inverse(const Tensor& rows, const Tensor& inverse, int threads) {
  const bool is_float32 = float32_of(rows);
  require(rows.ndim == 2, "expected a matrix");
  double* out = mutable_doubles(inverse, rows.shape[0]);
  py::gil_scoped_release free;
  run_row_inverse(rows.data, is_float32, rows.shape[0], rows.shape[1], out, threads);
}

void cosine_max(const Tensor& query, const Tensor& reference, const Tensor& value,
                const Tensor& index, int threads) {
  require(query.ndim == 2 && reference.ndim == 2 && query.shape[1] == reference.shape[1],
          "expected (Q, C) and (P, C)");
  CosineJob job = {};
  job.is_float32 = float32_of(query);
  require(float32_of(reference) == job.is_float32, "expected one dtype");
  job.query = query.data;
  job.reference = reference.data;
  job.queries = query.shape[0];
  job.rows = reference.shape[0];
  job.bands = query.shape[1];
  job.value = mutable_doubles(value, job.queries);
  job.index = int64s(index, job.queries);
  py::gil_scoped_release free;
  run_cosine_max(job, threads);
}

void register_cosine_max(py::module_& m) {
  m.def("row_inverse", &row_inverse);
  m.def("cosine_max", &cosine_max);
}

}  // namespace
}  // namespace hud
