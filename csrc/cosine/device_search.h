// The pruned cosine search of one tile of queries by one block of threads.
//
// Reference tiles whose box lies beyond what any query can still reach are passed over; the others
// are scored on the tensor cores, and the scores stay in registers: a row's maximum tightens that
// query's bound, and what reaches the bound goes to a queue in shared memory that holds a whole
// tile. The queue is decided at once, in float64 from the raw bands, by sixteen lanes a row
// (device_exact.h). So nothing is kept for later: there is no list that could overflow, and the
// result is the float64 maximum and the lowest row that attains it, in whatever order tiles, lanes
// and atomics came. One pass with a running bound is enough because the nearest tiles come first.
#pragma once

#include "cosine/device_exact.h"
#include "cosine/device_pass.h"

HUD_CORE_BEGIN

HUD_HD void add_work(uint64_t* at, uint64_t n) {
#ifdef __CUDA_ARCH__
  atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(n));
#else
  __atomic_fetch_add(at, n, __ATOMIC_RELAXED);
#endif
}

HUD_HD float between(float lower, float upper, float box_lower, float box_upper) {
  const float above = box_lower - upper, below = lower - box_upper;
  const float apart = above > below ? above : below;
  return apart > 0 ? apart : 0.0f;
}

HUD_HD float limit_of_tile(const SearchShared& s) {
  float most = s.warp_limit[0];
  for (int w = 1; w < kSearchWarps; ++w) most = s.warp_limit[w] > most ? s.warp_limit[w] : most;
  return most;
}

template <typename Group>
HUD_HD void find_limits(const Group& group, const SearchShared& s, float eta) {
  group.each([&](int lane) {
    if (lane < kTile) s.limit[lane] = box_limit(s.reach[lane], eta);
  });
  group.each([&](int lane) {
    if (lane >= kSearchWarps) return;
    float most = -1.0f;
    for (int i = 0; i < kWarpQueries; ++i) {
      const float limit = s.limit[lane * kWarpQueries + i];
      most = limit > most ? limit : most;
    }
    s.warp_limit[lane] = most;
  });
}

// The tile's queries: keys, tested coordinates, and the box round them.
template <typename Group>
HUD_HD void load_queries(const Group& group, const CosineSearchJob& job, int64_t first,
                         const SearchShared& s) {
  const int64_t stride = job.depth + 8;
  group.each([&](int lane) {
    if (lane >= kTile) return;
    const int64_t query = first + lane < job.queries ? job.order[first + lane] : -1;
    const double inverse = query >= 0 ? job.query_inverse[query] : 0.0;
    const bool active = inverse > 0;
    s.query[lane] = active ? query : -1;
    s.inverse[lane] = active ? inverse : 0.0;
    s.reach[lane] = active ? kFar : -1.0f;
    s.rest[lane] = active ? job.keys[query * job.dims + job.dims - 1] : 0.0f;
    s.best[lane] = -2.0;
    s.row[lane] = -1;
  });
  group.each([&](int lane) {
    if (lane < 2) s.count[lane] = 0;
    if (lane < 4) s.work[lane] = 0;
    for (int64_t at = lane; at < kTile * job.depth; at += kSearchThreads) {
      const int64_t i = at / job.depth, k = at % job.depth;
      const bool used = s.query[i] >= 0 && k < job.dims;
      s.keys[i * stride + k] = used ? job.keys[s.query[i] * job.dims + k] : 0.0f;
    }
    for (int64_t at = lane; at < kTile * job.tested; at += kSearchThreads) {
      const int64_t i = at / job.tested, k = at % job.tested;
      s.tests[k * kTile + i] = s.query[i] >= 0 ? job.tests[s.query[i] * job.tested + k] : 0.0f;
    }
  });
  group.each([&](int lane) {
    if (lane >= job.tested) return;
    float lower = __builtin_inff(), upper = -__builtin_inff();
    for (int i = 0; i < kTile; ++i) {
      if (s.query[i] < 0) continue;
      const float value = s.tests[lane * kTile + i];
      lower = value < lower ? value : lower;
      upper = value > upper ? value : upper;
    }
    s.box[2 * lane] = lower;
    s.box[2 * lane + 1] = upper;
  });
}

// The nearest reference tiles, by the middles of the boxes: one of each kSearchWarps-th part.
template <typename Group>
HUD_HD void find_seeds(const Group& group, const CosineSearchJob& job, const SearchShared& s) {
  group.each([&](int lane) {
    float nearest = __builtin_inff();
    int32_t found = -1;
    for (int64_t t = lane; t < job.tiles; t += kSearchThreads) {
      float apart = 0;
      for (int64_t k = 0; k < job.tested; ++k) {
        const float d = (s.box[2 * k] + s.box[2 * k + 1]) -
                        (job.boxes[2 * k * job.tiles + t] + job.boxes[(2 * k + 1) * job.tiles + t]);
        apart += d * d;
      }
      if (apart < nearest) {  // never for a tile without rows: inf - inf is NaN
        nearest = apart;
        found = static_cast<int32_t>(t);
      }
    }
    s.list_distance[lane] = nearest;
    s.list[lane] = found;
  });
  group.each([&](int lane) {
    if (lane >= kSearchWarps) return;
    int best = lane;
    for (int i = lane; i < kSearchThreads; i += kSearchWarps)
      best = s.list_distance[i] < s.list_distance[best] ? i : best;
    s.seed[lane] = s.list[best];
  });
  group.each([&](int lane) {
    if (lane >= kSearchWarps) return;
    s.list[lane] = s.seed[lane];
    s.list_distance[lane] = s.seed[lane] >= 0 ? 0.0f : __builtin_inff();
    s.list_mask[lane] = (1u << kSearchWarps) - 1;
    if (lane == 0) s.count[0] = kSearchWarps;
  });
}

// Lists the tiles of one run of kSearchThreads that some query may reach, and which warps' queries.
template <typename Group>
HUD_HD void list_tiles(const Group& group, const CosineSearchJob& job, int64_t first,
                       const SearchShared& s) {
  group.each([&](int lane) {
    if (lane == 0) s.count[0] = 0;
  });
  group.each([&](int lane) {
    const int64_t t = first + lane;
    if (t >= job.tiles) return;
    for (int w = 0; w < kSearchWarps; ++w)
      if (s.seed[w] == t) return;
    float apart = 0;
    for (int64_t k = 0; k < job.tested; ++k) {
      const float d = between(s.box[2 * k], s.box[2 * k + 1], job.boxes[2 * k * job.tiles + t],
                              job.boxes[(2 * k + 1) * job.tiles + t]);
      apart += d * d;
    }
    if (!(apart <= limit_of_tile(s))) return;
    const int slot = add_shared(s.count, 1);
    s.list[slot] = static_cast<int32_t>(t);
    s.list_distance[slot] = apart;
    s.list_mask[slot] = 0;
  });
  group.each([&](int lane) {
    if (lane == 0) s.work[3] += static_cast<uint64_t>(s.count[0]);
    const int query = lane % kTile;
    for (int i = lane / kTile; i < s.count[0]; i += kSearchThreads / kTile) {
      const float* box = job.boxes + s.list[i];
      float apart = 0;
      for (int64_t k = 0; k < job.tested; ++k) {
        const float at = s.tests[k * kTile + query];
        const float d = between(at, at, box[2 * k * job.tiles], box[(2 * k + 1) * job.tiles]);
        apart += d * d;
      }
      if (apart <= s.limit[query]) or_shared(s.list_mask + i, 1u << (query / kWarpQueries));
    }
  });
}

// The cosines of two entries of the queue, one each half of a warp.
template <typename Warp>
HUD_HD void decide_two(const Warp& warp, const CosineSearchJob& job, const SearchShared& s,
                       const int32_t* rows, int first, int entry, int count) {
  typename Warp::template PerLane<double> share;
  warp.apart([&](int lane) {
    const int at = entry + (lane >> 4);
    share[lane] = 0;
    if (at >= count) return;
    const int code = s.queue[first + at];
    const int i = code / kTile;
    const int64_t row = rows[code % kTile];
    share[lane] = cosine_share({job.query, job.query_float32}, s.query[i], s.inverse[i],
                               {job.reference, job.reference_float32}, row,
                               job.reference_inverse[row], job.bands, lane & 15);
  });
  const auto sum = over_halves(warp, share, 0.0, Added{});
  warp.apart([&](int lane) {
    const int at = entry + (lane >> 4);
    if ((lane & 15) == 0 && at < count) s.value[at] = clamped(sum[lane]);
  });
}

// Decides what the queue holds of one tile, whose rows are `rows`.
template <typename Group>
HUD_HD void decide(const Group& group, const CosineSearchJob& job, const SearchShared& s,
                   const int32_t* rows, float eta) {
  const int queued = s.count[1];
  if (queued == 0) return;
  for (int first = 0; first < queued; first += kSearchThreads) {
    const int count = queued - first < kSearchThreads ? queued - first : kSearchThreads;
    group.each_warp([&](const auto& warp, int w) {
      for (int entry = 2 * w; entry < count; entry += 2 * kSearchWarps)
        decide_two(warp, job, s, rows, first, entry, count);
    });
    group.each([&](int lane) {
      if (lane == 0) s.count[1] = 0;
      if (lane >= kTile) return;
      for (int e = 0; e < count; ++e) {
        const int code = s.queue[first + e];
        if (code / kTile != lane) continue;
        const int32_t row = rows[code % kTile];
        const double value = s.value[e];
        if (value > s.best[lane] || (value == s.best[lane] && row < s.row[lane])) {
          s.best[lane] = value;
          s.row[lane] = row;
        }
      }
      const double apart = 2 - 2 * s.best[lane];
      const float reach = reach_of(static_cast<float>(apart) * kUp, job.bands);
      if (reach < s.reach[lane]) s.reach[lane] = reach;
    });
  }
  find_limits(group, s, eta);
}

// The next listed tile that the bounds still allow.
HUD_HD int next_listed(const SearchShared& s, int at, int count) {
  const float limit = limit_of_tile(s);
  while (at < count && !(s.list_mask[at] != 0 && s.list_distance[at] <= limit)) ++at;
  return at;
}

// Counts what is about to be done; each block has its own sums.
template <typename Group>
HUD_HD void note_work(const Group& group, const SearchShared& s, int mask) {
  group.apart([&](int lane) {
    if (lane != 0) return;
    s.work[0] += 1;
    for (int rest = mask; rest != 0; rest &= rest - 1) s.work[1] += 1;
    s.work[2] += static_cast<uint64_t>(s.count[1]);
  });
}

template <typename Group>
HUD_HD void visit_listed(const Group& group, const CosineSearchJob& job, const SearchShared& s,
                         int buffers, float eta) {
  const int count = s.count[0];
  const int words = static_cast<int>(tile_words(job.depth));
  int at = next_listed(s, 0, count), buffer = 0;
  group.each([](int) {});  // all have read the count before anyone goes on to the next run
  if (at < count) stage(group, job, s.list[at], s.tiles);
  while (at < count) {
    const int next = next_listed(s, at + 1, count);
    const uint32_t* tile = s.tiles + buffer * words;
    if (buffers == 2 && next < count) {
      buffer ^= 1;
      stage(group, job, s.list[next], s.tiles + buffer * words);
      wait_for_stages<1>();
    } else {
      wait_for_stages<0>();
    }
    group.each([](int) {});
    const uint32_t mask = s.list_mask[at];
    group.each_warp([&](const auto& warp, int w) {
      if (mask >> w & 1u) score_warp(warp, w, job, s, tile, eta);
    });
    note_work(group, s, static_cast<int>(mask));
    const int64_t rows = tile_operands(job.depth) + job.depth + kTile + 4;
    decide(group, job, s, reinterpret_cast<const int32_t*>(tile + rows), eta);
    if (buffers == 1 && next < count) stage(group, job, s.list[next], s.tiles);
    at = next;
  }
}

// The queries first to first + kTile - 1 of the job's order, by kSearchThreads lanes.
template <typename Group>
HUD_HD void search_tile(const Group& group, const CosineSearchJob& job, int buffers, int64_t first,
                        char* shared) {
  const SearchShared s = divide_shared(shared, static_cast<int>(job.depth));
  const float eta = key_error(job.bands);
  load_queries(group, job, first, s);
  if (!(s.box[0] <= s.box[1])) return;  // no query takes part
  find_limits(group, s, eta);
  find_seeds(group, job, s);
  visit_listed(group, job, s, buffers, eta);
  const int64_t runs = (job.tiles + kSearchThreads - 1) / kSearchThreads;
  const int64_t start = s.seed[0] >= 0 ? s.seed[0] / kSearchThreads : 0;
  for (int64_t i = 0; i < runs; ++i) {
    const int64_t run = start + i < runs ? start + i : start + i - runs;
    list_tiles(group, job, run * kSearchThreads, s);
    visit_listed(group, job, s, buffers, eta);
  }
  group.each([&](int lane) {
    if (lane < kTile && s.query[lane] >= 0) {
      job.value[s.query[lane]] = s.row[lane] >= 0 ? s.best[lane] : __builtin_nan("");
      job.index[s.query[lane]] = s.row[lane];
    }
    if (lane == 0 && job.work != nullptr) {
      for (int i = 0; i < 4; ++i) add_work(job.work + i, s.work[i]);
    }
  });
}

HUD_CORE_END
