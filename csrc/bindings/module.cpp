// hud_fast._C: the CPU operations on borrowed tensors. Private: hud_fast/kernels checks what a user
// can get wrong and words the errors; the checks here only keep a mistake of ours from reading
// outside a tensor.
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "bindings/tensor.h"
#include "cpu/dispatch.h"
#include "cpu/run.h"
#ifdef HUD_HAS_CUDA
#include "bindings/cuda.h"
#endif

namespace py = pybind11;

namespace hud {
namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

bool float32_of(const Tensor& t) {
  require(t.is_float32() || t.is_float64(), "expected a float32 or float64 tensor");
  require(t.contiguous(), "expected a contiguous tensor");
  return t.is_float32();
}

const double* doubles(const Tensor& t, int64_t count) {
  require(t.is_float64() && t.contiguous() && t.numel() == count,
          "expected a contiguous float64 tensor of the right size");
  return static_cast<const double*>(t.data);
}

double* mutable_doubles(const Tensor& t, int64_t count) {
  return const_cast<double*>(doubles(t, count));
}

int64_t* int64s(const Tensor& t, int64_t count) {
  require(t.is(dlpack::kInt, 64) && t.contiguous() && t.numel() == count,
          "expected a contiguous int64 tensor");
  return static_cast<int64_t*>(t.data);
}

void same_kind(const Tensor& a, const Tensor& b) {
  require(float32_of(a) == float32_of(b) && a.numel() == b.numel(),
          "expected two tensors of one dtype and size");
}

void log_project(const Tensor& x, const Tensor& z, double delta, int threads) {
  same_kind(x, z);
  py::gil_scoped_release free;
  run_log_project(x.data, z.data, x.is_float32(), x.numel(), delta, threads);
}

void log_project_backward(const Tensor& g, const Tensor& x, const Tensor& gx, double delta,
                          int threads) {
  same_kind(g, x);
  same_kind(x, gx);
  py::gil_scoped_release free;
  run_log_project_backward(g.data, x.data, gx.data, x.is_float32(), x.numel(), delta, threads);
}

void simplex_softmax(const Tensor& z, const Tensor& x, int64_t outer, int64_t count, int64_t inner,
                     int threads) {
  same_kind(z, x);
  require(outer * count * inner == z.numel(), "sizes do not multiply to the tensor's");
  py::gil_scoped_release free;
  run_softmax(z.data, nullptr, x.data, z.is_float32(), outer, count, inner, threads);
}

void simplex_softmax_backward(const Tensor& g, const Tensor& x, const Tensor& gz, int64_t outer,
                              int64_t count, int64_t inner, int threads) {
  same_kind(g, x);
  same_kind(x, gz);
  require(outer * count * inner == x.numel(), "sizes do not multiply to the tensor's");
  if (x.numel() == 0) return;
  py::gil_scoped_release free;
  run_softmax(g.data, x.data, gz.data, x.is_float32(), outer, count, inner, threads);
}

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

py::list isa_levels() {
  py::list names;
  for (int level = 0; level < level_count(); ++level)
    if (level_available(level)) names.append(level_name(level));
  return names;
}

void set_isa(const std::string& name) {
  if (!set_level(name.c_str()))
    throw py::value_error("this build and processor have no level '" + name + "'");
}

}  // namespace
}  // namespace hud

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  m.doc() = "CPU kernels of hud_fast on borrowed tensors; private, call hud_fast.kernels instead.";
  m.def("log_project", &hud::log_project);
  m.def("log_project_backward", &hud::log_project_backward);
  m.def("simplex_softmax", &hud::simplex_softmax);
  m.def("simplex_softmax_backward", &hud::simplex_softmax_backward);
  m.def("fcls", &hud::fcls);
  m.def("row_inverse", &hud::row_inverse);
  m.def("cosine_max", &hud::cosine_max);
  m.def("window_search", &hud::window_search);
  m.def("isa_levels", &hud::isa_levels,
        "Instruction-set levels this build and processor have, rising.");
  m.def("isa", [] { return std::string(hud::active_kernels().name); });
  m.def("set_isa", &hud::set_isa);
#ifdef HUD_HAS_CUDA
  hud::cuda_bindings::register_all(m);
#else
  m.def("cuda_device_count", [] { return 0; });
#endif
  m.attr("compiler") = HUD_COMPILER;
  m.attr("cuda_version") = HUD_CUDA_VERSION;
  m.attr("cuda_architectures") = HUD_CUDA_ARCHITECTURES_BUILT;
}
