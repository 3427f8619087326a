// A tensor core's product of a 16 x 16 and a 16 x 8 matrix of float16, summed in float32: the
// instruction mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 (sm_80 and later), and the same on
// the host from the same registers. Which lane holds which element is said once, by the functions
// below, which follow the PTX ISA's figures; packing, product and epilogue all ask them.
#pragma once

#include "common/group.h"
#include "common/half.h"

HUD_CORE_BEGIN

constexpr int kMmaRows = 16, kMmaColumns = 8, kMmaDepth = 16;

// Lane `lane` holds 8 elements of A (two a register), 4 of B and 4 of C, numbered i.
HUD_HD int a_row(int lane, int i) { return (lane >> 2) + ((i >> 1) & 1) * 8; }
HUD_HD int a_depth(int lane, int i) { return (lane & 3) * 2 + (i & 1) + (i >> 2) * 8; }
HUD_HD int b_depth(int lane, int i) { return (lane & 3) * 2 + (i & 1) + (i >> 1) * 8; }
HUD_HD int b_column(int lane) { return lane >> 2; }
HUD_HD int c_row(int lane, int i) { return (lane >> 2) + (i >> 1) * 8; }
HUD_HD int c_column(int lane, int i) { return (lane & 3) * 2 + (i & 1); }

struct FragmentA {
  uint32_t reg[4];
};
struct FragmentB {
  uint32_t reg[2];
};

// Two numbers rounded to float16 (nearest even), the first in the low half.
HUD_HD uint32_t pack_halves(float low, float high) {
#ifdef __CUDA_ARCH__
  uint32_t both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
#else
  return to_float16<float>(low) | to_float16<float>(high) << 16;
#endif
}

HUD_HD float half_value(uint32_t bits) {
#ifdef __CUDA_ARCH__
  float value;
  asm("{ .reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(bits));
  return value;
#else
  return from_float16<float>(bits);
#endif
}

HUD_HD float low_half(uint32_t both) { return half_value(both & 0xffffu); }
HUD_HD float high_half(uint32_t both) { return half_value(both >> 16); }

// What a tensor core makes of `count` terms at worst: all are cut to 24 bits of the largest one's
// exponent, summed, and the sum is cut to float32, never rounded to nearest. (Fasi, Higham,
// Mikaitis, Pranesh 2021, "Numerical behavior of NVIDIA tensor cores": Ampere takes 8 products and
// the accumulator at once, and keeps a bit more.)
// Sums below 1e-290 count as zero.
inline double cut(double value, double like) {
  const uint64_t exponent = bits_to<uint64_t>(like) >> 52 & 0x7ffU;
  if (exponent < 60) return 0.0;
  const double unit = bits_to<double>((exponent - 23) << 52);
  const double inverse = bits_to<double>((2046 - (exponent - 23)) << 52);
  return static_cast<double>(static_cast<int64_t>(value * inverse)) * unit;
}

inline float cut_sum(const double* terms, int count) {
  double largest = 0, sum = 0;
  for (int i = 0; i < count; ++i) {
    const double size = terms[i] < 0 ? -terms[i] : terms[i];
    largest = size > largest ? size : largest;
  }
  for (int i = 0; i < count; ++i) sum += cut(terms[i], largest);
  return static_cast<float>(cut(sum, sum));
}

constexpr int kMmaBlock = 8;  // products that `cut_sum` takes at once

// Columns of C that a warp holds beside each other: kMmaRows x Columns, as the lanes hold them.
template <int Columns>
struct FragmentC {
  float v[Columns / kMmaColumns][4];
};

// c, columns 8 n to 8 n + 7, += a b, for one warp.
template <int Columns>
inline void mma(const HostGroup<32>&, const HostGroup<32>::PerLane<FragmentA>& a,
                const HostGroup<32>::PerLane<FragmentB>& b,
                HostGroup<32>::PerLane<FragmentC<Columns>>& c, int n) {
  float left[kMmaRows][kMmaDepth], right[kMmaDepth][kMmaColumns];
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i)
      left[a_row(lane, i)][a_depth(lane, i)] =
          half_value(a[lane].reg[i / 2] >> (i % 2 * 16) & 0xffffu);
    for (int i = 0; i < 4; ++i)
      right[b_depth(lane, i)][b_column(lane)] =
          half_value(b[lane].reg[i / 2] >> (i % 2 * 16) & 0xffffu);
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      for (int first = 0; first < kMmaDepth; first += kMmaBlock) {
        double terms[kMmaBlock + 1];
        for (int k = 0; k < kMmaBlock; ++k)
          terms[k] = static_cast<double>(left[c_row(lane, i)][first + k]) *
                     static_cast<double>(right[first + k][c_column(lane, i)]);
        terms[kMmaBlock] = static_cast<double>(c[lane].v[n][i]);
        c[lane].v[n][i] = cut_sum(terms, kMmaBlock + 1);
      }
    }
  }
}

#ifdef __CUDACC__
template <int Columns>
__device__ __forceinline__ void mma(const WarpGroup<32>&,
                                    const WarpGroup<32>::PerLane<FragmentA>& a,
                                    const WarpGroup<32>::PerLane<FragmentB>& b,
                                    WarpGroup<32>::PerLane<FragmentC<Columns>>& c, int n) {
  float* d = c.value.v[n];
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.value.reg[0]), "r"(a.value.reg[1]), "r"(a.value.reg[2]), "r"(a.value.reg[3]),
        "r"(b.value.reg[0]), "r"(b.value.reg[1]));
}
#endif

// f over the four lanes that share a row of C, as each of them gets it.
template <typename F>
inline HostGroup<32>::PerLane<float> over_quads(const HostGroup<32>&,
                                                HostGroup<32>::PerLane<float> v, const F& f) {
  for (int apart = 1; apart <= 2; apart *= 2) {
    HostGroup<32>::PerLane<float> next;
    for (int lane = 0; lane < 32; ++lane) next[lane] = f(v[lane], v[lane ^ apart]);
    v = next;
  }
  return v;
}

#ifdef __CUDACC__
template <typename F>
__device__ __forceinline__ WarpGroup<32>::PerLane<float> over_quads(const WarpGroup<32>&,
                                                                    WarpGroup<32>::PerLane<float> v,
                                                                    const F& f) {
#pragma unroll
  for (int apart = 1; apart <= 2; apart *= 2)
    v.value = f(v.value, __shfl_xor_sync(0xffffffffu, v.value, apart));
  return v;
}
#endif

HUD_CORE_END
