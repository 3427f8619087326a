// The lists that windows are offered to, and the packing of blocks into lanes: what the direct
// correlation and the one by Fourier transform share.
#pragma once

#include "core/lane_fft.h"
#include "cpu/kernels.h"

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
  for (int64_t l = 0; l < lanes_of<T>(); ++l) any |= reaches[l] != 0;
  return any;
}

template <typename T>
HUD_HD Vector<T> load_lanes(const double* from) {
  Vector<T> v;
  for (int64_t l = 0; l < lanes_of<T>(); ++l) v[l] = static_cast<T>(from[l]);
  return v;
}

template <typename In>
HUD_HD double block_value(const BlockInput& in, int64_t pixel, int64_t channel, int64_t channels,
                          double factor) {
  return static_cast<double>(static_cast<const In*>(in.blocks)[pixel * channels + channel]) *
         factor;
}

template <typename In, typename T>
void pack_blocks_typed(const WindowJob& job, const BlockInput& in, int64_t first, bool one_scale,
                       const BlockGroup& group) {
  constexpr int64_t lanes = lanes_of<T>();
  const int64_t K = job.channels, pixels = job.block_height * job.block_width;
  T* packed = static_cast<T*>(group.packed);
  double power[lanes];
  for (int64_t l = 0; l < lanes; ++l) {
    group.along[l] = group.norm[l] = group.constant[l] = 0;
    power[l] = 0;
    if (first + l >= in.count) continue;
    const int64_t block = in.which[first + l];
    double largest = 0, along = 0;
    for (int64_t i = 0; i < pixels; ++i) {
      const int64_t pixel = block * pixels + i;
      const double factor = in.factor[pixel];
      if (!(factor != 0) || factor != factor) continue;
      double sum = 0;
      for (int64_t k = 0; k < K; ++k) {
        const double value = block_value<In>(in, pixel, k, K, factor);
        const double size = value < 0 ? -value : value;
        largest = size > largest ? size : largest;
        sum += value * job.direction[k];
      }
      along += sum;
    }
    if (!(largest > 1e-290)) continue;  // a zero block: every score is 0
    int exponent = 0;
    __builtin_frexp(largest, &exponent);
    power[l] = __builtin_ldexp(1.0, -exponent);
    group.along[l] = along * power[l] / static_cast<double>(pixels);
    // Seen as the kernel will see it: bounds and values must agree.
    group.along[l] = static_cast<double>(static_cast<T>(group.along[l]));
    if (!one_scale) group.constant[l] = along * power[l] * job.mean_length;
  }
  double square[lanes] = {};
  for (int64_t i = 0; i < pixels; ++i)
    for (int64_t l = 0; l < lanes; ++l) {
      T* to = packed + i * K * lanes + l;
      if (power[l] == 0) {
        for (int64_t k = 0; k < K; ++k) to[k * lanes] = 0;
        continue;
      }
      const int64_t pixel = in.which[first + l] * pixels + i;
      const double factor = in.factor[pixel], along = group.along[l];
      const bool used = factor == factor && factor != 0;
      double sum = 0;
      for (int64_t k = 0; k < K; ++k) {
        const double value = (used ? block_value<In>(in, pixel, k, K, factor) * power[l] : 0.0) -
                             along * job.direction[k];
        to[k * lanes] = static_cast<T>(value);
        sum += value * value;
      }
      square[l] += sum;
    }
  for (int64_t l = 0; l < lanes; ++l) {
    group.norm[l] = __builtin_sqrt(square[l]);
    group.power[l] = power[l];
  }
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
