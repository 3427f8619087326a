// The numbers that steer FCLS, the same on the CPU and on the device.
#pragma once

#include "common/platform.h"

HUD_CORE_BEGIN

constexpr int kNarrowRounds = 24;  // of float32
constexpr int kWideRounds = 32;    // of float64
// Share of the largest violation with which an endmember enters, too.
constexpr float kEnter = 0.5f;
// That long: single entries are slower, but were never seen to cycle.
constexpr int kBoldRounds = 8;
constexpr float kOnlyLargest = 0.999999f;
// Standard deviations of its noise that a first guess must reach.
constexpr double kSignificant = 0.5;
constexpr double kCertified = 1e-12;  // the gap of an optimal pixel
constexpr double kLargestDouble = 1.7976931348623157e308;

HUD_CORE_END
