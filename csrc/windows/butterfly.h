// The butterflies of Fourier transforms, radices 2, 3, 4, 5 and 8: of vectors of T (a transform a
// lane, lane_fft.h) or of single numbers (a transform for a group of threads, block_fft.h).
#pragma once

#include "common/platform.h"

HUD_CORE_BEGIN

// Times -i forwards, i backwards.
template <bool Inverse, typename V>
HUD_HD void quarter_turn(V& re, V& im) {
  const V old = re;
  re = Inverse ? -im : im;
  im = Inverse ? old : -old;
}

// Kind::Vector is what holds a transform's numbers, or those of many.
template <int R, bool Inverse, typename T, typename Kind>
struct Butterfly;

template <bool Inverse, typename T, typename Kind>
struct Butterfly<2, Inverse, T, Kind> {
  using V = typename Kind::Vector;
  static HUD_HD void run(V* re, V* im) {
    const V r = re[1], i = im[1];
    re[1] = re[0] - r;
    im[1] = im[0] - i;
    re[0] += r;
    im[0] += i;
  }
};

template <bool Inverse, typename T, typename Kind>
struct Butterfly<3, Inverse, T, Kind> {
  using V = typename Kind::Vector;
  static HUD_HD void run(V* re, V* im) {
    constexpr T half = T(0.5), sine = T(0.86602540378443864676372317075294L);
    const V sr = re[1] + re[2], si = im[1] + im[2];
    V dr = (re[1] - re[2]) * sine, di = (im[1] - im[2]) * sine;
    quarter_turn<Inverse>(dr, di);
    const V r = re[0] - sr * half, i = im[0] - si * half;
    re[0] += sr;
    im[0] += si;
    re[1] = r + dr;
    im[1] = i + di;
    re[2] = r - dr;
    im[2] = i - di;
  }
};

template <bool Inverse, typename T, typename Kind>
struct Butterfly<4, Inverse, T, Kind> {
  using V = typename Kind::Vector;
  static HUD_HD void run(V* re, V* im) {
    const V ar = re[0] + re[2], ai = im[0] + im[2], br = re[0] - re[2], bi = im[0] - im[2];
    const V cr = re[1] + re[3], ci = im[1] + im[3];
    V dr = re[1] - re[3], di = im[1] - im[3];
    quarter_turn<Inverse>(dr, di);
    re[0] = ar + cr;
    im[0] = ai + ci;
    re[1] = br + dr;
    im[1] = bi + di;
    re[2] = ar - cr;
    im[2] = ai - ci;
    re[3] = br - dr;
    im[3] = bi - di;
  }
};

template <bool Inverse, typename T, typename Kind>
struct Butterfly<5, Inverse, T, Kind> {
  using V = typename Kind::Vector;
  static HUD_HD void run(V* re, V* im) {
    constexpr T c1 = T(0.30901699437494742410229341718282L),
                c2 = T(-0.80901699437494742410229341718282L),
                s1 = T(0.95105651629515357211643933337938L),
                s2 = T(0.58778525229247312916870595463907L);
    const V ar = re[1] + re[4], ai = im[1] + im[4], br = re[2] + re[3], bi = im[2] + im[3];
    const V cr = re[1] - re[4], ci = im[1] - im[4], dr = re[2] - re[3], di = im[2] - im[3];
    const V ur = re[0] + ar * c1 + br * c2, ui = im[0] + ai * c1 + bi * c2;
    const V vr = re[0] + ar * c2 + br * c1, vi = im[0] + ai * c2 + bi * c1;
    V pr = cr * s1 + dr * s2, pi = ci * s1 + di * s2;
    V qr = cr * s2 - dr * s1, qi = ci * s2 - di * s1;
    quarter_turn<Inverse>(pr, pi);
    quarter_turn<Inverse>(qr, qi);
    re[0] += ar + br;
    im[0] += ai + bi;
    re[1] = ur + pr;
    im[1] = ui + pi;
    re[4] = ur - pr;
    im[4] = ui - pi;
    re[2] = vr + qr;
    im[2] = vi + qi;
    re[3] = vr - qr;
    im[3] = vi - qi;
  }
};

template <bool Inverse, typename T, typename Kind>
struct Butterfly<8, Inverse, T, Kind> {
  using V = typename Kind::Vector;
  static HUD_HD void run(V* re, V* im) {
    constexpr T root = T(0.70710678118654752440084436210485L);
    V er[4] = {re[0], re[2], re[4], re[6]}, ei[4] = {im[0], im[2], im[4], im[6]};
    V qr[4] = {re[1], re[3], re[5], re[7]}, qi[4] = {im[1], im[3], im[5], im[7]};
    Butterfly<4, Inverse, T, Kind>::run(er, ei);
    Butterfly<4, Inverse, T, Kind>::run(qr, qi);
    // The odd half turns by 0, 1, 2 and 3 eighths.
    const V r1 = (Inverse ? qr[1] - qi[1] : qr[1] + qi[1]) * root;
    const V i1 = (Inverse ? qi[1] + qr[1] : qi[1] - qr[1]) * root;
    const V r3 = (Inverse ? qr[3] + qi[3] : qi[3] - qr[3]) * root;  // its sign below
    const V i3 = (Inverse ? qr[3] - qi[3] : qi[3] + qr[3]) * root;
    quarter_turn<Inverse>(qr[2], qi[2]);
    re[0] = er[0] + qr[0];
    im[0] = ei[0] + qi[0];
    re[4] = er[0] - qr[0];
    im[4] = ei[0] - qi[0];
    re[1] = er[1] + r1;
    im[1] = ei[1] + i1;
    re[5] = er[1] - r1;
    im[5] = ei[1] - i1;
    re[2] = er[2] + qr[2];
    im[2] = ei[2] + qi[2];
    re[6] = er[2] - qr[2];
    im[6] = ei[2] - qi[2];
    if (Inverse) {  // times (-1 + i) / sqrt 2
      re[3] = er[3] - r3;
      im[3] = ei[3] + i3;
      re[7] = er[3] + r3;
      im[7] = ei[3] - i3;
    } else {  // times (-1 - i) / sqrt 2
      re[3] = er[3] + r3;
      im[3] = ei[3] - i3;
      re[7] = er[3] - r3;
      im[7] = ei[3] + i3;
    }
  }
};

HUD_CORE_END
