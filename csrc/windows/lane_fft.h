// Fourier transforms over vector lanes: each lane is a transform of its own, so no value ever
// crosses lanes and every level gives each lane the same arithmetic.
//
// Stockham's autosort form (natural order in and out, no bit reversal), radices 2, 3, 4, 5 and 8.
// A complex value is two neighbouring vectors. The input may be strided and end early (zeros
// follow); the last stage hands its results to a sink, which may store, drop or reduce them.
#pragma once

#include "common/vector.h"
#include "windows/butterfly.h"
#include "windows/job.h"

HUD_CORE_BEGIN

// Strided input of `count` values; those beyond are zero.
template <typename T>
struct PaddedSource {
  const Vector<T>* from;
  int64_t stride, count;
  HUD_HD void operator()(int64_t i, Vector<T>& re, Vector<T>& im) const {
    if (i < count) {
      re = from[i * stride];
      im = from[i * stride + 1];
    } else {
      re = im = Vector<T>{};
    }
  }
};

template <typename T>
struct PlainSource {
  const Vector<T>* from;
  HUD_HD void operator()(int64_t i, Vector<T>& re, Vector<T>& im) const {
    re = from[2 * i];
    im = from[2 * i + 1];
  }
};

template <typename T>
struct PlainSink {
  Vector<T>* to;
  HUD_HD void operator()(int64_t i, const Vector<T>& re, const Vector<T>& im) const {
    to[2 * i] = re;
    to[2 * i + 1] = im;
  }
};

// Stores result i at slot[i] of a strided array, or not at all.
template <typename T>
struct SlotSink {
  Vector<T>* to;
  int64_t stride;
  const int32_t* slot;
  HUD_HD void operator()(int64_t i, const Vector<T>& re, const Vector<T>& im) const {
    const int64_t at = slot[i];
    if (at < 0) return;
    to[at * stride] = re;
    to[at * stride + 1] = im;
  }
};

// One stage: n = R m points left, s interleaved sequences.
template <int R, bool Inverse, bool Twiddled, typename T, typename Source, typename Sink>
HUD_HD void fft_stage(int64_t m, int64_t s, const T* twiddle, const Source& source, Sink& shared) {
  using V = Vector<T>;
  Sink sink = shared;  // a local copy may live in registers
  for (int64_t p = 0; p < m; ++p) {
    const T* w = twiddle + p * (R - 1) * 2;
    for (int64_t q = 0; q < s; ++q) {
      V re[R], im[R];
#pragma GCC unroll 8
      for (int j = 0; j < R; ++j) source(q + s * (p + m * j), re[j], im[j]);
      Butterfly<R, Inverse, T, VectorKind<T>>::run(re, im);
      const int64_t at = q + s * R * p;
      sink(at, re[0], im[0]);
#pragma GCC unroll 8
      for (int j = 1; j < R; ++j) {
        if (Twiddled) {
          const T c = w[2 * j - 2], d = Inverse ? w[2 * j - 1] : -w[2 * j - 1];
          const V r = re[j] * c - im[j] * d, i = re[j] * d + im[j] * c;
          sink(at + s * j, r, i);
        } else {
          sink(at + s * j, re[j], im[j]);
        }
      }
    }
  }
  shared = sink;
}

template <bool Inverse, bool Twiddled, typename T, typename Source, typename Sink>
void fft_stage_of(int radix, int64_t m, int64_t s, const T* twiddle, const Source& source,
                  Sink& sink) {
  switch (radix) {
    case 2:
      return fft_stage<2, Inverse, Twiddled, T>(m, s, twiddle, source, sink);
    case 3:
      return fft_stage<3, Inverse, Twiddled, T>(m, s, twiddle, source, sink);
    case 4:
      return fft_stage<4, Inverse, Twiddled, T>(m, s, twiddle, source, sink);
    case 5:
      return fft_stage<5, Inverse, Twiddled, T>(m, s, twiddle, source, sink);
    default:
      return fft_stage<8, Inverse, Twiddled, T>(m, s, twiddle, source, sink);
  }
}

// All stages but the last: returns where their result lies. `first` is the input; `work` and
// `other` hold `length` complex values each, and `other` may be the input itself where that is
// contiguous and done with (two buffers then fit where three would not).
template <bool Inverse, typename T, typename Source>
const Vector<T>* lane_fft_begin(const FftPlan& plan, const Source& first, Vector<T>* work,
                                Vector<T>* other) {
  using V = Vector<T>;
  const T* twiddle = static_cast<const T*>(plan.twiddle);
  if (plan.stages < 2) {  // leaves the copy as it is; the one stage may be the last
    PlainSink<T> store = {work};
    V re, im;
    for (int64_t i = 0; i < plan.length; ++i) {
      first(i, re, im);
      store(i, re, im);
    }
    return work;
  }
  V *from = work, *to = other;
  int64_t n = plan.length, s = 1;
  for (int stage = 0; stage + 1 < plan.stages; ++stage) {
    const int radix = plan.radix[stage];
    const int64_t m = n / radix;
    if (stage == 0) {
      PlainSink<T> store = {from};
      fft_stage_of<Inverse, true, T>(radix, m, s, twiddle, first, store);
    } else {
      PlainSink<T> store = {to};
      fft_stage_of<Inverse, true, T>(radix, m, s, twiddle, PlainSource<T>{from}, store);
      V* swap = from;
      from = to;
      to = swap;
    }
    twiddle += m * (radix - 1) * 2;
    n = m;
    s *= radix;
  }
  return from;
}

// The last stage, from where `lane_fft_begin` left its result (which stays).
template <bool Inverse, typename T, typename Sink>
void lane_fft_end(const FftPlan& plan, const Vector<T>* from, Sink& sink) {
  if (plan.stages == 0) {
    sink(0, from[0], from[1]);
    return;
  }
  const int radix = plan.radix[plan.stages - 1];
  fft_stage_of<Inverse, false, T>(radix, 1, plan.length / radix, static_cast<const T*>(nullptr),
                                  PlainSource<T>{from}, sink);
}

template <bool Inverse, typename T, typename Source, typename Sink>
void lane_fft(const FftPlan& plan, const Source& first, Vector<T>* work, Vector<T>* other,
              Sink& sink) {
  lane_fft_end<Inverse, T>(plan, lane_fft_begin<Inverse, T>(plan, first, work, other), sink);
}

HUD_CORE_END
