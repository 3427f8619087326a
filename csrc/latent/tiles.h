// Walking the lines of a contiguous (outer, D, inner) array, a vector of lines at a time: a tile.
//
// inner > 1 (channel-first maps): neighbouring lines lie side by side and are read where they are.
// inner == 1 (band-last rows): as many rows as a vector has lanes are transposed, worked on, and
// transposed back. What is left at an end is padded to a vector of lines: each line is a lane of
// the same arithmetic on every path, so results do not depend on how the work is cut.
//
// A tile's results are written while the next tile is computed: D stores in a row would fill the
// store queue and stop everything (twice the time of a copy at D = 64; 1.3 like this).
#pragma once

#include "latent/transpose.h"

HUD_CORE_BEGIN

constexpr int64_t kLongest = 256;  // largest D that a tile holds: 16 KiB of 64-byte vectors

// Vectors between two buffers: buffers a multiple of a page apart would share the L1's places, and
// a load would wait for any store with the same place in a page.
constexpr int64_t kApart = 5;

// What is read next, asked for line by line while the block before it is worked on. A tile reads a
// little of each of D planes, which no hardware prefetcher follows (22 GB/s where a linear read
// gets 35); this walks the next block plane by plane in long runs, which they do.
template <typename S>
struct Ahead {
  const S* at = nullptr;
  const S* run_end = nullptr;
  int64_t run = 0, plane = 0;  // values read of a plane, and from plane to plane

  HUD_HD void start(const S* block, int64_t width, int64_t inner) {
    at = block;
    run = width;
    plane = inner;
    run_end = at + run;
  }
  // Asks for the next vector's values.
  HUD_HD void step() {
    __builtin_prefetch(at);
    at += kWidth<S>;
    if (at >= run_end) {
      at = run_end - run + plane;
      run_end = at + run;
    }
  }
};

// Where a tile's values come from: a tile in columns, maps as they lie, the first n lanes of maps.
// Rows are read across, which no hardware prefetcher recognises either: each column read asks for
// a vector of a later group.
template <typename S>
struct ColumnSource {
  const VectorOf<S>* columns;
  const S* later;
  HUD_HD VectorOf<S> operator()(int64_t d) const {
    __builtin_prefetch(later + d * kWidth<S>);
    return columns[d];
  }
};
template <typename S>
struct MapSource {
  const S* p;
  int64_t inner;
  Ahead<S>* ahead;
  HUD_HD VectorOf<S> operator()(int64_t d) const {
    ahead->step();
    return load(p + d * inner);
  }
};
template <typename S>
struct PartSource {
  const S* p;
  int64_t inner, n;
  HUD_HD VectorOf<S> operator()(int64_t d) const {
    return n == kWidth<S> ? load(p + d * inner) : load_part(p + d * inner, n);
  }
};
template <typename S>
struct PartSink {
  S* p;
  int64_t inner, n;
  HUD_HD void operator()(int64_t d, VectorOf<S> value) const {
    if (n == kWidth<S>) {
      store(p + d * inner, value);
    } else {
      store_part(p + d * inner, value, n);
    }
  }
};

// A group of rows into columns; 16-bit values are widened on the way, in `scratch`.
template <typename S, typename V>
HUD_HD void read_rows(const S* rows, V* columns, int64_t D, V* scratch) {
  if constexpr (sizeof(S) == sizeof(Element<V>)) {
    rows_to_columns(rows, columns, D);
  } else {
    for (int64_t d = 0; d < D; ++d) scratch[d] = load(rows + d * kWidth<Element<V>>);
    rows_to_columns(reinterpret_cast<const Element<V>*>(scratch), columns, D);
  }
}

// Stores of the tile before: `count` of them, one a call, whole lines of memory past the caches.
template <typename S>
HUD_HD void put(S* to, VectorOf<S> value, bool past) {
  if (past) {
    stream_lanes(to, value);
  } else {
    store(to, value);
  }
}
struct NothingElse {
  HUD_HD void operator()(int64_t) const {}
};
template <typename S>
struct RowsBefore {
  S* to;  // null: no tile before this one
  const VectorOf<S>* values;
  bool past;
  HUD_HD void operator()(int64_t d) const {
    if (to != nullptr) put(to + d * kWidth<S>, values[d], past);
  }
};
template <typename S, typename Kernel>
struct MapsBefore {
  using V = VectorOf<S>;
  const Kernel& kernel;
  S* to;
  int64_t inner;
  const V* a;
  const V* b;
  V state;
  bool past;
  HUD_HD void operator()(int64_t d) const {
    if (to != nullptr)
      put(to + d * inner, kernel.second(d, a[d], b[Kernel::kInputs == 2 ? d : 0], state), past);
  }
};

// Applies `kernel` to lines [begin, end). Line i is (i / inner, i % inner). A kernel has
//   kInputs                                          1 or 2
//   first(a, b, kept_a, kept_b, other, D) -> state   reads a(d), b(d); fills kept_*[0, D); calls
//                                                    other(d) once for each d
//   second(d, kept_a[d], kept_b[d], state)           the result
//   long_line(a, b, out, D)                          D > kLongest: a vector of lines, nothing kept
//   long_row(a, b, out, D)                           a band-last row in memory, lanes along it
// `b` is not read where kInputs == 1. past: write past the caches where whole lines are written.
template <typename S, typename Kernel>
struct LineWalk {
  static constexpr int Inputs = Kernel::kInputs;
  using V = VectorOf<S>;
  static constexpr int L = kWidth<Element<V>>;
  // A plane is written a vector a tile: past the caches only if that is a line of memory.
  static constexpr bool kWholeLines = L * sizeof(S) == 64;
  const Kernel& kernel;
  const S* a;
  const S* b;
  S* out;
  int64_t D, inner;
  bool past;

  void run(int64_t begin, int64_t end) const {
    if (D > kLongest) {
      inner == 1 ? long_rows(begin, end) : long_maps(begin, end);
    } else {
      inner == 1 ? rows(begin, end) : maps(begin, end);
    }
    if (past) stream_fence();
  }

 private:
  void rows(int64_t begin, int64_t end) const {
    V buffer[4 * (kLongest + kApart)];
    V* const columns_a = buffer;
    V* const columns_b = columns_a + D + kApart;
    V* const scratch = columns_b + (Inputs == 2 ? D + kApart : 0);
    V* const results = scratch + D + kApart;
    RowsBefore<S> before{nullptr, results, past && vector_aligned(out + begin * D)};
    // The last rows, padded to a group. They go the way of all others: the group's code is long.
    S part_a[kLongest * L], part_b[Inputs == 2 ? kLongest * L : 1];
    const int64_t last = end - (end - begin) % L;
    const size_t bytes = static_cast<size_t>((end - last) * D) * sizeof(S);
    for (int64_t r = begin; r < end; r += L) {
      const S *from_a = a + r * D, *from_b = b + (Inputs == 2 ? r * D : 0);
      if (r == last) {
        from_a = pad_rows(part_a, from_a, D, bytes);
        if (Inputs == 2) from_b = pad_rows(part_b, from_b, D, bytes);
      }
      row_tile(from_a, from_b, columns_a, columns_b, scratch, before);
      columns_to_rows(columns_a, reinterpret_cast<Element<V>*>(results), D);
      before.to = r == last ? part_a : out + r * D;
      before.past = before.past && r != last;
    }
    for (int64_t d = 0; d < D; ++d) before(d);
    if (last < end) __builtin_memcpy(out + last * D, part_a, bytes);
  }

  static const S* pad_rows(S* to, const S* rows, int64_t D, size_t bytes) {
    __builtin_memset(to, 0, static_cast<size_t>(L * D) * sizeof(S));
    __builtin_memcpy(to, rows, bytes);
    return to;
  }

  // The results of a group of rows, as columns_a.
  template <typename Other>
  HUD_HD void row_tile(const S* from_a, const S* from_b, V* columns_a, V* columns_b, V* scratch,
                       const Other& other) const {
    constexpr int64_t kLeast = 2048 / sizeof(S);
    const int64_t later = L * D > kLeast ? L * D : kLeast;
    read_rows(from_a, columns_a, D, scratch);
    if (Inputs == 2) read_rows(from_b, columns_b, D, scratch);
    const V state =
        kernel.first(ColumnSource<S>{columns_a, from_a + later},
                     ColumnSource<S>{columns_b, from_b + later}, columns_a, columns_b, other, D);
    for (int64_t d = 0; d < D; ++d)
      columns_a[d] = kernel.second(d, columns_a[d], columns_b[Inputs == 2 ? d : 0], state);
  }

  // Blocks of so many lines that D runs of them fit half a small L2, and a run is at most a page.
  int64_t block_width() const {
    const int64_t fits = (int64_t{128} << 10) / (D * static_cast<int64_t>(sizeof(S)) * Inputs);
    const int64_t page = 4096 / static_cast<int64_t>(sizeof(S));
    const int64_t width = fits < page ? fits : page;
    return width < 4 * L ? 4 * L : width - width % (4 * L);
  }

  void maps(int64_t begin, int64_t end) const {
    V buffer[2 * Inputs * (kLongest + kApart)];
    V* const kept_a[2] = {buffer, buffer + D + kApart};
    V* const kept_b[2] = {kept_a[1] + (Inputs == 2 ? D + kApart : 0),
                          kept_a[1] + (Inputs == 2 ? 2 * (D + kApart) : 0)};
    const int64_t width = block_width();
    Ahead<S> ahead_a, ahead_b;
    MapsBefore<S, Kernel> before{kernel,
                                 nullptr,
                                 inner,
                                 kept_a[1],
                                 kept_b[1],
                                 V{},
                                 kWholeLines && past && inner % L == 0 && vector_aligned(out)};
    int64_t block_end = begin;
    int turn = 0;
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner;
      const int64_t offset = (i / inner) * D * inner + within;
      if (i >= block_end) {
        // The block that begins here has been asked for; ask for the one after it.
        const int64_t rest = inner - within;
        const int64_t own = rest < width ? rest : width;
        const int64_t after = rest - own;
        const int64_t next = after > 0 ? offset + own : offset - within + D * inner;
        const int64_t of = after > 0 ? after : inner;
        block_end = i + own;
        ahead_a.start(a + next, of < width ? of : width, inner);
        if (Inputs == 2) ahead_b.start(b + next, of < width ? of : width, inner);
      }
      int64_t left = inner - within < end - i ? inner - within : end - i;
      const int64_t to_boundary = (L - within % L) % L;  // tiles begin where vectors do
      if (to_boundary != 0 && to_boundary < left) left = to_boundary;
      const S* from_a = a + offset;
      const S* from_b = b + (Inputs == 2 ? offset : 0);
      V* now_a = kept_a[turn];
      V* now_b = kept_b[turn];
      if (left >= L) {
        left = L;
        const V state =
            kernel.first(MapSource<S>{from_a, inner, &ahead_a},
                         MapSource<S>{from_b, inner, &ahead_b}, now_a, now_b, before, D);
        before.to = out + offset;
        before.a = now_a;
        before.b = now_b;
        before.state = state;
        turn ^= 1;
      } else {
        const V state =
            kernel.first(PartSource<S>{from_a, inner, left}, PartSource<S>{from_b, inner, left},
                         now_a, now_b, NothingElse{}, D);
        for (int64_t d = 0; d < D; ++d)
          store_part(out + offset + d * inner,
                     kernel.second(d, now_a[d], now_b[Inputs == 2 ? d : 0], state), left);
      }
      i += left;
    }
    for (int64_t d = 0; d < D; ++d) before(d);
  }

  void long_rows(int64_t begin, int64_t end) const {
    for (int64_t r = begin; r < end; ++r)
      kernel.long_row(a + r * D, b + (Inputs == 2 ? r * D : 0), out + r * D, D);
  }

  void long_maps(int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner;
      const int64_t offset = (i / inner) * D * inner + within;
      int64_t left = inner - within < end - i ? inner - within : end - i;
      if (left > L) left = L;
      kernel.long_line(PartSource<S>{a + offset, inner, left},
                       PartSource<S>{b + (Inputs == 2 ? offset : 0), inner, left},
                       PartSink<S>{out + offset, inner, left}, D);
      i += left;
    }
  }
};

HUD_CORE_END
