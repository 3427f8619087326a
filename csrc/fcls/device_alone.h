// FCLS of one pixel by the monotone active set of fcls/active_set.h, a group of threads its team:
// the way that always ends. Projects for itself, so that a pixel can come here from any place.
#pragma once

#include "fcls/active_set.h"
#include "fcls/device_pixel.h"

HUD_CORE_BEGIN

template <typename Group>
struct GroupTeam {
  Group group;

  template <typename F>
  HUD_HD void spread(int64_t n, const F& f) const {
    meet();  // nobody still reads what f writes
    group.each([&](int lane) {
      for (int64_t i = lane; i < n; i += Group::kLanes) f(i);
    });
  }
  template <typename F>
  HUD_HD void share(int64_t n, const F& f) const {
    spread(n, f);
  }
  template <typename F>
  HUD_HD void once(const F& f) const {
    meet();
    group.each([&](int lane) {
      if (lane == 0) f();
    });
  }
  HUD_HD double dot_of(const double* a, const double* b, int64_t n) const {
    typename Group::template PerLane<double> part;
    group.each([&](int lane) {
      part[lane] = 0;
      for (int64_t i = lane; i < n; i += Group::kLanes) part[lane] += a[i] * b[i];
    });
    return group.reduce(part, Add{});
  }
  HUD_HD void meet() const {
    group.each([](int) {});
  }
};

// Doubles of scratch that one group needs.
HUD_HD int64_t alone_scratch(int64_t endmembers, int64_t rank) {
  return rank + endmembers + active_set_workspace(endmembers, rank);
}

template <typename Group>
HUD_HD void solve_pixel_alone(const Group& group, const FclsJob& job, int64_t pixel,
                              double* scratch) {
  const GroupTeam<Group> team = {group};
  double *z = scratch, *x = z + job.rank;
  const int64_t from = pixel * job.pixel_stride;
  const auto centred = [&](int64_t c) { return centred_value(job, from, c); };
  typename Group::template PerLane<double> part;
  group.each([&](int lane) {
    part[lane] = 0;
    for (int64_t c = lane; c < job.bands; c += Group::kLanes) part[lane] += centred(c) * centred(c);
  });
  const double norm = __builtin_sqrt(group.reduce(part, Add{}));
  double gap = __builtin_nan("");
  int8_t status = kNotFinite;
  if (norm <= kLargestDouble) {
    team.spread(job.rank, [&](int64_t t) {
      double sum = 0;
      for (int64_t c = 0; c < job.bands; ++c) sum += centred(c) * job.basis[c * job.rank + t];
      z[t] = sum;
    });
    status = solve_active_set(team, active_set_problem(job),
                              active_set_scratch(x + job.endmembers, job.endmembers, job.rank), z,
                              norm, x, &gap);
  } else {
    team.spread(job.endmembers, [&](int64_t j) { x[j] = __builtin_nan(""); });
  }
  write_result(group, job, pixel, x, gap, status);
  team.meet();  // the next pixel writes where this one was read
}

HUD_CORE_END
