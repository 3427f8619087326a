// The lists that windows are offered to, and the packing of blocks into lanes: what the direct
// correlation and the one by Fourier transform share.
#pragma once

#include "windows/lane_fft.h"

HUD_CORE_BEGIN

// Whether one of a full list's entries gives way before another.
HUD_HD bool gives_way(const CandidateList& list, double most, int64_t position, double other_most,
                      int64_t other_position) {
  if (list.by_position) return position > other_position;
  return ahead(other_most, other_position, most, position);
}

// Keeps a window whose score lies in [least, most] if it can be the best. A full list gives up the
// entry that `gives_way` first, so which are kept does not depend on the order of the offers.
HUD_HD void offer_window(CandidateList& list, double least, double most, int64_t position) {
  if (!(most >= list.least)) return;
  if (least > list.least) list.least = least;
  if (most - least > list.widest) list.widest = most - least;
  if (list.count == kCandidates) {
    if (list.weakest < 0 || list.most[list.weakest] < list.least) {
      int64_t kept = 0;
      for (int64_t i = 0; i < list.count; ++i) {
        if (list.most[i] < list.least) continue;
        list.most[kept] = list.most[i];
        list.position[kept++] = list.position[i];
      }
      list.count = kept;
      list.weakest = -1;
    }
    if (list.count == kCandidates) {
      int64_t last = list.weakest < 0 ? 0 : list.weakest;
      for (int64_t i = 1; i < kCandidates && list.weakest < 0; ++i)
        if (gives_way(list, list.most[i], list.position[i], list.most[last], list.position[last]))
          last = i;
      list.weakest = last;
      const bool instead = gives_way(list, list.most[last], list.position[last], most, position);
      const double lost = instead ? list.most[last] : most;
      if (lost > list.dropped) list.dropped = lost;
      if (!instead) return;
      list.most[last] = most;
      list.position[last] = position;
      list.weakest = -1;
      return;
    }
  }
  list.most[list.count] = most;
  list.position[list.count++] = position;
}

// Whether any lane's upper bound reaches the best lower bound so far.
template <typename T>
HUD_HD bool any_reaches(const Vector<T>& most, const Vector<T>& least) {
  const auto reaches = most >= least;
  bool any = false;
  for (int64_t l = 0; l < kWidth<T>; ++l) any |= reaches[l] != 0;
  return any;
}

template <typename T>
HUD_HD Vector<T> load_lanes(const double* from) {
  Vector<T> v;
  for (int64_t l = 0; l < kWidth<T>; ++l) v[l] = static_cast<T>(from[l]);
  return v;
}

// Centres and scales the blocks of a group. Rows are worked on in runs of channels and then turned,
// so that reads and writes are both in a row.
template <typename In, typename T>
void pack_blocks_typed(const WindowJob& job, const BlockInput& in, int64_t first, bool one_scale,
                       const BlockGroup& group) {
  constexpr int64_t lanes = kWidth<T>, run = 32;
  const int64_t K = job.channels, pixels = job.block_height * job.block_width;
  const In* blocks = static_cast<const In*>(in.blocks);
  for (int64_t l = 0; l < lanes; ++l) {
    group.along[l] = group.norm[l] = group.constant[l] = group.power[l] = 0;
    if (first + l >= in.count) continue;
    const int64_t block = in.which[first + l];
    double largest = 0, along = 0;
    for (int64_t i = 0; i < pixels; ++i) {
      const double factor = in.factor[block * pixels + i];
      if (!(factor != 0) || factor != factor) continue;
      const In* pixel = blocks + (block * pixels + i) * K;
      double sum = 0, top = 0;
#pragma omp simd reduction(+ : sum) reduction(max : top)
      for (int64_t k = 0; k < K; ++k) {
        const double value = static_cast<double>(pixel[k]) * factor;
        const double size = value < 0 ? -value : value;
        top = size > top ? size : top;
        sum += value * job.direction[k];
      }
      along += sum;
      largest = top > largest ? top : largest;
    }
    if (!(largest > 1e-290)) continue;  // a zero block: every score is 0
    int exponent = 0;
    __builtin_frexp(largest, &exponent);
    const double power = __builtin_ldexp(1.0, -exponent);
    group.power[l] = power;
    // Rounded as the kernel will see it: what is subtracted here is added there.
    group.along[l] =
        static_cast<double>(static_cast<T>(along * power / static_cast<double>(pixels)));
    if (!one_scale) group.constant[l] = along * power * job.mean_length;
  }
  double square[lanes] = {};
  T rows[lanes * run];
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t k0 = 0; k0 < K; k0 += run) {
      const int64_t n = K - k0 < run ? K - k0 : run;
      for (int64_t l = 0; l < lanes; ++l) {
        T* to = rows + l * run;
        const int64_t block = group.power[l] == 0 ? -1 : in.which[first + l];
        double factor = block < 0 ? 0 : in.factor[block * pixels + i] * group.power[l];
        if (factor != factor) factor = 0;
        // A factor of 0 marks a zero pixel, so its values are finite.
        const In* from = blocks + ((block < 0 ? 0 : block) * pixels + i) * K + k0;
        const double* direction = job.direction + k0;
        const double along = group.along[l];
        double sum = 0;
        if (block < 0 || !(factor != 0)) {
          for (int64_t k = 0; k < n; ++k) {
            to[k] = static_cast<T>(-along * direction[k]);
            sum += along * direction[k] * along * direction[k];
          }
        } else {
#pragma omp simd reduction(+ : sum)
          for (int64_t k = 0; k < n; ++k) {
            const double value = static_cast<double>(from[k]) * factor - along * direction[k];
            to[k] = static_cast<T>(value);
            sum += value * value;
          }
        }
        square[l] += sum;
      }
      T* packed = static_cast<T*>(group.packed) + (i * K + k0) * lanes;
      for (int64_t k = 0; k < n; ++k)
        for (int64_t l = 0; l < lanes; ++l) packed[k * lanes + l] = rows[l * run + k];
    }
  for (int64_t l = 0; l < lanes; ++l) group.norm[l] = __builtin_sqrt(square[l]);
}

template <typename T>
void pack_blocks(const WindowJob& job, const BlockInput& in, int64_t first, bool one_scale,
                 const BlockGroup& group) {
  if (in.is_float32) {
    pack_blocks_typed<float, T>(job, in, first, one_scale, group);
  } else {
    pack_blocks_typed<double, T>(job, in, first, one_scale, group);
  }
}

HUD_CORE_END
