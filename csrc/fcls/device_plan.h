// How FCLS on a GPU is cut up: group sizes, chunks, shared memory, scratch. Plain host code, the
// same for the launcher, for the emulation and, through the binding, for who allocates.
//
// A chunk is projected by one kernel and solved by the next, so that what lies between stays in the
// second cache. Pixels that the rounds leave go to a list, and one kernel works it off at the end.
#pragma once

#include <algorithm>
#include <cstdint>

namespace hud {

constexpr int kProjectThreads = 256, kSolveThreads = 128, kAloneThreads = 128;
constexpr int kWarpThreads = 32;
constexpr int64_t kThreadMost = 16;  // endmembers that one thread's registers hold

struct FclsPlan {
  int lanes, per_lane;    // a group, and the endmembers of a lane; 0: every pixel goes alone
  int unrolled;           // endmembers that a thread's registers are laid out for, where lanes is 1
  int tiles;              // of 8 columns of the basis
  int64_t bands;          // of the basis in shared memory at a time
  int64_t chunk;          // pixels
  int64_t project_bytes;  // of shared memory
  int64_t table_bytes;    // of shared memory in the rounds; 0: tables are read where they lie
  int64_t project_blocks, solve_blocks, alone_blocks;  // at most
  int64_t alone_values;                                // doubles of one warp's scratch
  // Scratch, in bytes from its start.
  int64_t z, norm, noise, support, count, list, alone, bytes;
};

inline int64_t up_to(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Bytes of a block's tables in the rounds of a group, an endmember a lane.
constexpr int64_t table_bytes(int64_t endmembers, int64_t rank) {
  const int64_t padded = (endmembers + 15) / 16 * 16;
  const int64_t wide = endmembers * padded + 2 * rank * padded + endmembers * rank;
  return (wide * 8 + endmembers * padded * 4 + 15) / 16 * 16;
}
constexpr int64_t kUnaskedBytes = 48 << 10;  // of shared memory that a block gets without asking
// Whether those are enough for a block of the rounds, whose launch asks for no more: the memory of
// its groups, `group_bytes` each, and the largest tables.
constexpr bool fits_unasked(int64_t group_bytes, int lanes, int per_lane) {
  return kSolveThreads / lanes * group_bytes + (per_lane == 1 ? table_bytes(lanes, lanes) : 0) <=
         kUnaskedBytes;
}

// `alone_values` is fcls/device_alone.h's alone_scratch(); `fast`: there are tables for the rounds;
// `refine`: ill-conditioned; `chunk`: pixels, or 0 for the best.
inline FclsPlan plan_fcls(int64_t pixels, int64_t bands, int64_t endmembers, int64_t rank,
                          bool fast, bool refine, int64_t alone_values, int multiprocessors,
                          int64_t chunk) {
  constexpr int64_t kCacheBytes = 24 << 20;  // half of a Hopper's second cache
  constexpr int64_t kBasisBytes = 72 << 10;  // three blocks a multiprocessor
  constexpr int64_t kAloneBytes = 256 << 20;
  FclsPlan p = {};
  p.alone_values = alone_values;
  const int64_t warps =
      std::clamp<int64_t>(kAloneBytes / (alone_values * 8), 4, 8 * multiprocessors);
  const int64_t wanted = up_to(std::max<int64_t>(pixels, 1), 4) / 4;
  p.alone_blocks = std::min(warps / (kAloneThreads / kWarpThreads), wanted);
  int64_t at = 0;
  const auto take = [&](int64_t bytes) {
    const int64_t from = at;
    at += up_to(bytes, 256);
    return from;
  };
  p.count = take(8);
  if (fast) {
    // A thread a pixel needs no shuffles and keeps its factor, in float32: not for ill-conditioned
    // endmembers, whose corrections by it would not settle.
    const bool threads = endmembers <= kThreadMost && rank <= kThreadMost && !refine;
    p.lanes = threads ? 1 : endmembers <= 8 ? 8 : endmembers <= 16 ? 16 : 32;
    p.unrolled = !threads ? 0 : static_cast<int>(up_to(std::max(endmembers, rank), 4));
    p.per_lane = endmembers <= 32 ? 1 : 2;
    p.tiles = rank <= 8 ? 1 : rank <= 16 ? 2 : rank <= 32 ? 4 : 8;
    const int64_t row = int64_t{8} * 8 * p.tiles;
    p.bands = std::min(up_to(bands, 16), std::max<int64_t>(kBasisBytes / row / 16 * 16, 16));
    p.project_bytes = p.bands * row;
    if (p.per_lane == 1) p.table_bytes = table_bytes(endmembers, rank);
    // As many tiles for each of the projection's blocks, which are all at work at once.
    const int64_t even = int64_t{128} * 3 * multiprocessors;
    p.chunk = chunk > 0 ? chunk : std::max<int64_t>(kCacheBytes / (rank * 8 + 16) / even, 1) * even;
    p.chunk = std::min(p.chunk, std::max<int64_t>(pixels, 1));
    p.project_blocks = std::min<int64_t>(up_to(p.chunk, 128) / 128, 3 * multiprocessors);
    const int64_t together = kSolveThreads / p.lanes;
    // Several waves: pixels differ in their rounds. Each block fetches its tables once.
    p.solve_blocks =
        std::min<int64_t>(up_to(p.chunk, together) / together, int64_t{16} * multiprocessors);
    p.z = take(p.chunk * rank * 8);
    p.norm = take(p.chunk * 8);
    p.noise = take(p.chunk * 8);
    p.support = take(threads ? p.chunk * 4 : 0);
    p.list = take(pixels * 8);
  }
  p.alone = take(p.alone_blocks * (kAloneThreads / kWarpThreads) * alone_values * 8);
  p.bytes = at;
  return p;
}

// Whether a lane may read four bands in one piece.
inline bool reads_whole(const void* pixels, int64_t pixel_stride, int64_t band_stride,
                        bool is_float32) {
  const int64_t size = is_float32 ? 4 : 8;
  return band_stride == 1 && pixel_stride * size % 16 == 0 &&
         reinterpret_cast<uintptr_t>(pixels) % 16 == 0;
}

}  // namespace hud
