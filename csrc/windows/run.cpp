// The search: a float32 pass that keeps every window whose bound reaches the best, then float64
// from the inputs. Where more windows tie than a list holds, a float64 pass tells them apart; what
// even that cannot bound is rescored at every window.
//
// Every decision rests on bounds or on float64 scores of the inputs, so an answer does not depend
// on tiles, groups of blocks or threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "common/interrupt.h"
#include "common/parallel.h"
#include "windows/scene.h"

namespace hud {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kTie = 1e-11;  // scores that differ by less count as tied
constexpr int64_t kGroups = 8;  // groups whose spectra are kept at once, at most

// Scratch for as many tasks as run at once.
class Workspaces {
 public:
  Workspaces(int64_t bytes, int count) : each_((bytes + 63) / 64 * 64) {
    all_ = aligned_bytes(each_ * count);
    for (int i = 0; i < count; ++i) free_.push_back(all_.get() + i * each_);
  }
  char* take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    char* p = free_.back();
    free_.pop_back();
    return p;
  }
  void give(char* p) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(p);
  }

 private:
  int64_t each_;
  AlignedBytes all_;
  std::vector<char*> free_;
  std::mutex mutex_;
};

struct Group {
  AlignedBytes packed, spectra;
  std::vector<double> numbers;  // along, norm, constant, power
  BlockGroup view;

  Group(int64_t packed_bytes, int64_t spectra_bytes, int64_t lanes)
      : packed(aligned_bytes(packed_bytes)),
        spectra(spectra_bytes > 0 ? aligned_bytes(spectra_bytes) : AlignedBytes()),
        numbers(static_cast<size_t>(4 * lanes)) {
    double* n = numbers.data();
    view = {packed.get(), spectra.get(), n, n + lanes, n + 2 * lanes, n + 3 * lanes};
  }
};

CandidateList empty_list(const Apart* apart) {
  CandidateList list = {};
  if (apart != nullptr) list.apart = *apart;
  list.least = list.dropped = -kInfinity;
  list.weakest = -1;
  return list;
}

const Apart* apart_of(const WindowQuery& query, const std::vector<int64_t>& blocks, int64_t i) {
  const bool any = query.apart != nullptr && i < static_cast<int64_t>(blocks.size());
  return any ? query.apart + blocks[static_cast<size_t>(i)] : nullptr;
}

// Multiply-adds of one block and a row of windows.
double row_work(const WindowJob& job) {
  return static_cast<double>(job.columns) * job.block_height * job.block_width * job.channels;
}

bool overflowed(const CandidateList& list) { return list.count > 0 && list.dropped >= list.least; }

// What one list would have kept of the offers that two lists got.
void merge(CandidateList& into, const CandidateList& from) {
  into.least = std::max(into.least, from.least);
  into.dropped = std::max(into.dropped, from.dropped);
  into.widest = std::max(into.widest, from.widest);
  struct Entry {
    double most;
    int64_t position;
  };
  std::vector<Entry> all;
  for (const CandidateList* list : {static_cast<const CandidateList*>(&into), &from})
    for (int64_t i = 0; i < list->count; ++i)
      if (list->most[i] >= into.least) all.push_back({list->most[i], list->position[i]});
  std::sort(all.begin(), all.end(), [&](const Entry& a, const Entry& b) {
    if (into.by_position) return a.position < b.position;
    return ahead(a.most, a.position, b.most, b.position);
  });
  into.count = std::min<int64_t>(static_cast<int64_t>(all.size()), kCandidates);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i >= kCandidates) {
      into.dropped = std::max(into.dropped, all[i].most);
      continue;
    }
    into.most[i] = all[i].most;
    into.position[i] = all[i].position;
  }
}

// The one number all windows' sums are multiplied with, or 0 where they differ.
double common_scale(const double* scale, int64_t count) {
  double common = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (scale[i] != scale[i]) continue;
    if (common == 0) common = scale[i];
    if (!(scale[i] == common) || !(common > 0)) return 0;
  }
  return common;
}

// Maps in the order of the tiles; positions beyond the scene are holes.
template <typename T>
struct TileMaps {
  std::vector<T> along, scale, hole;
  std::vector<double> along_max;

  TileMaps(const WindowJob& job, const std::vector<double>& term, const double* window_scale,
           bool one_scale, int threads) {
    const int64_t tiles = job.tiles_down * job.tiles_across;
    const int64_t each = job.steps_down * job.steps_across;
    along.assign(static_cast<size_t>((tiles + 1) * each), T(0));
    scale.assign(along.size(), T(0));
    hole.assign(along.size(), -std::numeric_limits<T>::infinity());
    along_max.assign(static_cast<size_t>((tiles + 1) / 2), 0.0);
    parallel_ranges((tiles + 1) / 2, 1, threads, [&](int, int64_t begin, int64_t end) {
      for (int64_t tile = 2 * begin; tile < 2 * end && tile < tiles; ++tile) {
        const int64_t top = tile / job.tiles_across * job.steps_down,
                      left = tile % job.tiles_across * job.steps_across;
        for (int64_t y = 0; y < std::min(job.steps_down, job.rows - top); ++y)
          for (int64_t x = 0; x < std::min(job.steps_across, job.columns - left); ++x) {
            const int64_t from = (top + y) * job.columns + left + x;
            if (window_scale[from] != window_scale[from]) continue;
            const int64_t to = tile * each + y * job.steps_across + x;
            along[to] = static_cast<T>(term[from]);
            scale[to] = one_scale ? T(1) : static_cast<T>(window_scale[from]);
            hole[to] = T(0);
            along_max[tile / 2] = std::max(along_max[tile / 2], std::abs(term[from]));
          }
      }
    });
  }
};

}  // namespace

template <typename T>
std::vector<CandidateList> WindowScene::transform_pass(const WindowQuery& query,
                                                       const std::vector<int64_t>& blocks,
                                                       const std::vector<CandidateList>* before,
                                                       int threads) {
  constexpr bool narrow = sizeof(T) == sizeof(float);
  const WindowJob job = job_of<T>();
  const WindowKernels& kernels = narrow ? kernels_->f32 : kernels_->f64;
  const int64_t lanes = kernels.lanes, vector = lanes * static_cast<int64_t>(sizeof(T));
  const int64_t count = static_cast<int64_t>(blocks.size()), K = shape_.channels;
  const int64_t groups = (count + lanes - 1) / lanes, pairs = plan_.pairs();
  const double common = common_scale(query.window_scale, job.rows * job.columns);
  const bool one_scale = common > 0;
  const TileMaps<T> maps(job, along_, query.window_scale, one_scale, threads);
  const WindowMaps view = {maps.along.data(), maps.scale.data(), maps.hole.data(),
                           maps.along_max.data()};
  BlockInput input = query.blocks;
  input.which = blocks.data();
  input.count = count;

  // How much is done at once: pairs with one read of the blocks' spectra, groups with one
  // computation of the scene's.
  const bool resident = narrow && spectra_ != nullptr;
  const int64_t each = pair_bytes(shape_, plan_, sizeof(T));
  const int64_t group_size = group_bytes(shape_, plan_, vector);
  int64_t together = kPairs;
  const auto work_of = [&](int64_t n) {
    const int64_t spectra = resident ? 0 : n * each;
    return spectra + vector * std::max({scene_work(job), block_work(job), correlate_work(job, n)});
  };
  int64_t room = options_.memory_limit > 0 ? options_.memory_limit - map_bytes(shape_, plan_, 8)
                                           : std::numeric_limits<int64_t>::max();
  if (spectra_ != nullptr && options_.memory_limit > 0)
    room -= pairs * pair_bytes(shape_, plan_, sizeof(float));
  const auto fits = [&](int64_t n, int64_t workers, int64_t wave) {
    return options_.memory_limit <= 0 || work_of(n) * workers + group_size * wave <= room;
  };
  while (together > 1 && !resident && !fits(together, 1, 1)) together /= 2;
  const int64_t chunks = (pairs + together - 1) / together;
  while (threads > 1 && !fits(together, threads, 1)) --threads;
  int64_t wave =
      resident ? (threads <= 1 || chunks >= 8 * threads ? 1 : 4 * threads / chunks + 1) : kGroups;
  wave = std::min(wave, groups);
  while (wave > 1 && !fits(together, threads, wave)) --wave;

  const int64_t packed_bytes = shape_.block_height * shape_.block_width * K * vector;
  std::vector<Group> held;
  for (int64_t g = 0; g < wave; ++g)
    held.emplace_back(packed_bytes, group_size - packed_bytes, lanes);
  Workspaces work(work_of(together), threads);
  const int64_t pieces = parallel_pieces(threads);
  std::vector<CandidateList> lists(static_cast<size_t>(pieces * wave * lanes)),
      best(static_cast<size_t>(count), empty_list(nullptr));

  for (int64_t first = 0; first < groups; first += wave) {
    const int64_t now = std::min(wave, groups - first);
    parallel_ranges(now, 1, threads, [&](int, int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g)
        kernels.pack_blocks(job, input, (first + g) * lanes, one_scale, held[g].view);
    });
    parallel_ranges(now * K, 1, threads, [&](int, int64_t begin, int64_t end) {
      char* scratch = work.take();
      for (int64_t task = begin; task < end;) {
        const int64_t g = task / K, stop = std::min(end, (g + 1) * K);
        kernels.block_spectra(job, held[g].view, task - g * K, stop - g * K, scratch);
        task = stop;
      }
      work.give(scratch);
    });
    for (int64_t i = 0; i < pieces * now * lanes; ++i) {
      const int64_t g = i / lanes % now, lane = i % lanes, block = (first + g) * lanes + lane;
      lists[i] = empty_list(apart_of(query, blocks, block));
      if (block >= count || held[g].view.power[lane] == 0) {
        lists[i].least = kInfinity;  // no offer reaches it
      } else if (before != nullptr) {
        lists[i].by_position = true;
        lists[i].least = (*before)[block].least;
      }
    }
    const double each_task = static_cast<double>(together * pair_bytes(shape_, plan_, 1) * lanes);
    interruptible_ranges(
        chunks * now, 1, short_part(each_task, threads), threads,
        [&](int piece, int64_t begin, int64_t end) {
          char* scratch = work.take();
          double squares[kPairs];
          int64_t there = -1;
          for (int64_t task = begin; task < end; ++task) {
            const int64_t chunk = task / now, g = task % now;
            const int64_t pair = chunk * together, n = std::min(together, pairs - pair);
            const void* spectra = resident ? spectra_.get() + pair * each : scratch;
            char* rest = resident ? scratch : scratch + together * each;
            if (!resident && chunk != there) {
              kernels.scene_spectra(job, pair, n, scratch, squares, rest);
              there = chunk;
            }
            kernels.correlate(job, view, held[g].view, pair, n, spectra,
                              resident ? squares_.data() + pair : squares,
                              lists.data() + (piece * now + g) * lanes, rest);
          }
          work.give(scratch);
        });
    for (int64_t g = 0; g < now; ++g)
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t block = (first + g) * lanes + lane;
        if (block >= count) break;
        best[block] = lists[g * lanes + lane];
        for (int64_t piece = 1; piece < pieces; ++piece)
          merge(best[block], lists[(piece * now + g) * lanes + lane]);
        // In the units of the answer: what `rescore_all` is decided by.
        const double power = held[g].view.power[lane];
        if (power > 0)
          best[block].widest *=
              std::abs(query.block_scale[blocks[block]]) * (one_scale ? common : 1.0) / power;
      }
  }
  return best;
}

std::vector<CandidateList> WindowScene::direct_pass(const WindowQuery& query,
                                                    const std::vector<int64_t>& blocks,
                                                    int threads) {
  const WindowKernels& kernels = kernels_->f32;
  const int64_t lanes = kernels.lanes, count = static_cast<int64_t>(blocks.size());
  const int64_t groups = (count + lanes - 1) / lanes, positions = job_.rows * job_.columns;
  const bool one_scale = common_scale(query.window_scale, positions) > 0;
  std::vector<float> along(static_cast<size_t>(positions)), scale(along), hole(along);
  for (int64_t i = 0; i < positions; ++i) {
    const bool out = query.window_scale[i] != query.window_scale[i];
    along[i] = out ? 0.0f : static_cast<float>(along_[i]);
    scale[i] = out || one_scale ? 1.0f : static_cast<float>(query.window_scale[i]);
    hole[i] = out ? -1.0f : 0.0f;
  }
  const DirectMaps maps = {centred_.data(), along.data(), scale.data(), hole.data(), norm_.data()};
  BlockInput input = query.blocks;
  input.which = blocks.data();
  input.count = count;
  Group group(shape_.block_height * shape_.block_width * shape_.channels * lanes * 4, 0, lanes);
  const int64_t pieces = parallel_pieces(threads);
  std::vector<CandidateList> lists(static_cast<size_t>(pieces * lanes)),
      best(static_cast<size_t>(count), empty_list(nullptr));
  for (int64_t g = 0; g < groups; ++g) {
    kernels.pack_blocks(job_, input, g * lanes, one_scale, group.view);
    for (int64_t i = 0; i < pieces * lanes; ++i) {
      const int64_t block = g * lanes + i % lanes;
      lists[i] = empty_list(apart_of(query, blocks, block));
      if (block >= count || group.view.power[i % lanes] == 0) lists[i].least = kInfinity;
    }
    interruptible_ranges(job_.rows, 1, short_part(row_work(job_) * lanes, threads), threads,
                         [&](int piece, int64_t begin, int64_t end) {
                           kernels_->direct(job_, maps, group.view, begin, end,
                                            lists.data() + piece * lanes);
                         });
    for (int64_t lane = 0; lane < lanes && g * lanes + lane < count; ++lane) {
      CandidateList& list = best[g * lanes + lane];
      list = lists[lane];
      for (int64_t piece = 1; piece < pieces; ++piece) merge(list, lists[piece * lanes + lane]);
    }
  }
  return best;
}

void WindowScene::search(const WindowQuery& query, int threads) {
  tied_ = {};
  std::vector<int64_t> blocks(static_cast<size_t>(query.blocks.count));
  for (size_t b = 0; b < blocks.size(); ++b) blocks[b] = static_cast<int64_t>(b);
  if (blocks.empty()) return;
  std::vector<CandidateList> lists = plan_.transforms
                                         ? transform_pass<float>(query, blocks, nullptr, threads)
                                         : direct_pass(query, blocks, threads);
  std::vector<int64_t> tied;
  const auto settle = [&](int pass) {
    tied.clear();
    std::vector<int64_t> ready;
    for (size_t i = 0; i < blocks.size(); ++i)
      (overflowed(lists[i]) ? tied : ready).push_back(static_cast<int64_t>(i));
    parallel_ranges(static_cast<int64_t>(ready.size()), 1, threads,
                    [&](int, int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i)
                        rescore(query, blocks[ready[i]], lists[ready[i]]);
                    });
    tied_[pass] = static_cast<int64_t>(tied.size());
    std::vector<int64_t> left;
    std::vector<CandidateList> kept;
    for (const int64_t i : tied) {
      left.push_back(blocks[i]);
      kept.push_back(lists[i]);
    }
    blocks = left;
    lists = kept;
  };
  settle(0);
  if (!blocks.empty() && plan_.transforms) {
    lists = transform_pass<double>(query, blocks, nullptr, threads);
    settle(1);
    if (!blocks.empty()) {  // ties to float64's rounding, or a range no bound can hold
      const std::vector<CandidateList> first = lists;
      lists = transform_pass<double>(query, blocks, &first, threads);
      std::vector<int64_t> wide;
      for (size_t i = 0; i < blocks.size(); ++i) {
        if (first[i].widest <= kTie) {
          rescore(query, blocks[i], lists[i]);
        } else {
          wide.push_back(blocks[i]);
        }
      }
      blocks = wide;
    }
  }
  tied_[2] = static_cast<int64_t>(blocks.size());
  for (const int64_t block : blocks) rescore_all(query, block, threads);
}

namespace {

// The better of two float64 scores, the lower position where they are equal.
struct Best {
  double value = std::numeric_limits<double>::quiet_NaN();
  int64_t found = -1;
  void offer(double other, int64_t position) {
    if (found < 0 || other > value || (other == value && position < found)) {
      value = other;
      found = position;
    }
  }
};

}  // namespace

void WindowScene::answer(const WindowQuery& query, int64_t block, double value,
                         int64_t found) const {
  query.value[block] = value;
  query.position[2 * block] = found < 0 ? -1 : found / job_.columns * shape_.stride;
  query.position[2 * block + 1] = found < 0 ? -1 : found % job_.columns * shape_.stride;
}

void WindowScene::rescore(const WindowQuery& query, int64_t block,
                          const CandidateList& list) const {
  Best best;
  const auto score = [&](int64_t position) {
    const int64_t y = position / job_.columns * shape_.stride,
                  x = position % job_.columns * shape_.stride;
    best.offer(kernels_->exact(job_, query.blocks, block, y, x) * query.window_scale[position] *
                   query.block_scale[block],
               position);
  };
  for (int64_t i = 0; i < list.count; ++i)
    if (list.most[i] >= list.least) score(list.position[i]);
  for (int64_t i = 0; best.found < 0 && i < job_.rows * job_.columns; ++i)
    if (query.window_scale[i] == query.window_scale[i] &&
        !lies_in(list.apart, i / job_.columns, i % job_.columns))
      score(i);  // a zero block: all are equal
  answer(query, block, best.value, best.found);
}

void WindowScene::rescore_all(const WindowQuery& query, int64_t block, int threads) const {
  std::vector<Best> best(static_cast<size_t>(parallel_pieces(threads)));
  interruptible_ranges(
      job_.rows, 1, short_part(row_work(job_), threads), threads,
      [&](int piece, int64_t begin, int64_t end) {
        for (int64_t position = begin * job_.columns; position < end * job_.columns; ++position) {
          const double scale = query.window_scale[position];
          if (scale != scale) continue;
          if (query.apart != nullptr &&
              lies_in(query.apart[block], position / job_.columns, position % job_.columns))
            continue;
          const double sum =
              kernels_->exact(job_, query.blocks, block, position / job_.columns * shape_.stride,
                              position % job_.columns * shape_.stride);
          best[piece].offer(sum * scale * query.block_scale[block], position);
        }
      });
  Best all;
  for (const Best& piece : best)
    if (piece.found >= 0) all.offer(piece.value, piece.found);
  answer(query, block, all.value, all.found);
}

}  // namespace hud
