// Walking the lines of a contiguous (outer, D, inner) array, a vector of lines at a time: a tile.
//
// inner > 1 (channel-first maps): map_tiles.h. inner == 1 (band-last rows): softmax of whole
// vectors as whole_rows.h has it; else as many rows as a vector has lanes are transposed, worked
// on, and transposed back. What is left at an end is padded to a vector of lines: each line is a
// lane of the same arithmetic on every path, so results do not depend on how the work is cut.
//
// A tile's results are written while the next tile is computed: D stores in a row would fill the
// store queue and stop everything (twice the time of a copy at D = 64; 1.3 like this).
#pragma once

#include "latent/transpose.h"
#include "latent/whole_rows.h"

HUD_CORE_BEGIN

// Where a tile's values come from. Rows are read across, which no hardware prefetcher recognises:
// each column read asks for a vector of a later group.
template <typename S>
struct ColumnSource {
  const VectorOf<S>* columns;
  const S* later;
  HUD_HD VectorOf<S> operator()(int64_t d) const {
    __builtin_prefetch(later + d * kWidth<S>);
    return columns[d];
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

template <typename S>
struct RowsBefore {
  S* to;  // null: no tile before this one
  const VectorOf<S>* values;
  bool past;
  HUD_HD void operator()(int64_t d) const {
    if (to != nullptr) put(to + d * kWidth<S>, values[d], past);
  }
};
// Applies `kernel` to lines [begin, end). Line i is (i / inner, i % inner). A kernel has
//   kInputs                                          1 or 2
//   kTwice, begin, take, again, end                  in steps, for map_tiles.h
//   row_value(z, d)                                  kTwice: for whole_rows.h
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
      inner == 1 ? short_rows(begin, end)
                 : MapWalk<S, Kernel>{kernel, a, b, out, D, inner, past}.run(begin, end);
    }
    if (past) stream_fence();
  }

 private:
  void short_rows(int64_t begin, int64_t end) const {
    if constexpr (Kernel::kTwice)
      if (D % L == 0) return WholeRows<S, Kernel>{kernel, a, out, D, past}.run(begin, end);
    rows(begin, end);
  }

  void rows(int64_t begin, int64_t end) const {
    V buffer[4 * (kLongest + kApart)];
    V* const columns_a = buffer;
    V* const columns_b = columns_a + D + kApart;
    V* const scratch = columns_b + (Inputs == 2 ? D + kApart : 0);
    V* const results = scratch + D + kApart;
    // Halves are written a quarter of a line at a time: a line left open from tile to tile is lost.
    const bool whole = sizeof(S) == sizeof(Element<V>) || L * D * sizeof(S) % kLine == 0;
    RowsBefore<S> before{nullptr, results, past && whole && vector_aligned(out + begin * D)};
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
