// The numbers that FCLS and NNLS decide by, each here alone: for the CPU's loops, the device's and,
// through the binding, the reference in Python. Plain host code may read it too.
#pragma once

namespace hud {

// What counts as rounding.
constexpr double kEpsilon32 = 1.1920929e-7, kEpsilon64 = 2.220446049250313e-16;
// Rounding of a gradient c_j = R_j . (z - R x), in units of max |R_j| times what |z - R x| can be:
// a few epsilons. A larger tolerance would leave pixels short of optimal.
constexpr double kNarrowTolerance = 8 * kEpsilon32, kWideTolerance = 16 * kEpsilon64;
// Share of its diagonal element that a pivot must exceed, and what its inverse stays finite above.
constexpr double kLeastPivot32 = 64 * kEpsilon32, kLeastPivot64 = 64 * kEpsilon64;
constexpr double kTinyPivot32 = 1e-30, kTinyPivot64 = 1e-290;
// Share of a column's length that must be left of it beside the columns of its support.
constexpr double kIndependent = 32 * kEpsilon64;
constexpr double kLargestDouble = 1.7976931348623157e308;  // beyond is infinity, or NaN

// What is optimal: the gap of a pixel, relative to (|y - centre| + max |R_j|)^2.
constexpr double kCertified = 1e-12;

// The first guess: standard deviations of its noise that an abundance must reach.
constexpr double kSignificant = 0.5;

// Rounds. Share of the largest violation with which an endmember enters, too; and that long: single
// entries are slower, but were never seen to cycle.
constexpr float kEnter = 0.5f, kOnlyLargest = 0.999999f;
constexpr int kBoldRounds = 8, kBoldWideRounds = 2;  // the latter of float64, on the CPU
constexpr int kNarrowRounds = 24;                    // of float32
constexpr int kWideRounds = 32;                      // of float64
constexpr int kPasses = 1;                           // of dropping what is negative in a round
constexpr int kMaxEndmembers = 64;  // of all rounds: supports are bit masks of one word

// Rounds in fixed lanes (fcls/dense.h): beyond these endmembers eliminating all of them costs more
// than gathering a support's, beyond these rounds a lane waits for few others.
constexpr int kDenseEndmembers = 16, kDenseRounds = 4;

// Rounds of one thread (fcls/device_lane.h): in float32, supports tried in float64, corrections of
// each, of which one this small, beside the largest x, is the last.
constexpr int kLaneRounds = 14, kLaneSupports = 5, kLaneRefines = 12;
constexpr double kLaneSettled = 2e-13;

// The monotone active set: at most so many steps an endmember and as many more (rounding could
// bring a support back), and a step's share of the objective that is progress beyond rounding.
constexpr int kStepsEach = 20, kStepsMore = 50;
constexpr double kProgress = 1e-14;

}  // namespace hud
