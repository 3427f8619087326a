// Cutting a row range among threads. The count comes with each call (torch.get_num_threads()),
// never from a global.
#pragma once

#include <cstdint>

namespace hud {

// Calls work(thread, begin, end) on pieces of [0, count). One piece in the caller's thread where
// the work is smaller than two grains: a parallel region costs more than it gains there, and after
// a fork only one thread is safe.
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
  const int64_t cut = pieces < wanted ? pieces : wanted;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (int64_t piece = 0; piece < cut; ++piece) {
    const int64_t begin = count * piece / cut;
    const int64_t end = count * (piece + 1) / cut;
    work(static_cast<int>(piece), begin, end);
  }
}

// Upper bound of the first argument that parallel_ranges passes to `work`, for scratch allocated
// beforehand.
inline int64_t parallel_pieces(int threads) {
  return threads <= 1 ? 1 : static_cast<int64_t>(threads) * 4;
}

}  // namespace hud
