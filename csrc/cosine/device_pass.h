// The float16 pass of the pruned cosine search: one warp's sixteen queries against the 128 rows of
// a reference tile that lies in shared memory. Bounds: device_bounds.h.
#pragma once

#include "common/mma.h"
#include "cosine/device_bounds.h"
#include "cosine/device_job.h"

HUD_CORE_BEGIN

struct SearchShared {
  double* value;      // (kSearchThreads) cosines of the queue's entries
  double* best;       // (kTile) best float64 cosine so far
  double* inverse;    // (kTile)
  int64_t* query;     // (kTile): -1 where there is none
  float* keys;        // (kTile, depth + 8): the rows lie in different banks
  uint32_t* tiles;    // (buffers, tile_words)
  float* tests;       // (tested, kTile)
  float* box;         // (tested, 2)
  float* reach;       // (kTile): rows further off cannot win; negative where there is no query
  float* limit;       // (kTile): the same for squared distances of boxes
  float* rest;        // (kTile): rho
  float* warp_limit;  // (kSearchWarps)
  int32_t* row;       // (kTile) the best row
  int32_t* list;      // (kSearchThreads) tiles to visit
  float* list_distance;
  uint32_t* list_mask;  // the warps that want it
  int32_t* seed;        // (kSearchWarps)
  int32_t* count;       // of the list, of the queue
  uint64_t* work;       // as the job's
  uint16_t* queue;      // (kTile * kTile): query * kTile + column
};

HUD_HD SearchShared divide_shared(char* at, int depth) {
  constexpr CosinePlan p = cosine_plan_with(0, 1);
  SearchShared s;
  s.value = reinterpret_cast<double*>(at + p.value);
  s.best = reinterpret_cast<double*>(at + p.best);
  s.inverse = reinterpret_cast<double*>(at + p.inverse);
  s.query = reinterpret_cast<int64_t*>(at + p.query);
  s.keys = reinterpret_cast<float*>(at + p.keys);
  s.tiles = reinterpret_cast<uint32_t*>(at + p.keys + kTile * (depth + 8) * 4);
  s.tests = reinterpret_cast<float*>(at + p.tests);
  s.box = reinterpret_cast<float*>(at + p.box);
  s.reach = reinterpret_cast<float*>(at + p.reach);
  s.limit = reinterpret_cast<float*>(at + p.limit);
  s.rest = reinterpret_cast<float*>(at + p.rest);
  s.warp_limit = reinterpret_cast<float*>(at + p.warp_limit);
  s.row = reinterpret_cast<int32_t*>(at + p.row);
  s.list = reinterpret_cast<int32_t*>(at + p.list);
  s.list_distance = reinterpret_cast<float*>(at + p.list_distance);
  s.list_mask = reinterpret_cast<uint32_t*>(at + p.list_mask);
  s.seed = reinterpret_cast<int32_t*>(at + p.seed);
  s.count = reinterpret_cast<int32_t*>(at + p.count);
  s.work = reinterpret_cast<uint64_t*>(at + p.work);
  s.queue = reinterpret_cast<uint16_t*>(at + p.queue);
  return s;
}

HUD_HD int add_shared(int32_t* at, int n) {
#ifdef __CUDA_ARCH__
  return atomicAdd(at, n);
#else
  return __atomic_fetch_add(at, n, __ATOMIC_RELAXED);
#endif
}

HUD_HD void or_shared(uint32_t* at, uint32_t bits) {
#ifdef __CUDA_ARCH__
  atomicOr(at, bits);
#else
  __atomic_fetch_or(at, bits, __ATOMIC_RELAXED);
#endif
}

struct Words {
  uint32_t word[4];
};

HUD_HD Words load_words(const uint32_t* from) {
  Words w;
#ifdef __CUDA_ARCH__
  const uint4 all = *reinterpret_cast<const uint4*>(from);
  w.word[0] = all.x;
  w.word[1] = all.y;
  w.word[2] = all.z;
  w.word[3] = all.w;
#else
  for (int i = 0; i < 4; ++i) w.word[i] = from[i];
#endif
  return w;
}

// Starts copying a packed tile to shared memory.
template <typename Group>
HUD_HD void stage(const Group& group, const CosineSearchJob& job, int64_t tile, uint32_t* to) {
  const int64_t words = tile_words(job.depth);
  const uint32_t* from = job.packed + tile * words;
  group.apart([&](int lane) {
    for (int64_t at = 4 * lane; at < words; at += 4 * kSearchThreads) {
#ifdef __CUDA_ARCH__
      const uint32_t target = static_cast<uint32_t>(__cvta_generic_to_shared(to + at));
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target),
                   "l"(__cvta_generic_to_global(from + at))
                   : "memory");
#else
      __builtin_memcpy(to + at, from + at, 16);
#endif
    }
#ifdef __CUDA_ARCH__
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
  });
}

// Waits for this thread's copies, all but the latest `Left` stages; a barrier must follow.
template <int Left>
HUD_HD void wait_for_stages() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
#endif
}

using TileScores = FragmentC<kTile>;

// Adds the product of the warp's queries, centred and rounded, with the tile's operands to
// `scores`, and the squared lengths of the rounded queries' two rows to `low` and `high`.
template <typename Warp>
HUD_HD void tile_product(const Warp& warp, const float* keys, const uint32_t* tile,
                         const float* centre, int depth,
                         typename Warp::template PerLane<TileScores>& scores,
                         typename Warp::template PerLane<float>& low,
                         typename Warp::template PerLane<float>& high) {
  for (int first = 0; first < depth; first += kMmaDepth) {
    typename Warp::template PerLane<FragmentA> a;
    warp.apart([&](int lane) {
      HUD_UNROLL
      for (int reg = 0; reg < 4; ++reg) {
        const int k = first + a_depth(lane, 2 * reg);
        const float* key = keys + a_row(lane, 2 * reg) * (depth + 8) + k;
        const uint32_t both =
            pack_halves((key[0] - centre[k]) * kScale, (key[1] - centre[k + 1]) * kScale);
        const float x = low_half(both), y = high_half(both);
        a[lane].reg[reg] = both;
        (reg & 1 ? high[lane] : low[lane]) += x * x + y * y;
      }
    });
    const uint32_t* operands = tile + first / kMmaDepth * 1024;
    HUD_UNROLL
    for (int pair = 0; pair < kTile / kMmaColumns / 2; ++pair) {
      typename Warp::template PerLane<FragmentB> b, c;
      warp.apart([&](int lane) {
        const Words w = load_words(operands + (pair * 32 + lane) * 4);
        b[lane] = {{w.word[0], w.word[1]}};
        c[lane] = {{w.word[2], w.word[3]}};
      });
      mma(warp, a, b, scores, 2 * pair);
      mma(warp, a, c, scores, 2 * pair + 1);
    }
  }
}

struct LargerFloat {
  HUD_HD float operator()(float a, float b) const {
#ifdef __CUDA_ARCH__
    return fmaxf(a, b);
#else
    return b > a ? b : a;
#endif
  }
};
struct AddedFloat {
  HUD_HD float operator()(float a, float b) const { return a + b; }
};

// The same number, of which the compiler knows nothing: what is made of it here is not made ahead
// of the loop over tiles and kept in registers that the scores need.
HUD_HD int opaque(int value) {
#ifdef __CUDA_ARCH__
  asm volatile("" : "+r"(value));
#endif
  return value;
}

// Puts the scores of one row that reach `least` into the queue.
HUD_HD void queue_row(const SearchShared& s, const TileScores& scores, int lane, int half, int row,
                      float least) {
  const int code = opaque(row * kTile + c_column(lane, 0));
  HUD_UNROLL
  for (int n = 0; n < kTile / kMmaColumns; ++n) {
    HUD_UNROLL
    for (int i = 0; i < 2; ++i) {
      if (!(scores.v[n][2 * half + i] >= least)) continue;
      s.queue[add_shared(s.count + 1, 1)] = static_cast<uint16_t>(code + n * kMmaColumns + i);
    }
  }
}

// Warp w's queries at one reference tile.
template <typename Warp>
HUD_HD void score_warp(const Warp& warp, int w, const CosineSearchJob& job, const SearchShared& s,
                       const uint32_t* tile, float eta) {
  const int depth = static_cast<int>(job.depth);
  const float* centre = reinterpret_cast<const float*>(tile + tile_operands(depth));
  const float* bias = centre + depth;
  const TileBounds bounds = {bias[kTile], bias[kTile + 1], bias[kTile + 2]};
  typename Warp::template PerLane<TileScores> scores;
  typename Warp::template PerLane<float> low, high;
  warp.apart([&](int lane) {
    low[lane] = high[lane] = 0.0f;
    HUD_UNROLL
    for (int n = 0; n < kTile / kMmaColumns; ++n) HUD_UNROLL
    for (int i = 0; i < 4; ++i)
      scores[lane].v[n][i] = bias[n * kMmaColumns + c_column(lane, i & 1)];
  });
  tile_product(warp, s.keys + w * kWarpQueries * (depth + 8), tile, centre, depth, scores, low,
               high);
  low = over_quads(warp, low, AddedFloat{});
  high = over_quads(warp, high, AddedFloat{});
  typename Warp::template PerLane<float> low_best, high_best, low_most, high_most;
  warp.apart([&](int lane) {
    const LargerFloat larger;
    float l = kNoRow, h = kNoRow;
    HUD_UNROLL
    for (int n = 0; n < kTile / kMmaColumns; ++n) {
      l = larger(l, larger(scores[lane].v[n][0], scores[lane].v[n][1]));
      h = larger(h, larger(scores[lane].v[n][2], scores[lane].v[n][3]));
    }
    low_best[lane] = l;
    high_best[lane] = h;
  });
  low_most = over_quads(warp, low_best, LargerFloat{});
  high_most = over_quads(warp, high_best, LargerFloat{});
  // The four lanes of a row find the same bounds; one of them writes, when all have read.
  typename Warp::template PerLane<float> low_reach, high_reach, low_least, high_least;
  warp.each([&](int lane) {
    HUD_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = w * kWarpQueries + c_row(lane, 2 * half);
      const float square = half ? high[lane] : low[lane];
      const float best = half ? high_most[lane] : low_most[lane];
      float reach = s.reach[row];
      float least = __builtin_inff();
      if (reach >= 0) {
        const PassBounds b = pass_bounds(square, bounds, eta, depth);
        least = score_at_least(square, reach, b);
        if (best >=
            least) {  // seldom, once the nearest tiles have been seen; never a lane without a row
          const float rest_error = root(cosine_rounding(job.bands));
          const float gap = 4.0f * (s.rest[row] + rest_error) * (bounds.rest + rest_error);
          const float closer = reach_of(distance_at_most(square, best, b, gap), job.bands);
          reach = closer < reach ? closer : reach;
          least = score_at_least(square, reach, b);
        }
      }
      (half ? high_reach[lane] : low_reach[lane]) = reach;
      (half ? high_least[lane] : low_least[lane]) = least;
    }
  });
  warp.each([&](int lane) {
    const int row = w * kWarpQueries + c_row(lane, 0);
    if ((lane & 3) == 0) {
      s.reach[row] = low_reach[lane];
      s.reach[row + 8] = high_reach[lane];
    }
    if (low_best[lane] >= low_least[lane])
      queue_row(s, scores[lane], lane, 0, row, low_least[lane]);
    if (high_best[lane] >= high_least[lane])
      queue_row(s, scores[lane], lane, 1, row + 8, high_least[lane]);
  });
}

HUD_CORE_END
