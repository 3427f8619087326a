// Fully constrained least squares of one pixel, by a monotone active set (Lawson & Hanson 1974, ch.
// 23, with the sum constraint carried exactly): min |z - R x|^2 over x >= 0, sum x = 1 (or x >= 0
// alone).
//
// The endmembers arrive reduced: columns R_j (length `rank`, centred, from a QR of the endmember
// matrix), the pixel as z. The support's columns, each with the row sqrt(tau) of ones appended, are
// kept as an orthonormal basis and a triangle (Gram-Schmidt, twice), not as a Gram matrix:
// near-duplicate endmembers then cost cond, not cond^2. With q the basis' last row, the step on the
// support that keeps the sum is T^-1 (p - q (q.p) / (q.q)), p = Q'(z - R x).
//
// A team works on the pixel: one thread on the CPU (OneThread), the threads of a group on a GPU
// (fcls/device_alone.h). All of a team compute the scalars and take the same turns; what is written
// to memory goes through the team, which waits for everyone before and after.
//
// Every step starts from a feasible x and lowers the residual, so that no support comes back; the
// caller still caps the steps. Cost of a pixel: about k supports of k * rank multiplications, k the
// support's final size.
#pragma once

#include "fcls/verdict.h"

HUD_CORE_BEGIN

enum SolveStatus : int8_t { kOptimal = 0, kStepLimit = 1, kNotFinite = 2 };

// The problem shared by all pixels.
struct ActiveSetProblem {
  const double* columns;  // (D, rank): R_j, one a row
  int64_t endmembers;     // D
  int64_t rank;
  double column_max;  // largest |R_j|
  bool sum_to_one;
};

HUD_HD ActiveSetProblem active_set_problem(const FclsJob& job) {
  return {job.columns, job.endmembers, job.rank, job.column_max, job.sum_to_one};
}

// Scratch of one thread, laid out in a caller's buffer of active_set_workspace() doubles.
struct ActiveSetScratch {
  double* basis;      // (capacity, rank)
  double* last;       // (capacity)
  double* triangle;   // (capacity, capacity): column k at k * capacity
  double* step;       // (D)
  double* projected;  // (capacity)
  double* residual;   // (rank)
  double* descent;    // (D): c_i = R_i . residual
  double* vector;     // (rank)
  int64_t* support;   // (capacity)
  int8_t* state;      // (D): 0 free, 1 in the support, 2 blocked
};

HUD_HD int64_t active_set_capacity(int64_t endmembers, int64_t rank) {
  // rank + 1 columns with the appended row are as many as can be independent.
  return endmembers < rank + 1 ? endmembers : rank + 1;
}

HUD_HD int64_t active_set_workspace(int64_t endmembers, int64_t rank) {
  const int64_t k = active_set_capacity(endmembers, rank);
  return k * rank + k + k * k + endmembers + k + rank + endmembers + rank + k + endmembers / 8 + 1;
}

HUD_HD ActiveSetScratch active_set_scratch(double* buffer, int64_t endmembers, int64_t rank) {
  const int64_t k = active_set_capacity(endmembers, rank);
  ActiveSetScratch s;
  s.basis = buffer;
  s.last = s.basis + k * rank;
  s.triangle = s.last + k;
  s.step = s.triangle + k * k;
  s.projected = s.step + endmembers;
  s.residual = s.projected + k;
  s.descent = s.residual + rank;
  s.vector = s.descent + endmembers;
  s.support = reinterpret_cast<int64_t*>(s.vector + rank);
  s.state = reinterpret_cast<int8_t*>(s.support + k);
  return s;
}

HUD_HD double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

HUD_HD void add_scaled(double* a, double factor, const double* b, int64_t n) {
  HUD_SIMD
  for (int64_t i = 0; i < n; ++i) a[i] += factor * b[i];
}

// A team of one.
struct OneThread {
  // f(i) for i < n, independent of each other: short ones, and long ones.
  template <typename F>
  HUD_HD void spread(int64_t n, const F& f) const {
    HUD_SIMD
    for (int64_t i = 0; i < n; ++i) f(i);
  }
  template <typename F>
  HUD_HD void share(int64_t n, const F& f) const {
    for (int64_t i = 0; i < n; ++i) f(i);
  }
  // f() by one thread.
  template <typename F>
  HUD_HD void once(const F& f) const {
    f();
  }
  HUD_HD double dot_of(const double* a, const double* b, int64_t n) const { return dot(a, b, n); }
};

// Appends column j as support member k. False (nothing changed) where it depends on the members to
// rounding.
template <typename Team>
HUD_SHARED bool append_column(const Team& team, const ActiveSetProblem& p,
                              const ActiveSetScratch& s, int64_t k, int64_t j, bool force) {
  const int64_t capacity = active_set_capacity(p.endmembers, p.rank);
  if (k >= capacity) return false;
  const double* column = p.columns + j * p.rank;
  const double weight = p.sum_to_one ? (p.column_max > 0 ? p.column_max : 1.0) : 0.0;
  double* v = s.vector;
  double* t = s.triangle + k * capacity;
  team.spread(p.rank, [&](int64_t i) { v[i] = column[i]; });
  double last = weight;
  const double before = __builtin_sqrt(team.dot_of(v, v, p.rank) + last * last);
  team.spread(k, [&](int64_t i) { t[i] = 0; });
  for (int pass = 0; pass < 2; ++pass) {  // twice is enough (Giraud et al. 2005)
    for (int64_t i = 0; i < k; ++i) {
      const double* q = s.basis + i * p.rank;
      const double along = team.dot_of(q, v, p.rank) + s.last[i] * last;
      team.spread(p.rank, [&](int64_t n) { v[n] += -along * q[n]; });
      last -= along * s.last[i];
      team.once([&] { t[i] += along; });
    }
  }
  const double after = __builtin_sqrt(team.dot_of(v, v, p.rank) + last * last);
  const double smallest = kIndependent * before;
  if (!(after > smallest) && !force) return false;
  const double length = after > smallest ? after : (smallest > 0 ? smallest : 1.0);
  double* q = s.basis + k * p.rank;
  team.spread(p.rank, [&](int64_t i) { q[i] = v[i] / length; });
  team.once([&] {
    t[k] = length;
    s.last[k] = last / length;
    s.support[k] = j;
  });
  return true;
}

// Drops support member `at`; the members after it are orthogonalised again.
template <typename Team>
HUD_HD void remove_member(const Team& team, const ActiveSetProblem& p, const ActiveSetScratch& s,
                          int64_t at, int64_t size) {
  for (int64_t i = at; i + 1 < size; ++i) append_column(team, p, s, i, s.support[i + 1], true);
}

// residual = z - R x, descent_i = R_i . residual; returns sum_i x_i descent_i.
template <typename Team>
HUD_SHARED double update_residual(const Team& team, const ActiveSetProblem& p,
                                  const ActiveSetScratch& s, const double* z, const double* x,
                                  int64_t size) {
  team.spread(p.rank, [&](int64_t i) { s.residual[i] = z[i]; });
  for (int64_t k = 0; k < size; ++k) {
    const double factor = -x[s.support[k]];
    const double* column = p.columns + s.support[k] * p.rank;
    team.spread(p.rank, [&](int64_t i) { s.residual[i] += factor * column[i]; });
  }
  team.share(p.endmembers,
             [&](int64_t j) { s.descent[j] = dot(p.columns + j * p.rank, s.residual, p.rank); });
  double mean = 0;
  for (int64_t k = 0; k < size; ++k) mean += x[s.support[k]] * s.descent[s.support[k]];
  return mean;
}

// The step from x to the minimum on the support, into s.step (by support position).
template <typename Team>
HUD_HD void support_step(const Team& team, const ActiveSetProblem& p, const ActiveSetScratch& s,
                         int64_t size) {
  const int64_t capacity = active_set_capacity(p.endmembers, p.rank);
  double along = 0, norm = 0;
  for (int64_t k = 0; k < size; ++k) {
    const double projected = team.dot_of(s.basis + k * p.rank, s.residual, p.rank);
    team.once([&] { s.projected[k] = projected; });
    along += s.last[k] * projected;
    norm += s.last[k] * s.last[k];
  }
  const double multiplier = p.sum_to_one && norm > 0 ? along / norm : 0.0;
  team.once([&] {
    for (int64_t k = size - 1; k >= 0; --k) {
      double value = s.projected[k] - multiplier * s.last[k];
      for (int64_t i = k + 1; i < size; ++i) value -= s.triangle[i * capacity + k] * s.step[i];
      s.step[k] = value / s.triangle[k * capacity + k];
    }
  });
}

// Keeps the sum at one against the drift of rounding.
template <typename Team>
HUD_HD void renormalise(const Team& team, const ActiveSetProblem& p, const ActiveSetScratch& s,
                        double* x, int64_t size) {
  if (!p.sum_to_one) return;
  double sum = 0;
  for (int64_t k = 0; k < size; ++k) sum += x[s.support[k]];
  if (!(sum > 0)) return;
  team.spread(size, [&](int64_t k) { x[s.support[k]] /= sum; });
}

// Largest |c_i - mean| on the support: 0 in exact arithmetic once its step was taken whole.
HUD_HD double stationarity(const ActiveSetScratch& s, double mean, int64_t size) {
  double worst = 0;
  for (int64_t k = 0; k < size; ++k) {
    const double off = s.descent[s.support[k]] - mean;
    const double size_of = off < 0 ? -off : off;
    worst = size_of > worst ? size_of : worst;
  }
  return worst;
}

// The certificate of fcls/verdict.h, relative.
HUD_HD double certificate(const ActiveSetProblem& p, const ActiveSetScratch& s, const double* x,
                          double mean, int64_t size, double reach) {
  double largest = s.descent[0];
  for (int64_t j = 1; j < p.endmembers; ++j)
    largest = s.descent[j] > largest ? s.descent[j] : largest;
  double weight = 0;
  for (int64_t k = 0; k < size && !p.sum_to_one; ++k) {
    const double* column = p.columns + s.support[k] * p.rank;
    weight += x[s.support[k]] * __builtin_sqrt(dot(column, column, p.rank));
  }
  return gap_of(excess_of(p.sum_to_one, largest, mean, weight, reach), reach);
}

// Solves one pixel. x (D) is written whole; `gap` relative to (|z|_total + column_max)^2, where the
// caller gives |z|_total = |y - centre|. Finite z only.
template <typename Team>
HUD_HD int8_t solve_active_set(const Team& team, const ActiveSetProblem& p,
                               const ActiveSetScratch& s, const double* z, double pixel_norm,
                               double* x, double* gap) {
  const int64_t count = p.endmembers;
  const double reach = pixel_norm + p.column_max;
  const double tolerance = wide_tolerance(p.column_max, reach);
  int64_t size = 0;
  team.share(count, [&](int64_t j) { x[j] = 0, s.state[j] = 0; });
  if (p.sum_to_one) {  // start at the nearest endmember
    int64_t nearest = 0;
    double best = 0;
    for (int64_t j = 0; j < count; ++j) {
      const double* column = p.columns + j * p.rank;
      const double distance =
          team.dot_of(column, column, p.rank) - 2 * team.dot_of(column, z, p.rank);
      if (j == 0 || distance < best) best = distance, nearest = j;
    }
    append_column(team, p, s, 0, nearest, true);
    team.once([&] {
      s.state[nearest] = 1;
      x[nearest] = 1;
    });
    size = 1;
  }
  double mean = update_residual(team, p, s, z, x, size);
  double objective = team.dot_of(s.residual, s.residual, p.rank);
  bool refined = false;
  int8_t status = kStepLimit;
  for (int64_t round = 0; round < kStepsEach * count + kStepsMore; ++round) {
    int64_t entering = -1;
    double violation = tolerance;
    for (int64_t j = 0; j < count; ++j) {
      if (s.state[j] == 0 && s.descent[j] - mean > violation)
        violation = s.descent[j] - mean, entering = j;
    }
    if (entering < 0 && (refined || stationarity(s, mean, size) <= tolerance)) {
      status = kOptimal;
      break;
    }
    if (entering >= 0) {
      const bool joins = append_column(team, p, s, size, entering, false);
      // Blocked where it depends on the support: no gain along it.
      team.once([&] { s.state[entering] = joins ? 1 : 2; });
      if (!joins) continue;
      ++size;
    }
    refined = entering < 0;  // one more step on a finished support is the refinement
    for (int64_t inner = 0; inner <= count; ++inner) {
      support_step(team, p, s, size);
      if (inner == 0 && entering >= 0 && !(s.step[size - 1] > 0)) {
        --size;  // rounding decided: the column would leave at once
        team.once([&] { s.state[entering] = 2; });
        break;
      }
      double length = 1;
      int64_t limit = -1;
      for (int64_t k = 0; k < size; ++k) {
        if (s.step[k] < 0) {
          const double room = -x[s.support[k]] / s.step[k];
          if (room < length) length = room, limit = k;
        }
      }
      team.share(size, [&](int64_t k) {
        double& value = x[s.support[k]];
        value += length * s.step[k];
        if (k == limit || value < 0) value = 0;
      });
      if (limit < 0) break;
      for (int64_t k = size - 1; k >= 0; --k) {
        if (x[s.support[k]] > 0) continue;
        team.once([&] { s.state[s.support[k]] = s.support[k] == entering ? 2 : 0; });
        remove_member(team, p, s, k, size);
        --size;
      }
      renormalise(team, p, s, x, size);
      mean = update_residual(team, p, s, z, x, size);
    }
    renormalise(team, p, s, x, size);
    mean = update_residual(team, p, s, z, x, size);
    const double now = team.dot_of(s.residual, s.residual, p.rank);
    if (now < objective * (1 - kProgress)) {  // what was blocked may enter again
      objective = now;
      team.share(count, [&](int64_t j) { s.state[j] = s.state[j] == 2 ? int8_t(0) : s.state[j]; });
    }
  }
  *gap = certificate(p, s, x, mean, size, reach);
  // The certificate, not the way here, decides.
  if (*gap <= kCertified) return kOptimal;
  return status == kOptimal ? int8_t(kStepLimit) : status;
}

HUD_CORE_END
