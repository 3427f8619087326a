// Long work that Ctrl-C ends: it is cut into parts of a fraction of a second, and Python's signal
// handlers run between them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "common/parallel.h"

namespace hud {

// Runs the handlers of signals that have come, and throws what they raise: every fifth of a second
// at most, and only in Python's main thread, as Python does. Not for use inside of parallel work.
void poll_signals();

// Remembers which thread is Python's main one.
void register_interrupt();

// Items of so many multiply-adds each that surely take a fraction of a second.
inline int64_t short_part(double each, int threads) {
  return static_cast<int64_t>(2e9 / std::max(each, 1.0) * std::max(threads, 1));
}

// As parallel_ranges, a part of the range at a time; `first` is the length of the first.
template <typename Work>
void interruptible_ranges(int64_t count, int64_t grain, int64_t first, int threads,
                          const Work& work) {
  using Clock = std::chrono::steady_clock;
  constexpr double kPart = 0.25;  // seconds
  const int64_t least = grain * parallel_pieces(threads);
  int64_t part = std::max(first, least);
  for (int64_t done = 0; done < count;) {
    // A short remainder would leave threads idle.
    const int64_t rest = count - done, now = rest < part + part / 2 ? rest : part;
    const Clock::time_point start = Clock::now();
    parallel_ranges(now, grain, threads, [&](int piece, int64_t begin, int64_t end) {
      work(piece, done + begin, done + end);
    });
    done += now;
    poll_signals();
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    const double growth = std::min(4.0, kPart / std::max(took, 1e-9));
    part = std::max(least, static_cast<int64_t>(static_cast<double>(now) * growth));
  }
}

}  // namespace hud
