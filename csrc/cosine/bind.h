// The cosine search on the CPU, brute and pruned, and the row norms they share. The tree's tensors
// are those of hud_fast/kernels/cosine/tree.py.
#pragma once

#include <vector>

#include "common/checks.h"
#include "cosine/run.h"

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

// A column of the basis for every number of the key but the last, padded.
void fill_basis(KeyJob& job, const Tensor& basis, const Tensor& shift, const Tensor& keys,
                int64_t rows) {
  require(keys.ndim == 2 && basis.ndim == 2 && basis.shape[0] == job.columns &&
              basis.shape[1] % kKeyPad == 0,
          "expected keys (n, stride) and a basis (columns, width)");
  job.width = basis.shape[1];
  job.basis = doubles(basis, job.columns * job.width);
  job.dims = shift.numel();
  require(job.dims <= job.width && job.dims < keys.shape[1], "expected a shorter `shift`");
  job.shift = doubles(shift, job.dims);
  job.stride = keys.shape[1];
  job.keys = floats(keys, rows * job.stride);
}

void cosine_mean(const Tensor& rows, const Tensor& inverse, const Tensor& mean, int threads) {
  const bool is_float32 = float32_of(rows);
  require(rows.ndim == 2, "expected a matrix");
  const double* factor = doubles(inverse, rows.shape[0]);
  double* out = mutable_doubles(mean, rows.shape[1]);
  py::gil_scoped_release free;
  run_mean(rows.data, is_float32, rows.shape[0], rows.shape[1], factor, out, threads);
}

void cosine_keys(const Tensor& rows, const Tensor& inverse, const Tensor& mean, const Tensor& basis,
                 const Tensor& shift, bool about_zero, const Tensor& keys, int threads) {
  KeyJob job = {};
  job.is_float32 = float32_of(rows);
  require(rows.ndim == 2, "expected a matrix");
  job.rows = rows.data;
  job.columns = rows.shape[1];
  job.about_zero = about_zero;
  job.inverse = doubles(inverse, rows.shape[0]);
  job.mean = doubles(mean, job.columns);
  fill_basis(job, basis, shift, keys, rows.shape[0]);
  py::gil_scoped_release free;
  run_keys(job, rows.shape[0], threads);
}

void cosine_mixture_keys(const Tensor& abundances, const Tensor& basis, const Tensor& shift,
                         const Tensor& lengths, double unit_error, const Tensor& keys,
                         const Tensor& slack, const Tensor& inverse, int threads) {
  KeyJob job = {};
  job.is_float32 = float32_of(abundances);
  require(abundances.ndim == 2, "expected a matrix");
  job.mixtures = true;
  job.rows = abundances.data;
  job.columns = abundances.shape[1];
  job.lengths = doubles(lengths, job.columns);
  job.unit_error = unit_error;
  job.slack = mutable_doubles(slack, abundances.shape[0]);
  job.inverse_out = mutable_doubles(inverse, abundances.shape[0]);
  fill_basis(job, basis, shift, keys, abundances.shape[0]);
  py::gil_scoped_release free;
  run_keys(job, abundances.shape[0], threads);
}

py::tuple cosine_tree_shape(int64_t rows) {
  const TreeShape shape = tree_shape(rows);
  return py::make_tuple(shape.leaves, shape.nodes);
}

void cosine_tree_children(int64_t rows, const Tensor& children) {
  const TreeShape shape = tree_shape(rows);
  tree_children(shape, int32s(children, shape.nodes * kFan));
}

py::tuple cosine_tree_build(const Tensor& keys, int64_t key_dims, const Tensor& inverse,
                            const Tensor& boxes, const Tensor& children, const Tensor& row,
                            const Tensor& panels, const Tensor& bias, int threads) {
  require(keys.ndim == 2 && key_dims >= 1 && key_dims <= keys.shape[1] && children.ndim == 2 &&
              row.ndim == 2 && keys.shape[0] < INT32_MAX,
          "expected keys (P, stride), children (nodes, 16), row (leaves, 32)");
  TreeBuild build = {};
  build.rows = keys.shape[0];
  build.stride = keys.shape[1];
  build.key_dims = key_dims;
  build.keys = floats(keys, build.rows * build.stride);
  build.inverse = doubles(inverse, build.rows);
  const TreeShape shape = {row.shape[0], children.shape[0]};
  build.boxes = floats(boxes, shape.nodes * key_dims * 2 * kFan);
  build.children = int32s(children, shape.nodes * kFan);
  build.row = int32s(row, shape.leaves * kPanel);
  build.panels = floats(panels, shape.leaves * key_dims * kPanel);
  build.bias = floats(bias, shape.leaves * kPanel);
  bool fits = false;
  {
    py::gil_scoped_release free;
    fits = build_tree(build, shape, threads);
  }
  require(fits, "expected the shape of tree_shape for the rows that take part");
  return py::make_tuple(build.key_norm, build.rest_max);
}

double cosine_pack_leaves(const Tensor& reference, const Tensor& inverse, const Tensor& mean,
                          const Tensor& row, const Tensor& panels, const Tensor& bias,
                          int threads) {
  const bool is_float32 = float32_of(reference);
  require(reference.ndim == 2 && row.ndim == 2, "expected matrices");
  const int64_t bands = reference.shape[1], leaves = row.shape[0];
  const double* factor = doubles(inverse, reference.shape[0]);
  const double* centre = doubles(mean, bands);
  const int32_t* place = int32s(row, leaves * kPanel);
  float* to = floats(panels, leaves * bands * kPanel);
  float* offset = floats(bias, leaves * kPanel);
  py::gil_scoped_release free;
  return pack_leaves(reference.data, is_float32, bands, factor, centre, place, leaves, to, offset,
                     threads);
}

constexpr int kProbeFirst = 1, kProbeOnly = 2;

// What a search reads of an index; endmembers and slack are empty for pixels, known where nothing
// is.
py::tuple cosine_tree_search(const py::dict& index, const Tensor& query, const Tensor& keys,
                             const Tensor& inverse, const Tensor& slack, const Tensor& known,
                             const Tensor& value, const Tensor& found, int probe, int threads) {
  const auto tensor = [&](const char* name) { return index[name].cast<Tensor>(); };
  const Tensor reference = tensor("reference"), boxes = tensor("boxes"),
               children = tensor("children"), row = tensor("row"), panels = tensor("panels"),
               bias = tensor("bias"), mean = tensor("mean"), endmembers = tensor("endmembers"),
               rows_inverse = tensor("inverse");
  TreeJob job = {};
  job.reference_float32 = float32_of(reference);
  job.query_float32 = float32_of(query);
  require(reference.ndim == 2 && query.ndim == 2 && boxes.ndim == 4 && row.ndim == 2 &&
              panels.ndim == 3 && keys.ndim == 2,
          "expected an index as _cosine_tree.py builds it");
  job.mixtures = slack.numel() > 0;
  job.bands = reference.shape[1];
  job.reference = reference.data;
  job.reference_inverse = doubles(rows_inverse, reference.shape[0]);
  job.mean = doubles(mean, job.bands);
  job.leaves = row.shape[0];
  job.key_dims = boxes.shape[1];
  // Beyond 16 coordinates, widest first, boxes part no more pairs.
  job.test_dims = job.key_dims > 20 ? 16 : job.key_dims;
  job.leaf_dims = panels.shape[1];
  job.all_bands = index["all_bands"].cast<bool>();
  require(job.leaf_dims == (job.all_bands ? job.bands : job.key_dims),
          "expected panels of keys or of all bands");
  const int64_t nodes = boxes.shape[0];
  job.boxes = floats(boxes, nodes * job.key_dims * 2 * kFan);
  job.children = int32s(children, nodes * kFan);
  job.row = int32s(row, job.leaves * kPanel);
  job.panels = floats(panels, job.leaves * job.leaf_dims * kPanel);
  job.bias = floats(bias, job.leaves * kPanel);
  job.key_norm = index["key_norm"].cast<double>();
  job.leaf_norm = index["leaf_norm"].cast<double>();
  job.rest_max = index["rest_max"].cast<double>();
  job.first_row = index["first_row"].cast<int64_t>();
  const int64_t count = query.shape[0];
  job.query = query.data;
  job.query_columns = query.shape[1];
  if (job.mixtures) {
    job.endmembers = doubles(endmembers, job.query_columns * job.bands);
    job.query_slack = doubles(slack, count);
  } else {
    require(job.query_columns == job.bands, "expected queries of C bands");
  }
  if (known.numel() > 0) job.query_known = doubles(known, count);
  job.query_inverse = doubles(inverse, count);
  job.key_stride = keys.shape[1];
  require(job.key_dims <= job.key_stride && count < INT32_MAX, "expected keys of key_dims numbers");
  job.query_keys = floats(keys, count * job.key_stride);
  job.value = mutable_doubles(value, count);
  job.index = int64s(found, count);
  TreeWork work = {};
  bool pays = false;
  int64_t tiles = 0;
  {
    py::gil_scoped_release free;
    std::vector<int32_t> order(static_cast<size_t>(count));
    job.count = tree_order(job.query_keys, count, job.key_stride, job.key_dims - 1,
                           job.query_inverse, order.data(), threads);
    job.order = order.data();
    if (probe == kProbeOnly) {
      tiles = probe_tree(job, &work);
    } else {
      tiles = (job.count + kTreeQueries - 1) / kTreeQueries;
      pays = run_tree(job, probe == kProbeFirst, threads, &work);
    }
  }
  return py::make_tuple(pays, tiles, work.nodes, work.leaves, work.panels, work.single, work.exact);
}

void register_cosine(py::module_& m) {
  m.def("row_inverse", &row_inverse);
  m.def("cosine_max", &cosine_max);
  m.attr("cosine_leaf") = kPanel;
  m.attr("cosine_fan") = kFan;
  m.attr("cosine_probe_only") = kProbeOnly;
  m.attr("key_pad") = kKeyPad;
  m.def("cosine_mean", &cosine_mean);
  m.def("cosine_keys", &cosine_keys);
  m.def("cosine_mixture_keys", &cosine_mixture_keys);
  m.def("cosine_tree_shape", &cosine_tree_shape);
  m.def("cosine_tree_children", &cosine_tree_children);
  m.def("cosine_tree_build", &cosine_tree_build);
  m.def("cosine_pack_leaves", &cosine_pack_leaves);
  m.def("cosine_tree_search", &cosine_tree_search);
}

}  // namespace
}  // namespace hud
