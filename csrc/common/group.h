// Threads that work on one thing together: a warp, a part of one or a block on the device; a loop
// over as many lanes on the host. The same source runs in both, so what a GPU does with a pixel or
// a tile is tested on machines that have none.
//
// Code for a group is written in steps: group.each(f) calls f(lane) for every lane and goes on when
// all have returned. What a lane remembers from step to step lies in a PerLane<T>; what lanes tell
// each other goes through memory between two steps, or through sum, ballot, from and their like.
// Control flow between the steps is the same for all lanes. Reductions add in the order of a
// butterfly, so both sides round alike.
#pragma once

#include "common/platform.h"

HUD_CORE_BEGIN

template <int Lanes>
struct HostGroup {
  static_assert(Lanes > 0 && (Lanes & (Lanes - 1)) == 0, "a power of two");
  static constexpr int kLanes = Lanes;

  template <typename T>
  struct PerLane {
    T value[Lanes];
    T& operator[](int lane) { return value[lane]; }
    const T& operator[](int lane) const { return value[lane]; }
  };

  template <typename F>
  void each(const F& f) const {
    for (int lane = 0; lane < Lanes; ++lane) f(lane);
  }

  // The same without waiting for the others: what it writes is seen by its own lane only until the
  // next step.
  template <typename F>
  void apart(const F& f) const {
    each(f);
  }

  // f(warp, w) for the group's warps, all 32 lanes at once, and goes on when all have returned.
  template <typename F>
  void each_warp(const F& f) const {
    static_assert(Lanes % 32 == 0, "whole warps");
    for (int w = 0; w < Lanes / 32; ++w) f(HostGroup<32>{}, w);
  }

  // f(a, b) over all lanes, as every lane gets it. f(a, b) == f(b, a): on the device lanes meet in
  // different orders, and one that saw another result would take another way.
  template <typename T, typename F>
  T reduce(PerLane<T> v, const F& f) const {
    for (int apart = Lanes / 2; apart > 0; apart /= 2) {
      PerLane<T> next;
      for (int lane = 0; lane < Lanes; ++lane) next[lane] = f(v[lane], v[lane ^ apart]);
      v = next;
    }
    return v[0];
  }

  // Bit l: lane l's answer. Groups of up to 32 lanes.
  uint32_t ballot(const PerLane<bool>& v) const {
    static_assert(Lanes <= 32, "a ballot has 32 bits");
    uint32_t bits = 0;
    for (int lane = 0; lane < Lanes; ++lane) bits |= uint32_t{v[lane]} << lane;
    return bits;
  }

  // Lane `lane`'s value, told to all.
  template <typename T>
  T from(const PerLane<T>& v, int lane) const {
    return v[lane];
  }
};

#ifdef __CUDACC__

// Lanes (up to 32) neighbouring threads of a warp, starting at a multiple of their number.
template <int Lanes>
struct WarpGroup {
  static_assert(Lanes > 0 && Lanes <= 32 && (Lanes & (Lanes - 1)) == 0, "a power of two to 32");
  static constexpr int kLanes = Lanes;

  template <typename T>
  struct PerLane {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
    __device__ __forceinline__ const T& operator[](int) const { return value; }
  };

  // threadIdx.x counts the threads: blocks of one dimension.
  __device__ __forceinline__ static int lane() { return threadIdx.x & (Lanes - 1); }
  __device__ __forceinline__ static unsigned first() { return threadIdx.x & (32u - Lanes) & 31u; }
  __device__ __forceinline__ static unsigned mask() {
    return Lanes == 32 ? 0xffffffffu : ((1u << (Lanes & 31)) - 1u) << first();
  }

  template <typename F>
  __device__ __forceinline__ void each(const F& f) const {
    f(lane());
    __syncwarp(mask());
  }

  template <typename F>
  __device__ __forceinline__ void apart(const F& f) const {
    f(lane());
  }

  template <typename T, typename F>
  __device__ __forceinline__ T reduce(PerLane<T> v, const F& f) const {
#pragma unroll
    for (int apart = Lanes / 2; apart > 0; apart /= 2)
      v.value = f(v.value, __shfl_xor_sync(mask(), v.value, apart, Lanes));
    return v.value;
  }

  __device__ __forceinline__ uint32_t ballot(const PerLane<bool>& v) const {
    const uint32_t bits = __ballot_sync(mask(), v.value) >> first();
    return Lanes == 32 ? bits : bits & ((1u << (Lanes & 31)) - 1u);
  }

  template <typename T>
  __device__ __forceinline__ T from(const PerLane<T>& v, int lane) const {
    return __shfl_sync(mask(), v.value, lane, Lanes);
  }
};

// A whole block of one dimension, of Lanes threads.
template <int Lanes>
struct BlockGroup {
  static constexpr int kLanes = Lanes;

  template <typename T>
  struct PerLane {
    T value;
    __device__ __forceinline__ T& operator[](int) { return value; }
    __device__ __forceinline__ const T& operator[](int) const { return value; }
  };

  template <typename F>
  __device__ __forceinline__ void each(const F& f) const {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  template <typename F>
  __device__ __forceinline__ void apart(const F& f) const {
    f(static_cast<int>(threadIdx.x));
  }

  template <typename F>
  __device__ __forceinline__ void each_warp(const F& f) const {
    static_assert(Lanes % 32 == 0, "whole warps");
    f(WarpGroup<32>{}, static_cast<int>(threadIdx.x >> 5));
    __syncthreads();
  }
};

#endif

HUD_CORE_END
