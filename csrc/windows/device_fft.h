// Fourier transforms of many lines of a tile by a group of threads, in place in memory that all of
// them see. The butterflies, radices and twiddles are those of lane_fft.h.
//
// Forwards by decimation in frequency, which leaves the frequencies in an order of its own (digits
// reversed); backwards by decimation in time, which undoes that order. What lies between them,
// products of spectra point by point, does not care. So one buffer is enough, no value moves beyond
// its butterfly, and a stage needs one wait.
#pragma once

#include "common/group.h"
#include "windows/butterfly.h"
#include "windows/fft_plan.h"

HUD_CORE_BEGIN

struct Single {
  typedef float Vector;
};

// `count` lines; point i of line l lies at grid[l * apart + i * step].
struct Lines {
  Complex* grid;
  int count, apart, step;
};

// Division of numbers below 2^20 by one up to 2^12, by a product: a GPU divides in some 25 steps.
struct Divider {
  unsigned by, times;

  HUD_HD explicit Divider(unsigned divisor)
      : by(divisor), times(divisor == 1 ? 0 : 0xffffffffu / divisor + 1) {}
  HUD_HD unsigned quotient(unsigned n) const {
    return by == 1 ? n : static_cast<unsigned>(static_cast<uint64_t>(n) * times >> 32);
  }
};

struct Stage {
  int radix, m;  // m butterflies for each of the sub-transforms of radix * m points
  const Complex* twiddle;
};

HUD_HD Stage stage_of(const FftPlan& plan, int index) {
  const Complex* twiddle = static_cast<const Complex*>(plan.twiddle);  // cos, sin
  int left = static_cast<int>(plan.length);
  for (int i = 0; i < index; ++i) {
    const int radix = plan.radix[i];
    left /= radix;
    twiddle += left * (radix - 1);
  }
  const int radix = plan.radix[index];
  return {radix, left / radix, twiddle};
}

// Times exp(-2 pi i p j / n), or its conjugate, for j = 1 .. R - 1.
template <int R, bool Inverse>
HUD_HD void turn(const Stage& stage, int p, float* re, float* im) {
  const Complex* w = stage.twiddle + p * (R - 1);
  HUD_UNROLL
  for (int j = 1; j < R; ++j) {
    const Complex own = w[j - 1];
    const float c = own.re, d = Inverse ? own.im : -own.im;
    const float r = re[j] * c - im[j] * d, i = re[j] * d + im[j] * c;
    re[j] = r;
    im[j] = i;
  }
}

template <int R, bool Inverse>
HUD_HD void turn_and_add(const Stage& stage, int p, float* re, float* im) {
  if (Inverse && stage.m > 1) turn<R, true>(stage, p, re, im);
  Butterfly<R, Inverse, float, Single>::run(re, im);
  if (!Inverse && stage.m > 1) turn<R, false>(stage, p, re, im);
}

template <int R, bool Inverse, typename Group>
HUD_HD void run_stage(const Group& group, const Lines& lines, int length, const Stage& stage) {
  const unsigned count = lines.count, total = count * static_cast<unsigned>(length / R);
  const Divider by_count(count), by_m(stage.m);
  group.each([&](int lane) {
    for (unsigned t = lane; t < total; t += Group::kLanes) {
      const int q = by_count.quotient(t), line = t - q * count;  // neighbours: neighbouring lines
      const int p = q - by_m.quotient(q) * stage.m, first = (q - p) * R + p;
      Complex* at = lines.grid + line * lines.apart + first * lines.step;
      const int far = stage.m * lines.step;
      float re[R], im[R];
      HUD_UNROLL
      for (int j = 0; j < R; ++j) {
        const Complex c = at[j * far];
        re[j] = c.re;
        im[j] = c.im;
      }
      turn_and_add<R, Inverse>(stage, p, re, im);
      HUD_UNROLL
      for (int j = 0; j < R; ++j) at[j * far] = {re[j], im[j]};
    }
  });
}

template <bool Inverse, typename Group>
HUD_HD void run_stage_of(const Group& group, const Lines& lines, const FftPlan& plan, int index) {
  const Stage stage = stage_of(plan, index);
  const int length = static_cast<int>(plan.length);
  switch (stage.radix) {
    case 2:
      return run_stage<2, Inverse>(group, lines, length, stage);
    case 3:
      return run_stage<3, Inverse>(group, lines, length, stage);
    case 4:
      return run_stage<4, Inverse>(group, lines, length, stage);
    case 5:
      return run_stage<5, Inverse>(group, lines, length, stage);
    default:
      return run_stage<8, Inverse>(group, lines, length, stage);
  }
}

// The first `stages` stages forwards, or the same ones backwards in turn.
template <typename Group>
HUD_HD void transform_lines(const Group& group, const Lines& lines, const FftPlan& plan,
                            int stages) {
  for (int i = 0; i < stages; ++i) run_stage_of<false>(group, lines, plan, i);
}

template <typename Group>
HUD_HD void restore_lines(const Group& group, const Lines& lines, const FftPlan& plan, int stages) {
  for (int i = stages - 1; i >= 0; --i) run_stage_of<true>(group, lines, plan, i);
}

// f(a, b) over all lanes' values, in the order of a binary tree; `scratch` holds one a lane.
template <typename Group, typename T, typename F>
HUD_HD T reduce_through(const Group& group, T* scratch, const F& f) {
  for (int apart = Group::kLanes / 2; apart > 0; apart /= 2)
    group.each([&](int lane) {
      if (lane < apart) scratch[lane] = f(scratch[lane], scratch[lane + apart]);
    });
  const T found = scratch[0];
  group.each([](int) {});  // nobody writes before all have read
  return found;
}

HUD_CORE_END
