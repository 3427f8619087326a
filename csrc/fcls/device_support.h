// The equality-constrained least squares of one pixel on a support, by a group of threads:
//
//   min |z - R' x|^2 over x_S, x = 0 elsewhere, sum x = 1      (or without the sum)
//
// Lane a holds the row of the support's a-th endmember of the gathered Gram matrix in registers.
// Eliminating a column is one step: the column goes through memory to all lanes, and every lane
// below it subtracts its multiple. The matrix is symmetric and nobody keeps to a triangle, so lane
// a's row ends as D L' right of the diagonal, which the way back reads, and as L D left of it,
// which a refinement reads. All register indices are constants: loops over positions are unrolled
// and left early by a test that is the same for the whole group. The rules (lost pivots, what is
// dropped) are those of fcls/support_tile.h.
#pragma once

#include "common/group.h"
#include "fcls/verdict.h"

#ifdef __CUDACC__
#define HUD_ROLLED _Pragma("unroll 1")  // the body is long: one copy, for the instruction cache
#else
#define HUD_ROLLED
#endif

HUD_CORE_BEGIN

template <typename T, int Count>
struct Row {
  T v[Count];
};

struct Add {
  template <typename T>
  HUD_HD T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  template <typename T>
  HUD_HD T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

// What the lanes of one group tell each other; N endmembers a lane, supports of up to `Lanes`.
template <typename T, int Lanes, int N>
struct SupportMemory {
  alignas(16) T column[Lanes];
  T whole[Lanes];          // diagonal of the Gram matrix
  T right[2];              // the right-hand sides of the column's row
  T packed[Lanes];         // x by position
  T x[Lanes * N];          // x by endmember
  T h[Lanes * N];          // by endmember
  int32_t members[Lanes];  // endmembers by position
};

// What a group remembers of one solution.
template <typename Group, typename T>
struct SupportSolution {
  template <typename V>
  using PerLane = typename Group::template PerLane<V>;
  PerLane<Row<T, Group::kLanes>> row;
  PerLane<T> inverse;  // 1 / pivot, or 0 where it is lost to rounding
  PerLane<T> right;    // L^-1 of the right-hand side
  PerLane<T> one;      // L^-1 1
  PerLane<T> x;        // by position
  PerLane<int> member;
  T mu;  // minus the common value of the gradient on the support
  int size;
};

// Rows of the support's Gram matrix, right-hand sides, members.
template <typename Group, typename T, int N>
HUD_HD void gather(const Group& group, SupportMemory<T, Group::kLanes, N>& memory, const T* gram,
                   int64_t stride, uint64_t support, SupportSolution<Group, T>& s) {
  constexpr int K = Group::kLanes;
  const int size = count_bits(support);
  s.size = size;
  group.each([&](int lane) {
    HUD_UNROLL
    for (int n = 0; n < N; ++n) {
      const int j = lane + n * K;
      const uint64_t bit = uint64_t{1} << j;
      if (support & bit) memory.members[count_bits(support & (bit - 1))] = j;
    }
  });
  group.each([&](int lane) {
    const bool in = lane < size;
    const int mine = in ? memory.members[lane] : 0;
    s.member[lane] = mine;
    s.right[lane] = in ? memory.h[mine] : T(0);
    s.one[lane] = in ? T(1) : T(0);
    s.inverse[lane] = s.x[lane] = T(0);
    if (in) memory.whole[lane] = gram[mine * stride + mine];
    HUD_UNROLL
    for (int b = 0; b < K; ++b) {
      s.row[lane].v[b] = T(0);
      // Row b, own column: neighbours read neighbours, where own row, column b would share a bank.
      if (b < size && in) s.row[lane].v[b] = gram[memory.members[b] * stride + mine];
    }
  });
}

// Eliminates a support of up to K members.
template <int K, typename Group, typename T, int N>
HUD_HD void eliminate_within(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                             SupportSolution<Group, T>& s) {
  const int size = s.size;
  HUD_UNROLL
  for (int c = 0; c < K; ++c) {
    if (c < size) {
      group.each([&](int lane) {
        memory.column[lane] = s.row[lane].v[c];
        if (lane == c) {
          memory.right[0] = s.right[lane];
          memory.right[1] = s.one[lane];
        }
      });
      group.each([&](int lane) {
        const T inverse = invert_pivot<T>(memory.column[c], memory.whole[c]);
        if (lane == c) s.inverse[lane] = inverse;
        const T factor = lane > c ? s.row[lane].v[c] * inverse : T(0);
        s.right[lane] -= factor * memory.right[0];
        s.one[lane] -= factor * memory.right[1];
        HUD_UNROLL
        for (int first = (c + 1) / 4 * 4; first < K; first += 4) {
          if (first < size) {
            HUD_UNROLL
            for (int b = first; b < first + 4; ++b)
              if (b > c) s.row[lane].v[b] -= factor * memory.column[b];
          }
        }
      });
    }
  }
}

template <typename Group, typename T, int N>
HUD_HD void eliminate_columns(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                              SupportSolution<Group, T>& s) {
  constexpr int K = Group::kLanes;
  // What lies beyond the support is skipped by predicates, which take their time: most supports of
  // many endmembers have a narrower code of their own.
  if constexpr (K == 32) {
    if (s.size <= 16) return eliminate_within<16>(group, memory, s);
  }
  eliminate_within<K>(group, memory, s);
}

// From `right` and `one`, both eliminated, to the x whose sum is `total`; returns mu.
template <typename Group, typename T>
HUD_HD T substitute_back(const Group& group, const SupportSolution<Group, T>& s,
                         const typename Group::template PerLane<T>& right, bool sum_to_one, T total,
                         typename Group::template PerLane<T>& x) {
  constexpr int K = Group::kLanes;
  typename Group::template PerLane<T> left, value;
  T mu = 0;
  if (sum_to_one) {
    group.each([&](int lane) {
      const T scaled = s.one[lane] * s.inverse[lane];
      left[lane] = s.one[lane] * scaled;
      value[lane] = right[lane] * scaled;
    });
    const T weight = group.reduce(left, Add{});
    mu = (total - group.reduce(value, Add{})) / weight;
  }
  group.each([&](int lane) {
    left[lane] = right[lane] + mu * s.one[lane];
    value[lane] = left[lane] * s.inverse[lane];
    x[lane] = T(0);
  });
  HUD_UNROLL
  for (int c = K - 1; c >= 0; --c) {
    if (c < s.size) {
      const T known = group.from(value, c);
      group.each([&](int lane) {
        if (lane == c) x[lane] = known;
        if (lane < c) {
          left[lane] -= s.row[lane].v[c] * known;
          value[lane] = left[lane] * s.inverse[lane];
        }
      });
    }
  }
  return mu;
}

// x to memory, by position and by endmember.
template <typename Group, typename T, int N>
HUD_HD void tell_x(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                   const SupportSolution<Group, T>& s) {
  constexpr int K = Group::kLanes;
  group.each([&](int lane) {
    memory.packed[lane] = s.x[lane];
    HUD_UNROLL
    for (int n = 0; n < N; ++n) memory.x[lane + n * K] = T(0);
  });
  group.each([&](int lane) {
    if (lane < s.size) memory.x[s.member[lane]] = s.x[lane];
  });
}

template <typename Group, typename T, int N>
HUD_HD void solve_on_support(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                             const T* gram, int64_t stride, uint64_t support, bool sum_to_one,
                             SupportSolution<Group, T>& s) {
  gather(group, memory, gram, stride, support, s);
  eliminate_columns(group, memory, s);
  s.mu = substitute_back(group, s, s.right, sum_to_one, T(1), s.x);
  tell_x(group, memory, s);
}

// One step of refinement: x plus the solution for the gradient at x, given by position.
template <typename Group, typename T, int N>
HUD_HD void refine_on_support(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                              typename Group::template PerLane<T> right, bool sum_to_one,
                              SupportSolution<Group, T>& s) {
  constexpr int K = Group::kLanes;
  typename Group::template PerLane<T> value, step;
  group.each([&](int lane) { value[lane] = right[lane] * s.inverse[lane]; });
  HUD_UNROLL
  for (int c = 0; c < K; ++c) {
    if (c < s.size) {
      const T known = group.from(value, c);
      group.each([&](int lane) {
        if (lane > c) {
          right[lane] -= s.row[lane].v[c] * known;
          value[lane] = right[lane] * s.inverse[lane];
        }
      });
    }
  }
  substitute_back(group, s, right, sum_to_one, T(0), step);
  group.each([&](int lane) { s.x[lane] += step[lane]; });
  tell_x(group, memory, s);
}

// Endmembers with positive x; none where a value is not finite. `negative`: whether any is below 0.
template <typename Group, typename T, int N>
HUD_HD uint64_t positive_members(const Group& group, SupportMemory<T, Group::kLanes, N>& memory,
                                 const SupportSolution<Group, T>& s, bool* negative) {
  constexpr int K = Group::kLanes;
  typename Group::template PerLane<bool> lost, below;
  group.each([&](int lane) {
    lost[lane] = !(s.x[lane] * T(0) + s.mu * T(0) == T(0));
    below[lane] = s.x[lane] < T(0);
  });
  *negative = group.ballot(below) != 0;
  if (group.ballot(lost) != 0) return 0;
  uint64_t bits = 0;
  HUD_UNROLL
  for (int n = 0; n < N; ++n) {
    group.each([&](int lane) { below[lane] = memory.x[lane + n * K] > T(0); });
    bits |= static_cast<uint64_t>(group.ballot(below)) << (n * K);
  }
  return bits;
}

HUD_CORE_END
