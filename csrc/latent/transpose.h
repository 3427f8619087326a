// Rows to columns and back: a group of as many band-last rows as a vector has lanes, as one vector
// a band.
//
// A band-last row is cut into chunks of 16 bytes (4 floats, 2 doubles). Chunks of different rows
// are put side by side in a vector, and 4 x 4 (2 x 2) blocks transposed inside its 16-byte parts:
// about two shuffles a vector. The last chunk of a row is moved left to end with it, so that
// nothing outside a row is ever touched; what two chunks share is read, or written, twice. Rows of
// one to three floats are shorter than a chunk and go by whole vectors through table shuffles.
#pragma once

#include "common/vector.h"

HUD_CORE_BEGIN

constexpr int kChunkBytes = 16;
typedef float FloatChunk __attribute__((vector_size(kChunkBytes)));
typedef double DoubleChunk __attribute__((vector_size(kChunkBytes)));

template <typename V>
struct Chunks;
template <>
struct Chunks<Float32s> {
  using Chunk = FloatChunk;
  static constexpr int kColumns = 4;
};
template <>
struct Chunks<Float64s> {
  using Chunk = DoubleChunk;
  static constexpr int kColumns = 2;
};

template <typename Chunk, typename T>
HUD_HD Chunk load_chunk(const T* p) {
  Chunk chunk;
  __builtin_memcpy(&chunk, p, sizeof chunk);
  return chunk;
}

// The chunks at p, p + step, ... side by side.
template <typename V, typename T>
HUD_HD V join_chunks(const T* p, int64_t step) {
  using Chunk = typename Chunks<V>::Chunk;
#if HUD_VECTOR_BYTES == 64
  const Chunk a = load_chunk<Chunk>(p), b = load_chunk<Chunk>(p + step);
  const Chunk c = load_chunk<Chunk>(p + 2 * step), d = load_chunk<Chunk>(p + 3 * step);
  if constexpr (sizeof(T) == 4) {
    const auto ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
    const auto cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  } else {
    const auto ab = __builtin_shufflevector(a, b, 0, 1, 2, 3);
    const auto cd = __builtin_shufflevector(c, d, 0, 1, 2, 3);
    return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7);
  }
#elif HUD_VECTOR_BYTES == 32
  const Chunk a = load_chunk<Chunk>(p), b = load_chunk<Chunk>(p + step);
  if constexpr (sizeof(T) == 4) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  } else {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3);
  }
#else
  (void)step;
  return load_chunk<Chunk>(p);
#endif
}

// The inverse: 16-byte parts of v to p, p + step, ...
template <typename V, typename T>
HUD_HD void scatter_chunks(V v, T* p, int64_t step) {
  using Chunk = typename Chunks<V>::Chunk;
  struct Parts {
    Chunk chunk[HUD_VECTOR_BYTES / kChunkBytes];
  };
  const Parts parts = bits_to<Parts>(v);
  for (int i = 0; i < HUD_VECTOR_BYTES / kChunkBytes; ++i)
    __builtin_memcpy(p + i * step, &parts.chunk[i], kChunkBytes);
}

// Lane masks that repeat a pattern in each 16-byte part of two vectors.
#if HUD_VECTOR_BYTES == 64
#define HUD_PAIR_SHUFFLE(a, b, i, j, k, l)                                                   \
  __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, \
                          l + 8, i + 12, j + 12, k + 12, l + 12)
#define HUD_DOUBLE_SHUFFLE(a, b, i, j) \
  __builtin_shufflevector(a, b, i, j, i + 2, j + 2, i + 4, j + 4, i + 6, j + 6)
constexpr int kOther32 = 16, kOther64 = 8;
#elif HUD_VECTOR_BYTES == 32
#define HUD_PAIR_SHUFFLE(a, b, i, j, k, l) \
  __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4)
#define HUD_DOUBLE_SHUFFLE(a, b, i, j) __builtin_shufflevector(a, b, i, j, i + 2, j + 2)
constexpr int kOther32 = 8, kOther64 = 4;
#else
#define HUD_PAIR_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#define HUD_DOUBLE_SHUFFLE(a, b, i, j) __builtin_shufflevector(a, b, i, j)
constexpr int kOther32 = 4, kOther64 = 2;
#endif

// Transposes the blocks inside the 16-byte parts of kColumns vectors; its own inverse.
HUD_HD void transpose_parts(Float32s* t) {
  const Float32s low0 = HUD_PAIR_SHUFFLE(t[0], t[1], 0, kOther32, 1, kOther32 + 1);
  const Float32s high0 = HUD_PAIR_SHUFFLE(t[0], t[1], 2, kOther32 + 2, 3, kOther32 + 3);
  const Float32s low1 = HUD_PAIR_SHUFFLE(t[2], t[3], 0, kOther32, 1, kOther32 + 1);
  const Float32s high1 = HUD_PAIR_SHUFFLE(t[2], t[3], 2, kOther32 + 2, 3, kOther32 + 3);
  t[0] = HUD_PAIR_SHUFFLE(low0, low1, 0, 1, kOther32, kOther32 + 1);
  t[1] = HUD_PAIR_SHUFFLE(low0, low1, 2, 3, kOther32 + 2, kOther32 + 3);
  t[2] = HUD_PAIR_SHUFFLE(high0, high1, 0, 1, kOther32, kOther32 + 1);
  t[3] = HUD_PAIR_SHUFFLE(high0, high1, 2, 3, kOther32 + 2, kOther32 + 3);
}
HUD_HD void transpose_parts(Float64s* t) {
  const Float64s low = HUD_DOUBLE_SHUFFLE(t[0], t[1], 0, kOther64);
  t[1] = HUD_DOUBLE_SHUFFLE(t[0], t[1], 1, kOther64 + 1);
  t[0] = low;
}

// Indices of the table shuffles: lane l of column c is value l * D + c of D vectors laid end to
// end, and value k of those is lane k / D of column k % D. The first two vectors are one shuffle's
// operands, a third is brought in by a second (`third` says where).
template <int D>
struct ShortRows {
  static constexpr int kLanes = HUD_VECTOR_BYTES / 4;
  int32_t gather[D][kLanes], gather_third[D][kLanes];
  int32_t scatter[D][kLanes], scatter_third[D][kLanes];
  constexpr ShortRows() : gather(), gather_third(), scatter(), scatter_third() {
    for (int c = 0; c < D; ++c)
      for (int l = 0; l < kLanes; ++l) {
        const int at = l * D + c;
        gather[c][l] = at < 2 * kLanes ? at : 0;
        gather_third[c][l] = at < 2 * kLanes ? l : at - kLanes;
        const int k = c * kLanes + l, column = k % D, lane = k / D;
        scatter[c][l] = column < 2 ? column * kLanes + lane : 0;
        scatter_third[c][l] = column < 2 ? l : kLanes + lane;
      }
  }
};
typedef int32_t Index32s __attribute__((vector_size(HUD_VECTOR_BYTES)));

HUD_HD Index32s load_index(const int32_t* p) {
  Index32s v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <int D>
HUD_HD void short_rows_to_columns(const float* rows, Float32s* columns) {
  static constexpr ShortRows<D> table{};
  constexpr int L = kWidth<float>;
  const Float32s a = load(rows), b = load(rows + L);
  const Float32s c = load(rows + (D - 1) * L);
  for (int d = 0; d < D; ++d) {
    Float32s v = __builtin_shuffle(a, b, load_index(table.gather[d]));
    if (D == 3) v = __builtin_shuffle(v, c, load_index(table.gather_third[d]));
    columns[d] = v;
  }
}
template <int D>
HUD_HD void columns_to_short_rows(const Float32s* columns, float* rows) {
  static constexpr ShortRows<D> table{};
  constexpr int L = kWidth<float>;
  const Float32s a = columns[0], b = columns[1], c = columns[D - 1];
  for (int d = 0; d < D; ++d) {
    Float32s v = __builtin_shuffle(a, b, load_index(table.scatter[d]));
    if (D == 3) v = __builtin_shuffle(v, c, load_index(table.scatter_third[d]));
    store(rows + d * L, v);
  }
}

// A group of kWidth<Element<V>> contiguous rows of D values; column d goes to columns[d].
template <typename V, typename T>
HUD_HD void rows_to_columns(const T* rows, V* columns, int64_t D) {
  constexpr int B = Chunks<V>::kColumns;
  if constexpr (sizeof(T) == 4) {
    if (D == 2) return short_rows_to_columns<2>(rows, columns);
    if (D == 3) return short_rows_to_columns<3>(rows, columns);
  }
  if (D == 1) {
    columns[0] = load(rows);
    return;
  }
  for (int64_t first = 0; first < D; first += B) {
    const int64_t d = first + B <= D ? first : D - B;
    V t[B];
    for (int i = 0; i < B; ++i) t[i] = join_chunks<V>(rows + i * D + d, B * D);
    transpose_parts(t);
    for (int i = 0; i < B; ++i) columns[d + i] = t[i];
  }
}
template <typename V, typename T>
HUD_HD void columns_to_rows(const V* columns, T* rows, int64_t D) {
  constexpr int B = Chunks<V>::kColumns;
  if constexpr (sizeof(T) == 4) {
    if (D == 2) return columns_to_short_rows<2>(columns, rows);
    if (D == 3) return columns_to_short_rows<3>(columns, rows);
  }
  if (D == 1) {
    store(rows, columns[0]);
    return;
  }
  for (int64_t first = 0; first < D; first += B) {
    const int64_t d = first + B <= D ? first : D - B;
    V t[B];
    for (int i = 0; i < B; ++i) t[i] = columns[d + i];
    transpose_parts(t);
    for (int i = 0; i < B; ++i) scatter_chunks(t[i], rows + i * D + d, B * D);
  }
}

HUD_CORE_END
