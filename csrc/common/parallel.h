// Cutting a row range among threads. The count comes with each call, never from a global.
#pragma once

#include <cstdint>

namespace hud {

// One range of work, cut into pieces that whoever is awake takes (parallel.cpp).
struct PieceWork {
  void (*call)(const void* work, int piece, int64_t begin, int64_t end);
  const void* work;
  int64_t count, pieces;
};

// Does all pieces in the caller's thread and in up to `threads` - 1 others; what one piece throws,
// the caller gets.
void run_pieces(const PieceWork& work, int threads);

// From here on never more than `cores` threads, whatever a call asks for.
void limit_threads(int cores);

// Calls work(piece, begin, end) on pieces of [0, count). One piece in the caller's thread where the
// work is smaller than two grains: waking others costs more than it gains there.
template <typename Work>
void parallel_ranges(int64_t count, int64_t grain, int threads, const Work& work) {
  const int64_t pieces = grain > 0 ? (count + grain - 1) / grain : count;
  if (threads > pieces) threads = static_cast<int>(pieces);
  if (threads <= 1) {
    if (count > 0) work(0, int64_t{0}, count);
    return;
  }
  // Four pieces a thread even out rows of unequal cost; which thread takes which never changes a
  // result.
  const int64_t wanted = static_cast<int64_t>(threads) * 4;
  const auto call = [](const void* of, int piece, int64_t begin, int64_t end) {
    (*static_cast<const Work*>(of))(piece, begin, end);
  };
  run_pieces({call, &work, count, pieces < wanted ? pieces : wanted}, threads);
}

// Upper bound of the first argument that parallel_ranges passes to `work`, for scratch allocated
// beforehand.
inline int64_t parallel_pieces(int threads) {
  return threads <= 1 ? 1 : static_cast<int64_t>(threads) * 4;
}

}  // namespace hud
