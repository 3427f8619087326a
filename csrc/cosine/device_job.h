// What the pruned cosine search on a GPU reads and writes, and how a block divides its shared
// memory: plain data and sizes, the same for launchers, emulation and bindings.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define HUD_SIZES __host__ __device__ constexpr
#else
#define HUD_SIZES constexpr
#endif

namespace hud {

constexpr int kTile = 128;  // queries and reference rows of a tile
constexpr int kSearchThreads = 256;
constexpr int kSearchWarps = kSearchThreads / 32;
constexpr int kWarpQueries = kTile / kSearchWarps;
constexpr int kTested = 17;     // leading coordinates that boxes are tested in, at most
constexpr int kDepthStep = 16;  // a key is padded to a multiple of this
constexpr int64_t kMostDepth = 224;

// A packed reference tile, in 4-byte words: float16 operands in the order that lanes read them,
// centre (depth), bias (kTile), what bounds need of it (4), and its rows (kTile).
HUD_SIZES int64_t tile_operands(int64_t depth) { return depth * kTile / 2; }
HUD_SIZES int64_t tile_words(int64_t depth) { return tile_operands(depth) + depth + 2 * kTile + 4; }

// Keys of both sides: (n, dims) float32, coordinates B'(y - m) and the rest's length; `tested`:
// (n, tested) float32, what boxes are tested in (see hud_fast/kernels/cosine/device.py).
struct CosinePackJob {
  const float* keys;
  const float* tests;
  const double* inverse;  // (P): rows of 0 and NaN take no part
  const int32_t* row;     // (tiles, kTile): -1 where there is none
  int64_t tiles, dims, depth, tested;
  uint32_t* packed;  // (tiles, tile_words(depth))
  float* boxes;      // (tested, 2, tiles): lower and upper sides
};

struct CosineSearchJob {
  const void* reference;  // (P, bands)
  bool reference_float32;
  const double* reference_inverse;
  const uint32_t* packed;
  const float* boxes;
  int64_t tiles;
  int64_t bands, dims, depth, tested;

  const void* query;  // (Q, bands)
  bool query_float32;
  const double* query_inverse;  // (Q): 0 and NaN take no part
  const float* keys;            // (Q, dims)
  const float* tests;           // (Q, tested)
  const int64_t* order;         // (Q): neighbours together
  int64_t queries;

  double* value;   // (Q): written for queries that take part
  int64_t* index;  // (Q)
  uint64_t* work;  // null, or 4 sums: tiles scored, warps scored, rows decided, boxes listed
};

// Offsets of a block's shared memory, in bytes. All but that of `tiles` are the same for every
// search, so that the kernel has them as constants.
struct CosinePlan {
  int32_t buffers;  // reference tiles held at once
  int32_t value, best, inverse, query, work, reach, limit, rest, warp_limit, row, list,
      list_distance, list_mask, seed, count, box, tests, queue, keys, tiles, bytes;
};

constexpr int64_t kMostShared = 232448;  // 227 KiB: a block's share on sm_90 and sm_100

HUD_SIZES int32_t take(int32_t& at, int64_t bytes) {
  const int32_t here = at;
  at += static_cast<int32_t>((bytes + 15) / 16 * 16);
  return here;
}

HUD_SIZES CosinePlan cosine_plan_with(int64_t depth, int32_t buffers) {
  CosinePlan p = {};
  int32_t at = 0;
  p.buffers = buffers;
  p.value = take(at, kSearchThreads * 8);
  p.best = take(at, kTile * 8);
  p.inverse = take(at, kTile * 8);
  p.query = take(at, kTile * 8);
  p.work = take(at, 4 * 8);
  p.reach = take(at, kTile * 4);
  p.limit = take(at, kTile * 4);
  p.rest = take(at, kTile * 4);
  p.warp_limit = take(at, kSearchWarps * 4);
  p.row = take(at, kTile * 4);
  p.list = take(at, kSearchThreads * 4);
  p.list_distance = take(at, kSearchThreads * 4);
  p.list_mask = take(at, kSearchThreads * 4);
  p.seed = take(at, kSearchWarps * 4);
  p.count = take(at, 2 * 4);
  p.box = take(at, kTested * 2 * 4);
  p.tests = take(at, kTested * kTile * 4);
  p.queue = take(at, kTile * kTile * 2);
  p.keys = take(at, kTile * (depth + 8) * 4);
  p.tiles = take(at, buffers * tile_words(depth) * 4);
  p.bytes = at;
  return p;
}

// Two reference tiles at once where they fit.
constexpr CosinePlan cosine_plan(int64_t depth, int64_t shared) {
  const CosinePlan two = cosine_plan_with(depth, 2);
  return two.bytes <= shared ? two : cosine_plan_with(depth, 1);
}

static_assert(cosine_plan_with(kMostDepth, 1).bytes <= kMostShared, "the longest keys fit a block");

}  // namespace hud
