// Keys: what the pruned cosine search needs of a spectrum, a few numbers instead of all bands.
//
// With unit rows y, an orthonormal basis B (C, r), the mean unit reference row m and an origin o,
//
//   z = B'(y - m),   rho = |(I - BB')(y - o)|,   key a = (z, rho).
//
// Then |y_u - y_q|^2 = |z_u - z_q|^2 + |r_u - r_q|^2 with residual vectors of length rho, so that
//
//   |a_u - a_q|^2  <=  |y_u - y_q|^2  <=  |a_u - a_q|^2 + 4 rho_u rho_q,
//
// by Cauchy-Schwarz: equal where the query lies in the span of B (o = 0, rho_q = 0). Coordinates
// are summed in float64 and rounded once.
#pragma once

#include "common/platform.h"
#include "common/vector.h"
#include "cosine/job.h"

HUD_CORE_BEGIN

constexpr int kKeyRows = 4;  // x 2 vectors of basis columns = 8 accumulators

// out (kKeyRows, width) = rows (kKeyRows, count) times basis (count, width); width a multiple of
// kKeyPad.
void project(const double* rows, int64_t count, const double* basis, int64_t width, double* out) {
  for (int64_t first = 0; first < width; first += 2 * kWidth<double>) {
    Vector<double> sum[kKeyRows][2] = {};
    for (int64_t c = 0; c < count; ++c) {
      const Vector<double> b0 = load(basis + c * width + first);
      const Vector<double> b1 = load(basis + c * width + first + kWidth<double>);
      for (int i = 0; i < kKeyRows; ++i) {
        const double value = rows[i * count + c];
        sum[i][0] += value * b0;
        sum[i][1] += value * b1;
      }
    }
    for (int i = 0; i < kKeyRows; ++i) {
      store(out + i * width + first, sum[i][0]);
      store(out + i * width + first + kWidth<double>, sum[i][1]);
    }
  }
}

template <typename T>
void pixel_keys(const KeyJob& job, int64_t begin, int64_t end, double* workspace) {
  const T* rows = static_cast<const T*>(job.rows);
  double* centred = workspace;
  double* z = centred + kKeyRows * job.columns;
  for (int64_t first = begin; first < end; first += kKeyRows) {
    double energy[kKeyRows];
    for (int i = 0; i < kKeyRows; ++i) {
      const int64_t r = first + i < end ? first + i : end - 1;
      // A row that is left out gets a key of zeros: nothing of it may reach a neighbour's sum.
      const bool used = job.inverse[r] > 0;
      const double factor = used ? job.inverse[r] : 0;
      const T* row = rows + r * job.columns;
      double* to = centred + i * job.columns;
      double about_mean = 0, about_zero = 0;
#pragma omp simd reduction(+ : about_mean, about_zero)
      for (int64_t c = 0; c < job.columns; ++c) {
        const double unit = used ? static_cast<double>(row[c]) * factor : job.mean[c];
        const double value = unit - job.mean[c];
        to[c] = value;
        about_mean += value * value;
        about_zero += unit * unit;
      }
      energy[i] = job.about_zero ? about_zero : about_mean;
    }
    project(centred, job.columns, job.basis, job.width, z);
    for (int i = 0; i < kKeyRows && first + i < end; ++i) {
      float* key = job.keys + (first + i) * job.stride;
      const double* from = z + i * job.width;
      double inside = 0;
      for (int64_t k = 0; k < job.dims; ++k) {
        const double value = job.about_zero ? from[k] + job.shift[k] : from[k];
        inside += value * value;
        key[k] = static_cast<float>(from[k]);
      }
      const double rest = energy[i] - inside;
      key[job.dims] = static_cast<float>(rest > 0 ? __builtin_sqrt(rest) : 0.0);
      for (int64_t k = job.dims + 1; k < job.stride; ++k) key[k] = 0;
    }
  }
}

// Keys of mixtures x A straight from the abundances: `basis` is A B (D, r), of which B'm is taken
// off after the norm. `slack` bounds what rounding may have done where the terms cancel.
template <typename T>
void mixture_keys(const KeyJob& job, int64_t begin, int64_t end, double* workspace) {
  const T* rows = static_cast<const T*>(job.rows);
  double* wide = workspace;
  double* p = wide + kKeyRows * job.columns;
  for (int64_t first = begin; first < end; first += kKeyRows) {
    double size[kKeyRows], check[kKeyRows];
    for (int i = 0; i < kKeyRows; ++i) {
      const int64_t r = first + i < end ? first + i : end - 1;
      double largest = 0;
      check[i] = size[i] = 0;
      for (int64_t d = 0; d < job.columns; ++d) {
        const double value = static_cast<double>(rows[r * job.columns + d]);
        check[i] += value * 0.0;
        const double weight = value < 0 ? -value : value;
        largest = weight > largest ? weight : largest;
      }
      const double scale = check[i] == 0 && largest > 1e-300 ? 1 / largest : 0;
      for (int64_t d = 0; d < job.columns; ++d) {
        const double value =
            scale > 0 ? static_cast<double>(rows[r * job.columns + d]) * scale : 0.0;
        wide[i * job.columns + d] = value;
        size[i] += (value < 0 ? -value : value) * job.lengths[d];
      }
    }
    project(wide, job.columns, job.basis, job.width, p);
    for (int i = 0; i < kKeyRows && first + i < end; ++i) {
      const double* from = p + i * job.width;
      float* key = job.keys + (first + i) * job.stride;
      double square = 0;
      for (int64_t k = 0; k < job.dims; ++k) square += from[k] * from[k];
      const bool used = square > 0;
      const double inverse = used ? 1 / __builtin_sqrt(square) : 0;
      for (int64_t k = 0; k < job.dims; ++k)
        key[k] = used ? static_cast<float>(from[k] * inverse - job.shift[k]) : 0.0f;
      for (int64_t k = job.dims; k < job.stride; ++k) key[k] = 0;
      job.slack[first + i] = job.unit_error * size[i] * inverse;
      // Only the sign matters here: what lies below is decided on the mixed spectrum itself.
      job.inverse_out[first + i] = check[i] != 0 ? __builtin_nan("") : inverse;
    }
  }
}

int64_t key_workspace(const KeyJob& job) { return kKeyRows * (job.columns + job.width); }

void keys_range(const KeyJob& job, int64_t begin, int64_t end, double* workspace) {
  if (job.mixtures) {
    if (job.is_float32) {
      mixture_keys<float>(job, begin, end, workspace);
    } else {
      mixture_keys<double>(job, begin, end, workspace);
    }
  } else if (job.is_float32) {
    pixel_keys<float>(job, begin, end, workspace);
  } else {
    pixel_keys<double>(job, begin, end, workspace);
  }
}

HUD_CORE_END
