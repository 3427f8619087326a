// FCLS as its loops take it, on the CPU and on the device: pixels, tables and where results go.
#pragma once

#include <cstdint>

namespace hud {

struct FclsJob {
  const void* pixels;  // (P, C) by strides, in elements
  int64_t pixel_stride, band_stride;
  bool is_float32;
  double scale;           // pixels are multiplied with it (a power of two), the rest comes scaled
  int64_t bands;          // C
  const double* centre;   // (C): subtracted from pixels and endmembers
  const double* basis;    // (C, rank): Q of the centred endmembers
  const double* columns;  // (D, rank): R' of the same
  const double* centred;  // (D, C): endmembers minus centre
  int64_t endmembers;     // D
  int64_t rank;           // a multiple of 4, zero-padded
  double column_max;      // largest centred endmember norm
  bool sum_to_one;
  // The fast path's tables, for D <= 64 (null beyond), rows padded with zeros to `padded` values.
  int64_t padded;               // D rounded up to a multiple of 16
  const double* gram;           // (D, padded): R R', plus column_max^2 with the sum constraint
  const float* gram32;          // (D, padded): the same, rounded
  const double* columns_t;      // (rank, padded): R, transposed
  const double* start;          // (rank, padded): z to the solution without x >= 0, each value over
  const double* start_offset;   // (padded)        its standard deviation at unit noise; added after
  const float* start32;         // (D, rank): the same start, transposed ...
  const float* start_offset32;  // (D)
  double per_freedom;           // 1 / (C - rank), for the noise's variance
  bool refine;                  // one more step on the residual: ill-conditioned endmembers
  int64_t kept;      // abundances written per pixel: D, or D - 1 where the last is the shade
  void* abundances;  // (P, kept)
  double* residual;  // (P), or null with the next two
  double* gap;       // (P)
  int8_t* status;    // (P)
};

// How many pixels each way has solved: fcls/dense.h or fcls/few.h, fcls/rounds.h,
// fcls/active_set.h.
struct FclsWays {
  int64_t lanes, rounds, alone;
};

}  // namespace hud
