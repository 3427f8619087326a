// What every core header needs: the marks that make one source serve host and device.
//
// Core headers hold the mathematics of one row, one pixel or one tile: no STL, no allocation, no
// thread, no torch. Each CPU level and the CUDA build compile them in their own namespace
// (HUD_ISA), and inside an anonymous one, so that no symbol of a wide level can be linked into the
// path of an older processor.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef HUD_ISA
#error "HUD_ISA must name the namespace of this instruction-set level"
#endif

#ifdef __CUDACC__
#define HUD_HD __host__ __device__ __forceinline__
#else
#define HUD_HD inline __attribute__((always_inline))
#endif

// A long function of several callers that seldom runs: one copy of it on the host, where each copy
// is compiled once a level.
#ifdef __CUDACC__
#define HUD_SHARED HUD_HD
#else
#define HUD_SHARED inline __attribute__((noinline))
#endif

#define HUD_CORE_BEGIN \
  namespace hud {      \
  namespace HUD_ISA {  \
  namespace {
#define HUD_CORE_END \
  }                  \
  }                  \
  }

// Before a function whose scalar loads and stores must stay scalar.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define HUD_NO_SLP __attribute__((noinline, optimize("no-tree-slp-vectorize")))
#else
#define HUD_NO_SLP
#endif

// Before a loop whose iterations are independent. Without it GCC unrolls short lane loops before it
// could vectorise them.
#ifdef __CUDACC__
#define HUD_SIMD
#else
#define HUD_SIMD _Pragma("omp simd")
#endif

// Before a loop over a register array: only unrolled does it stay in registers on the device.
#ifdef __CUDACC__
#define HUD_UNROLL _Pragma("unroll")
#else
#define HUD_UNROLL
#endif
