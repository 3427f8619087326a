// FCLS of one pixel by a group of threads, an endmember (or two) a lane: the rounds of
// fcls/solve.h, in float32, then in float64, which certifies. Up to 64 endmembers, supports of up
// to a group's lanes; what does not end here is left to fcls/device_alone.h.
#pragma once

#include "fcls/active_set.h"
#include "fcls/device_support.h"

HUD_CORE_BEGIN

// Memory of one group.
template <int Lanes, int N>
struct PixelMemory {
  double z[Lanes * N];  // rank <= endmembers
  double residual[Lanes * N];
  union {
    SupportMemory<float, Lanes, N> narrow;
    SupportMemory<double, Lanes, N> wide;
  };
};

// What projecting has left of a pixel.
struct ProjectedPixel {
  const double* z;  // (rank)
  double norm;      // |y - centre|
  double noise;     // what an abundance, in its standard deviations at unit noise, must exceed
};

template <typename Group, typename T, int N>
using LaneValues = typename Group::template PerLane<Row<T, N>>;

// Endmembers whose value exceeds `bound`, and the largest value. Beyond D they are -infinity.
template <typename Group, typename T, int N>
HUD_HD uint64_t members_above(const Group& group, const LaneValues<Group, T, N>& values, T bound) {
  uint64_t bits = 0;
  HUD_UNROLL
  for (int n = 0; n < N; ++n) {
    typename Group::template PerLane<bool> above;
    group.each([&](int lane) { above[lane] = values[lane].v[n] > bound; });
    bits |= static_cast<uint64_t>(group.ballot(above)) << (n * Group::kLanes);
  }
  return bits;
}

template <typename Group, typename T, int N>
HUD_HD T largest_value(const Group& group, const LaneValues<Group, T, N>& values) {
  typename Group::template PerLane<T> top;
  group.each([&](int lane) {
    top[lane] = values[lane].v[0];
    HUD_UNROLL
    for (int n = 1; n < N; ++n)
      top[lane] = values[lane].v[n] > top[lane] ? values[lane].v[n] : top[lane];
  });
  return group.reduce(top, Larger{});
}

// What enters: values above `level` by more than the tolerance and than `share` of the largest
// excess; only the largest where more would not fit a group's lanes.
template <typename Group, typename T, int N>
HUD_HD uint64_t entering_members(const Group& group, const LaneValues<Group, T, N>& values, T level,
                                 T tolerance, T share, uint64_t stay) {
  const T top = largest_value<Group, T, N>(group, values);
  T bound = entering_bound(top, level, tolerance, share);
  const uint64_t bits = members_above<Group, T, N>(group, values, bound) & ~stay;
  if (count_bits(stay | bits) <= Group::kLanes) return bits;
  bound = entering_bound(top, level, tolerance, T(kOnlyLargest));
  return members_above<Group, T, N>(group, values, bound) & ~stay;
}

// Solves on the support, and once more without what came out negative. Returns what stays.
template <typename Group, typename T, int N>
HUD_HD uint64_t solve_and_drop(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                               const T* gram, int64_t stride, uint64_t support, bool sum_to_one,
                               SupportSolution<Group, T>& s, bool* negative) {
  uint64_t stay = support;
  HUD_ROLLED
  for (int pass = 0; pass < 2; ++pass) {
    solve_on_support(group, memory, gram, stride, stay, sum_to_one, s);
    stay = positive_members(group, memory, s, negative);
    if (!*negative || stay == 0) break;
  }
  return stay;
}

// The first guess: endmembers whose abundance in the solution without x >= 0 exceeds its noise.
template <typename Group, int N>
HUD_HD uint64_t guess_support(const Group& group, const FclsJob& job,
                              const PixelMemory<Group::kLanes, N>& memory, double noise) {
  constexpr int K = Group::kLanes;
  LaneValues<Group, double, N> ratio;
  group.each([&](int lane) {
    HUD_UNROLL
    for (int n = 0; n < N; ++n) {
      const int64_t j = lane + n * K;
      double sum = -__builtin_inf();
      if (j < job.endmembers) {
        sum = 0;
        for (int64_t t = 0; t < job.rank; ++t) sum += memory.z[t] * job.start[t * job.padded + j];
        sum += job.start_offset[j];
      }
      ratio[lane].v[n] = sum;
    }
  });
  uint64_t bits = members_above<Group, double, N>(group, ratio, noise);
  if (count_bits(bits) > K) {  // the most certain half of the lanes, about
    double low = noise, high = largest_value<Group, double, N>(group, ratio);
    HUD_ROLLED
    for (int halving = 0; halving < 60 && count_bits(bits) > K; ++halving) {
      low += (high - low) / 4;
      bits = members_above<Group, double, N>(group, ratio, low);
    }
    if (count_bits(bits) > K) bits = 0;
  }
  return first_support(job, bits);
}

// Rounds of float32: a better guess.
template <typename Group, int N>
HUD_HD uint64_t narrow_rounds(const Group& group, const FclsJob& job,
                              SupportMemory<float, Group::kLanes, N>& memory, double norm,
                              uint64_t support) {
  constexpr int K = Group::kLanes;
  const float tolerance = narrow_tolerance(job.column_max, norm + job.column_max);
  SupportSolution<Group, float> s;
  HUD_ROLLED
  for (int round = 0; round < kNarrowRounds; ++round) {
    bool negative = false;
    const uint64_t stay = solve_and_drop(group, memory, job.gram32, job.padded, support,
                                         job.sum_to_one, s, &negative);
    if (stay == 0) return support;  // broken down, or empty: the float64 rounds see to it
    LaneValues<Group, float, N> gradient;
    group.each([&](int lane) {
      HUD_UNROLL
      for (int n = 0; n < N; ++n) {
        const int j = lane + n * K;
        float sum = -__builtin_inff();
        if (j < job.endmembers) {
          sum = memory.h[j];
          HUD_ROLLED
          for (int a = 0; a < s.size; ++a)
            sum -= job.gram32[memory.members[a] * job.padded + j] * memory.packed[a];
        }
        gradient[lane].v[n] = sum;
      }
    });
    const uint64_t entering = entering_members<Group, float, N>(group, gradient, -s.mu, tolerance,
                                                                entering_share(round), stay);
    const uint64_t next = stay | entering;
    if (count_bits(next) > K) return support;
    const bool done = next == support || (entering == 0 && !negative);
    support = next;
    if (done) break;
  }
  return support;
}

// The negative gradient of all endmembers from the residual, x brought to sum one before.
template <typename Group, int N>
HUD_HD LaneValues<Group, double, N> descent_of(const Group& group, const FclsJob& job,
                                               PixelMemory<Group::kLanes, N>& memory,
                                               SupportSolution<Group, double>& s) {
  constexpr int K = Group::kLanes;
  SupportMemory<double, K, N>& wide = memory.wide;
  if (job.sum_to_one) {
    const double factor = 1 / group.reduce(s.x, Add{});
    group.each([&](int lane) { s.x[lane] *= factor; });
    tell_x(group, wide, s);
  }
  group.each([&](int lane) {
    HUD_UNROLL
    for (int n = 0; n < N; ++n) {
      const int64_t t = lane + n * K;
      if (t < job.rank) {
        double sum = memory.z[t];
        HUD_ROLLED
        for (int a = 0; a < s.size; ++a)
          sum -= job.columns[wide.members[a] * job.rank + t] * wide.packed[a];
        memory.residual[t] = sum;
      }
    }
  });
  LaneValues<Group, double, N> descent;
  group.each([&](int lane) {
    HUD_UNROLL
    for (int n = 0; n < N; ++n) {
      const int64_t j = lane + n * K;
      double sum = -__builtin_inf();
      if (j < job.endmembers) {
        sum = 0;
        for (int64_t t = 0; t < job.rank; ++t)
          sum += job.columns_t[t * job.padded + j] * memory.residual[t];
      }
      descent[lane].v[n] = sum;
    }
  });
  return descent;
}

template <typename Group, int N>
HUD_HD Verdict judge(const Group& group, const FclsJob& job,
                     SupportMemory<double, Group::kLanes, N>& wide,
                     const SupportSolution<Group, double>& s,
                     const LaneValues<Group, double, N>& descent, double norm, double share) {
  constexpr int K = Group::kLanes;
  const double reach = norm + job.column_max;
  const double tolerance = wide_tolerance(job.column_max, reach);
  typename Group::template PerLane<double> part, weight;
  group.each([&](int lane) {
    part[lane] = weight[lane] = 0;
    HUD_UNROLL
    for (int n = 0; n < N; ++n) {
      const int64_t j = lane + n * K;
      if (j < job.endmembers) {
        part[lane] += wide.x[j] * descent[lane].v[n];
        if (!job.sum_to_one) weight[lane] += wide.x[j] * column_length(job, j);
      }
    }
  });
  const double mean = group.reduce(part, Add{});
  const double largest = largest_value<Group, double, N>(group, descent);
  Verdict verdict;
  bool negative = false;
  verdict.stay = positive_members(group, wide, s, &negative);
  verdict.entering = entering_members<Group, double, N>(group, descent, job.sum_to_one ? mean : 0.0,
                                                        tolerance, share, verdict.stay);
  verdict.gap = __builtin_inf();
  if (verdict.entering != 0 || negative) return verdict;
  const double all = job.sum_to_one ? 0.0 : group.reduce(weight, Add{});
  verdict.gap = gap_of(excess_of(job.sum_to_one, largest, mean, all, reach), reach);
  return verdict;
}

// Rounds of float64. True where x (in memory.wide.x, by endmember) is certified.
template <typename Group, int N>
HUD_HD bool wide_rounds(const Group& group, const FclsJob& job,
                        PixelMemory<Group::kLanes, N>& memory, double norm, uint64_t support,
                        double* gap) {
  constexpr int K = Group::kLanes;
  SupportSolution<Group, double> s;
  HUD_ROLLED
  for (int round = 0; round < kWideRounds; ++round) {
    const double share = entering_share(round);
    bool negative = false;
    solve_and_drop(group, memory.wide, job.gram, job.padded, support, job.sum_to_one, s, &negative);
    Verdict verdict;
    // A second time, refined, where ill-conditioned: only what is optimal so far.
    HUD_ROLLED
    for (int pass = 0; pass < 2; ++pass) {
      const LaneValues<Group, double, N> descent = descent_of(group, job, memory, s);
      verdict = judge<Group, N>(group, job, memory.wide, s, descent, norm, share);
      if (pass == 1 || !job.refine || !(verdict.gap < __builtin_inf())) break;
      typename Group::template PerLane<double> right;
      group.each([&](int lane) {
        HUD_UNROLL
        for (int n = 0; n < N; ++n) memory.residual[lane + n * K] = descent[lane].v[n];
      });
      group.each(
          [&](int lane) { right[lane] = lane < s.size ? memory.residual[s.member[lane]] : 0.0; });
      refine_on_support(group, memory.wide, right, job.sum_to_one, s);
    }
    *gap = verdict.gap;
    if (verdict.gap <= kCertified) return true;
    const uint64_t next = verdict.stay | verdict.entering;
    if (next == 0 || next == support || count_bits(next) > K) return false;
    support = next;
  }
  return false;
}

// A value of the pixels and one of the abundances by their place. Which type they have is asked a
// value, not a kernel: half as many kernels, and these reads and writes are few.
HUD_HD double pixel_value(const FclsJob& job, int64_t at) {
  return job.is_float32 ? static_cast<double>(static_cast<const float*>(job.pixels)[at])
                        : static_cast<const double*>(job.pixels)[at];
}
// Band c of the pixel that begins at `from`, scaled and minus the centre.
HUD_HD double centred_value(const FclsJob& job, int64_t from, int64_t c) {
  return pixel_value(job, from + c * job.band_stride) * job.scale - job.centre[c];
}
HUD_HD void put_abundance(const FclsJob& job, int64_t at, double x) {
  if (job.is_float32) {
    static_cast<float*>(job.abundances)[at] = static_cast<float>(x);
  } else {
    static_cast<double*>(job.abundances)[at] = x;
  }
}

// Writes one pixel's results; x (D) lies in memory that the whole group sees.
template <typename Group>
HUD_HD void write_result(const Group& group, const FclsJob& job, int64_t pixel, const double* x,
                         double gap, int8_t status) {
  group.each([&](int lane) {  // adding 0 turns a -0 into 0
    for (int64_t j = lane; j < job.kept; j += Group::kLanes)
      put_abundance(job, pixel * job.kept + j, x[j] + 0.0);
  });
  if (job.status == nullptr) return;
  double length = gap;
  if (status != kNotFinite) {
    const int64_t from = pixel * job.pixel_stride;
    typename Group::template PerLane<double> part;
    group.each([&](int lane) {
      part[lane] = 0;
      for (int64_t c = lane; c < job.bands; c += Group::kLanes) {
        double left = centred_value(job, from, c);
        for (int64_t j = 0; j < job.endmembers; ++j)
          if (x[j] > 0) left -= x[j] * job.centred[j * job.bands + c];
        part[lane] += left * left;
      }
    });
    length = __builtin_sqrt(group.reduce(part, Add{})) / job.scale;
  }
  group.each([&](int lane) {
    if (lane != 0) return;
    job.status[pixel] = status;
    job.gap[pixel] = gap;
    job.residual[pixel] = length;
  });
}

// A finite pixel's x, into memory.wide.x; false where it is left to another way.
template <typename Group, int N>
HUD_HD bool solve_finite(const Group& group, const FclsJob& job, const ProjectedPixel& from,
                         PixelMemory<Group::kLanes, N>& memory, double* gap) {
  constexpr int K = Group::kLanes;
  group.each([&](int lane) {
    for (int64_t t = lane; t < job.rank; t += K) memory.z[t] = from.z[t];
  });
  LaneValues<Group, double, N> right;
  group.each([&](int lane) {
    HUD_UNROLL
    for (int n = 0; n < N; ++n) {
      const int64_t j = lane + n * K;
      double sum = 0;
      if (j < job.endmembers)
        for (int64_t t = 0; t < job.rank; ++t)
          sum += memory.z[t] * job.columns_t[t * job.padded + j];
      right[lane].v[n] = sum;
      memory.narrow.h[j] = static_cast<float>(sum);
    }
  });
  const uint64_t guess = guess_support<Group, N>(group, job, memory, from.noise);
  const uint64_t support = narrow_rounds<Group, N>(group, job, memory.narrow, from.norm, guess);
  group.each([&](int lane) {
    HUD_UNROLL
    for (int n = 0; n < N; ++n) memory.wide.h[lane + n * K] = right[lane].v[n];
  });
  return wide_rounds<Group, N>(group, job, memory, from.norm, support, gap);
}

// One projected pixel from its first guess to its results; false where it is left to another way.
template <typename Group, int N>
HUD_HD bool solve_pixel(const Group& group, const FclsJob& job, int64_t pixel,
                        const ProjectedPixel& from, PixelMemory<Group::kLanes, N>& memory) {
  double gap = __builtin_nan("");
  const bool finite = from.norm <= kLargestDouble;
  if (finite) {
    if (!solve_finite(group, job, from, memory, &gap)) return false;
  } else {
    group.each([&](int lane) {
      HUD_UNROLL
      for (int n = 0; n < N; ++n) memory.wide.x[lane + n * Group::kLanes] = gap;
    });
  }
  write_result(group, job, pixel, memory.wide.x, gap, finite ? kOptimal : kNotFinite);
  return true;
}

HUD_CORE_END
