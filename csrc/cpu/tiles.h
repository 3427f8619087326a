// Walking the lines of a contiguous (outer, D, inner) array in tiles of NV vectors of lines.
//
// inner > 1 (channel-first maps): neighbouring lines lie side by side and are read where they are.
// inner == 1 (band-last rows): as many rows as a vector has lanes are transposed into a tile, worked
// on there, and transposed back. What is left at an end is padded to a vector of lines: each line is
// a lane of the same arithmetic on every path, so results do not depend on how the work is cut.
#pragma once

#include "cpu/transpose.h"

HUD_CORE_BEGIN

constexpr int kTileVectors = 256;  // 16 KiB of 64-byte vectors: half of a small L1
constexpr int64_t kLongest = kTileVectors;  // largest D that a tile holds

// Values kept in a tile.
template <int NV, typename V>
struct TileSource {
  static constexpr bool kKept = true;
  const V* tile;
  HUD_HD V operator()(int64_t d, int v) const { return tile[d * NV + v]; }
};
template <int NV, typename V>
struct TileSink {
  V* tile;
  HUD_HD void operator()(int64_t d, int v, V value) const { tile[d * NV + v] = value; }
};

// Values of maps, where they lie. Not kept: the values of a line lie a power of two apart as often
// as not, and then share so few places of the L1 that a second reading would miss it.
template <typename S>
struct MapSource {
  static constexpr bool kKept = false;
  const S* p;
  int64_t inner;
  HUD_HD VectorOf<S> operator()(int64_t d, int v) const {
    return load_lanes(p + d * inner + v * kLanesOf<VectorOf<S>>);
  }
};
template <typename S, bool Stream>
struct MapSink {
  S* p;
  int64_t inner;
  HUD_HD void operator()(int64_t d, int v, VectorOf<S> value) const {
    S* to = p + d * inner + v * kLanesOf<VectorOf<S>>;
    if constexpr (Stream) {
      stream_lanes(to, value);
    } else {
      store_lanes(to, value);
    }
  }
};
// The first n lanes of maps: the end of a row of tiles.
template <typename S>
struct PartSource {
  static constexpr bool kKept = false;
  const S* p;
  int64_t inner, n;
  HUD_HD VectorOf<S> operator()(int64_t d, int) const { return load_part(p + d * inner, n); }
};
template <typename S>
struct PartSink {
  S* p;
  int64_t inner, n;
  HUD_HD void operator()(int64_t d, int, VectorOf<S> value) const {
    store_part(p + d * inner, value, n);
  }
};

// A full group of rows into columns; 16-bit values are widened on the way.
template <typename S, typename V>
HUD_HD void read_rows(const S* rows, V* columns, int64_t step, int64_t D, V* scratch) {
  using T = Element<V>;
  if constexpr (sizeof(S) == sizeof(T)) {
    rows_to_columns(rows, columns, step, D);
  } else {
    T* wide = reinterpret_cast<T*>(scratch);
    for (int64_t d = 0; d < D; ++d) scratch[d] = load_lanes(rows + d * kLanesOf<V>);
    rows_to_columns(static_cast<const T*>(wide), columns, step, D);
  }
}
template <typename S, typename V>
HUD_HD void write_rows(const V* columns, int64_t step, S* rows, int64_t D, V* scratch) {
  using T = Element<V>;
  if constexpr (sizeof(S) == sizeof(T)) {
    columns_to_rows(columns, step, rows, D);
  } else {
    columns_to_rows(columns, step, reinterpret_cast<T*>(scratch), D);
    for (int64_t d = 0; d < D; ++d) store_lanes(rows + d * kLanesOf<V>, scratch[d]);
  }
}

// Applies `kernel` to lines [begin, end). Line i is (i / inner, i % inner). A kernel has
//   lines<NV>(a, b, kept_a, kept_b, out, D)   D <= kLongest; kept_*: (D, NV) vectors of scratch
//   long_line(a, b, out, D)                   one vector of lines, nothing kept
//   long_row(a, b, out, D)                    one band-last row in memory, lanes along it
// `b` is not read where Inputs == 1. Stream: write past the caches where the layout allows it.
template <int Inputs, typename S, typename Kernel>
struct LineWalk {
  using V = VectorOf<S>;
  static constexpr int L = kLanesOf<V>;
  const Kernel& kernel;
  const S* a;
  const S* b;
  S* out;
  int64_t D, inner;
  bool stream;

  void run(int64_t begin, int64_t end) const {
    if (inner == 1) {
      if (D > kLongest) {
        for (int64_t r = begin; r < end; ++r)
          kernel.long_row(a + r * D, Inputs == 2 ? b + r * D : b, out + r * D, D);
      } else if (D * Inputs <= 64) {
        rows<4>(begin, end);
      } else {
        rows<1>(begin, end);
      }
    } else if (D > kLongest) {
      long_maps(begin, end);
    } else if (D * Inputs <= 64) {
      maps<4>(begin, end);
    } else if (D * Inputs <= 128) {
      maps<2>(begin, end);
    } else {
      maps<1>(begin, end);
    }
    if (stream) stream_fence();
  }

 private:
  template <int NV>
  void rows(int64_t begin, int64_t end) const {
    V tile_a[kTileVectors], tile_b[Inputs == 2 ? kTileVectors : 1];
    int64_t r = begin;
    for (; r + NV * L <= end; r += NV * L)
      row_tile<NV>(a + r * D, Inputs == 2 ? b + r * D : b, out + r * D, tile_a, tile_b);
    for (; r + L <= end; r += L)
      row_tile<1>(a + r * D, Inputs == 2 ? b + r * D : b, out + r * D, tile_a, tile_b);
    if (r == end) return;
    // The last rows, padded to a group.
    alignas(V) S part_a[kLongest * L], part_b[Inputs == 2 ? kLongest * L : 1];
    const size_t bytes = static_cast<size_t>((end - r) * D) * sizeof(S);
    const size_t padded = static_cast<size_t>(L * D) * sizeof(S);
    __builtin_memset(part_a, 0, padded);
    __builtin_memcpy(part_a, a + r * D, bytes);
    if (Inputs == 2) {
      __builtin_memset(part_b, 0, padded);
      __builtin_memcpy(part_b, b + r * D, bytes);
    }
    row_tile<1>(part_a, part_b, part_a, tile_a, tile_b);
    __builtin_memcpy(out + r * D, part_a, bytes);
  }

  template <int NV>
  HUD_HD void row_tile(const S* from_a, const S* from_b, S* to, V* tile_a, V* tile_b) const {
    V scratch[kTileVectors];
    for (int v = 0; v < NV; ++v) {
      read_rows(from_a + v * L * D, tile_a + v, NV, D, scratch);
      if (Inputs == 2) read_rows(from_b + v * L * D, tile_b + v, NV, D, scratch);
    }
    kernel.template lines<NV>(TileSource<NV, V>{tile_a}, TileSource<NV, V>{tile_b}, tile_a, tile_b,
                              TileSink<NV, V>{tile_a}, D);
    for (int v = 0; v < NV; ++v) write_rows(tile_a + v, NV, to + v * L * D, D, scratch);
  }

  template <int NV>
  void maps(int64_t begin, int64_t end) const {
    V tile_a[kTileVectors], tile_b[Inputs == 2 ? kTileVectors : 1];
    const bool whole_lines = stream && inner % L == 0 && vector_aligned(out);
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner;
      const int64_t offset = (i / inner) * D * inner + within;
      int64_t left = inner - within < end - i ? inner - within : end - i;
      const int64_t to_boundary = (L - within % L) % L;  // tiles begin where vectors do
      if (to_boundary != 0 && to_boundary < left) left = to_boundary;
      const S* from_a = a + offset;
      const S* from_b = Inputs == 2 ? b + offset : b;
      if (left >= NV * L) {
        left = NV * L;
        if (whole_lines) {
          kernel.template lines<NV>(MapSource<S>{from_a, inner}, MapSource<S>{from_b, inner},
                                    tile_a, tile_b, MapSink<S, true>{out + offset, inner}, D);
        } else {
          kernel.template lines<NV>(MapSource<S>{from_a, inner}, MapSource<S>{from_b, inner},
                                    tile_a, tile_b, MapSink<S, false>{out + offset, inner}, D);
        }
      } else if (left >= L) {
        left = L;
        kernel.template lines<1>(MapSource<S>{from_a, inner}, MapSource<S>{from_b, inner}, tile_a,
                                 tile_b, MapSink<S, false>{out + offset, inner}, D);
      } else {
        kernel.template lines<1>(PartSource<S>{from_a, inner, left},
                                 PartSource<S>{from_b, inner, left}, tile_a, tile_b,
                                 PartSink<S>{out + offset, inner, left}, D);
      }
      i += left;
    }
  }

  void long_maps(int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end;) {
      const int64_t within = i % inner;
      const int64_t offset = (i / inner) * D * inner + within;
      int64_t left = inner - within < end - i ? inner - within : end - i;
      const S* from_a = a + offset;
      const S* from_b = Inputs == 2 ? b + offset : b;
      if (left >= L) {
        left = L;
        kernel.long_line(MapSource<S>{from_a, inner}, MapSource<S>{from_b, inner},
                         MapSink<S, false>{out + offset, inner}, D);
      } else {
        kernel.long_line(PartSource<S>{from_a, inner, left}, PartSource<S>{from_b, inner, left},
                         PartSink<S>{out + offset, inner, left}, D);
      }
      i += left;
    }
  }
};

HUD_CORE_END
