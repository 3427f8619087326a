// Convolution by the minimal filtering algorithm F(4 x 4, 3 x 3) (Winograd; Lavin and Gray 2016,
// arXiv 1509.09308): 36 products where the definition takes 144.
//
//     Y = A^T [ (G w G^T) . (B^T d B) ] A      d a 6 x 6 window, Y the 4 x 4 pixels in its middle
//
// The dot is, for each of the 36 numbers of a transformed window ("frequencies"), a matrix product
// over the channels. A block of windows is transformed, multiplied and turned back while it lies in
// the cache.
#pragma once

#include "common/vector.h"
#include "network/job.h"
#include "network/product.h"

HUD_CORE_BEGIN

// B^T d, A^T m, A g, G w and G^T u along one direction: get(i) is read once each, put(i, value)
// takes the results as they come, so that nothing waits in memory.
template <typename Get, typename Put>
HUD_HD void window_transform(const Get& get, const Put& put) {
  const Float32s d0 = get(0), d1 = get(1), d2 = get(2), d3 = get(3), d4 = get(4), d5 = get(5);
  const Float32s even = d4 - 4.0f * d2, odd = d3 - 4.0f * d1;
  const Float32s even2 = d4 - d2, odd2 = d3 - d1;
  put(0, 4.0f * d0 + (d4 - 5.0f * d2));
  put(1, even + odd);
  put(2, even - odd);
  put(3, even2 + 2.0f * odd2);
  put(4, even2 - 2.0f * odd2);
  put(5, 4.0f * d1 + (d5 - 5.0f * d3));
}
template <typename Get, typename Put>
HUD_HD void pixels_transform(const Get& get, const Put& put) {
  const Float32s m0 = get(0), m1 = get(1), m2 = get(2), m3 = get(3), m4 = get(4), m5 = get(5);
  const Float32s even = m1 + m2, odd = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
  put(0, (m0 + even) + even2);
  put(1, odd + 2.0f * odd2);
  put(2, even + 4.0f * even2);
  put(3, (odd + m5) + 8.0f * odd2);
}
template <typename Get, typename Put>
HUD_HD void gradient_transform(const Get& get, const Put& put) {
  const Float32s g0 = get(0), g1 = get(1), g2 = get(2), g3 = get(3);
  const Float32s even = g0 + g2, odd = g1 + g3, even2 = g0 + 4.0f * g2, odd2 = g1 + 4.0f * g3;
  put(0, g0);
  put(1, even + odd);
  put(2, even - odd);
  put(3, even2 + 2.0f * odd2);
  put(4, even2 - 2.0f * odd2);
  put(5, g3);
}
template <typename Get, typename Put>
HUD_HD void weight_transform(const Get& get, const Put& put) {
  const Float32s w0 = get(0), w1 = get(1), w2 = get(2);
  const Float32s even = w0 + w2, even2 = (w0 + 4.0f * w2) * (1.0f / 24), odd2 = w1 * (1.0f / 12);
  put(0, 0.25f * w0);
  put(1, (even + w1) * (-1.0f / 6));
  put(2, (even - w1) * (-1.0f / 6));
  put(3, even2 + odd2);
  put(4, even2 - odd2);
  put(5, w2);
}
template <typename Get, typename Put>
HUD_HD void weight_gradient(const Get& get, const Put& put) {
  const Float32s u0 = get(0), u1 = get(1), u2 = get(2), u3 = get(3), u4 = get(4), u5 = get(5);
  const Float32s even = u1 + u2, odd = u2 - u1, even2 = u3 + u4, odd2 = u3 - u4;
  put(0, 0.25f * u0 - even * (1.0f / 6) + even2 * (1.0f / 24));
  put(1, odd * (1.0f / 6) + odd2 * (1.0f / 12));
  put(2, (even2 - even) * (1.0f / 6) + u5);
}

struct TilePlace {
  int64_t image, row, column;  // of its first pixel
};
HUD_HD TilePlace place_of(const ConvJob& job, int64_t tile) {
  const int64_t each = job.tile_rows * job.tile_columns, rest = tile % each;
  return {tile / each, kTileSide * (rest / job.tile_columns),
          kTileSide * (rest % job.tile_columns)};
}

// `size` x `size` pixels of a map from (row, column) on; `beyond` where there is none.
template <int size>
HUD_HD void pixels_of(const ConvJob& job, const float* map, int64_t channels, TilePlace place,
                      int64_t offset, const float* beyond, const float** found) {
  const float* image = map + place.image * job.rows * job.columns * channels;
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < size; ++j) {
      const int64_t y = place.row + offset + i, x = place.column + offset + j;
      const bool inside = y >= 0 && y < job.rows && x >= 0 && x < job.columns;
      found[i * size + j] = inside ? image + (y * job.columns + x) * channels : beyond;
    }
}

// B^T d B of windows [first, first + count) of a map x (N, H, W, C).
inline void transform_windows(const ConvJob& job, const float* x, int64_t first, int64_t count,
                              const float* zeros, float* out) {
  constexpr int L = kWidth<float>;
  const int64_t C = job.in, plane = plane_of(kTileBlock, C);
  for (int64_t t = 0; t < count; ++t) {
    const float* pixel[36];
    pixels_of<6>(job, x, C, place_of(job, first + t), -1, zeros, pixel);
    for (int64_t c = 0; c < C; c += L) {
      Float32s half[36];
      for (int j = 0; j < 6; ++j)
        window_transform([&](int i) { return Float32s(load(pixel[6 * i + j] + c)); },
                         [&](int i, Float32s v) { half[6 * i + j] = v; });
      float* const to = out + t * C + c;
      for (int i = 0; i < 6; ++i)
        window_transform([&](int j) { return half[6 * i + j]; },
                         [&](int j, Float32s v) { store(to + (6 * i + j) * plane, v); });
    }
  }
}

// A g A^T of the tiles' own 4 x 4 pixels of a map g (N, H, W, K), channels [from, to).
inline void transform_gradients(const ConvJob& job, const float* g, int64_t first, int64_t count,
                                int64_t from, int64_t to, const float* zeros, float* out) {
  constexpr int L = kWidth<float>;
  const int64_t K = job.out, plane = plane_of(kTileBlock, K);
  for (int64_t t = 0; t < count; ++t) {
    const float* pixel[16];
    pixels_of<4>(job, g, K, place_of(job, first + t), 0, zeros, pixel);
    for (int64_t k = from; k < to; k += L) {
      Float32s half[24];
      for (int j = 0; j < 4; ++j)
        gradient_transform([&](int i) { return Float32s(load(pixel[4 * i + j] + k)); },
                           [&](int i, Float32s v) { half[4 * i + j] = v; });
      float* const place = out + t * K + k;
      for (int i = 0; i < 6; ++i)
        gradient_transform([&](int j) { return half[4 * i + j]; },
                           [&](int j, Float32s v) { store(place + (6 * i + j) * plane, v); });
    }
  }
}

// A^T m A + bias into y (N, H, W, K).
inline void write_pixels(const ConvJob& job, const float* m, int64_t first, int64_t count,
                         const float* bias, float* y) {
  constexpr int L = kWidth<float>;
  const int64_t K = job.out, plane = plane_of(kTileBlock, K);
  for (int64_t t = 0; t < count; ++t) {
    const TilePlace at = place_of(job, first + t);
    const int64_t high = job.rows - at.row < 4 ? job.rows - at.row : 4;
    const int64_t wide = job.columns - at.column < 4 ? job.columns - at.column : 4;
    float* corner = y + ((at.image * job.rows + at.row) * job.columns + at.column) * K;
    for (int64_t k = 0; k < K; k += L) {
      Float32s half[24];
      const float* const from = m + t * K + k;
      for (int j = 0; j < 6; ++j)
        pixels_transform([&](int i) { return Float32s(load(from + (6 * i + j) * plane)); },
                         [&](int i, Float32s v) { half[6 * i + j] = v; });
      const Float32s b = load(bias + k);
      for (int i = 0; i < high; ++i)
        pixels_transform([&](int j) { return half[6 * i + j]; },
                         [&](int j, Float32s v) {
                           if (j < wide) store(corner + (i * job.columns + j) * K + k, v + b);
                         });
    }
  }
}

// Blocks [begin, end) of tiles of y = x * w + bias, with u (36, C, K) from `transform_weights`.
inline void conv_range(const ConvJob& job, const float* x, const float* u, const float* bias,
                       float* y, float* scratch, int64_t begin, int64_t end) {
  const int64_t C = job.in, K = job.out;
  float* const zeros = scratch;
  float* const v = zeros + C;
  float* const m = v + kFrequencies * plane_of(kTileBlock, C);
  for (int64_t c = 0; c < C; ++c) zeros[c] = 0;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = block * kTileBlock, left = job.tiles() - first;
    const int64_t count = left < kTileBlock ? left : kTileBlock;
    transform_windows(job, x, first, count, zeros, v);
    for (int64_t f = 0; f < kFrequencies; ++f)
      product<false>(v + f * plane_of(kTileBlock, C), C, 1, u + f * plane_of(C, K), K, C,
                     m + f * plane_of(kTileBlock, K), K, count, K);
    write_pixels(job, m, first, count, bias, y);
  }
}

// The gradient of u (36, C, K), columns [begin, end) kChannels each: x (N, H, W, C), g (N, H, W,
// K). Blocks are added in their order, whoever does which columns.
inline void conv_gradient_range(const ConvJob& job, const float* x, const float* g, float* u,
                                float* scratch, int64_t begin, int64_t end) {
  const int64_t C = job.in, K = job.out, wide = C < K ? K : C;
  const int64_t from = begin * kChannels, count_k = (end - begin) * kChannels;
  float* const zeros = scratch;
  float* const v = zeros + wide;
  float* const m = v + kFrequencies * plane_of(kTileBlock, C);
  for (int64_t c = 0; c < wide; ++c) zeros[c] = 0;
  for (int64_t first = 0; first < job.tiles(); first += kTileBlock) {
    const int64_t left = job.tiles() - first, count = left < kTileBlock ? left : kTileBlock;
    transform_windows(job, x, first, count, zeros, v);
    transform_gradients(job, g, first, count, from, from + count_k, zeros, m);
    for (int64_t f = 0; f < kFrequencies; ++f) {
      const float* const right = m + f * plane_of(kTileBlock, K) + from;
      float* const to = u + f * plane_of(C, K) + from;
      if (first == 0)
        product<false>(v + f * plane_of(kTileBlock, C), 1, C, right, K, count, to, K, C, count_k);
      else
        product<true>(v + f * plane_of(kTileBlock, C), 1, C, right, K, count, to, K, C, count_k);
    }
  }
}

// G w G^T of w (K, C, 3, 3) of any strides, or of its mirror image with C and K exchanged, which
// takes the gradient of y to that of x: u (36, rows, columns), columns those of the result.
inline void transform_weights(const float* w, const int64_t* strides, int64_t rows, int64_t columns,
                              bool mirrored, float* u) {
  constexpr int L = kWidth<float>;
  const int64_t row = strides[mirrored ? 0 : 1], column = strides[mirrored ? 1 : 0];
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; c += L) {
      Float32s d[9], half[18];
      for (int i = 0; i < 9; ++i) {
        const int from = mirrored ? 8 - i : i;
        const float* at = w + r * row + c * column + from / 3 * strides[2] + from % 3 * strides[3];
        for (int l = 0; l < L; ++l) d[i][l] = at[l * column];
      }
      for (int j = 0; j < 3; ++j)
        weight_transform([&](int i) { return d[3 * i + j]; },
                         [&](int i, Float32s v) { half[3 * i + j] = v; });
      for (int i = 0; i < 6; ++i)
        weight_transform([&](int j) { return half[3 * i + j]; },
                         [&](int j, Float32s v) {
                           store(u + (6 * i + j) * plane_of(rows, columns) + r * columns + c, v);
                         });
    }
}

// G^T u G of a gradient u (36, C, K): w (K, C, 3, 3), contiguous.
inline void weights_of(const float* u, int64_t C, int64_t K, float* w) {
  constexpr int L = kWidth<float>;
  for (int64_t c = 0; c < C; ++c)
    for (int64_t k = 0; k < K; k += L) {
      Float32s half[18], whole[9];
      const float* const from = u + c * K + k;
      for (int j = 0; j < 6; ++j)
        weight_gradient([&](int i) { return Float32s(load(from + (6 * i + j) * plane_of(C, K))); },
                        [&](int i, Float32s v) { half[6 * i + j] = v; });
      for (int i = 0; i < 3; ++i)
        weight_gradient([&](int j) { return half[6 * i + j]; },
                        [&](int j, Float32s v) { whole[3 * i + j] = v; });
      for (int l = 0; l < L; ++l)
        for (int i = 0; i < 9; ++i) w[((k + l) * C + c) * 9 + i] = whole[i][l];
    }
}

HUD_CORE_END
