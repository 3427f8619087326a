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

// B^T d, A^T m, A g and G^T u along one direction.
template <typename V>
HUD_HD void window_transform(const V* d, int64_t step, V* out, int64_t out_step) {
  const V d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step],
          d5 = d[5 * step];
  const V even = d4 - 4 * d2, odd = d3 - 4 * d1;
  const V even2 = d4 - d2, odd2 = 2 * (d3 - d1);
  out[0] = 4 * d0 - 5 * d2 + d4;
  out[out_step] = even + odd;
  out[2 * out_step] = even - odd;
  out[3 * out_step] = even2 + odd2;
  out[4 * out_step] = even2 - odd2;
  out[5 * out_step] = 4 * d1 - 5 * d3 + d5;
}
template <typename V>
HUD_HD void pixels_transform(const V* m, int64_t step, V* out, int64_t out_step) {
  const V sum1 = m[step] + m[2 * step], difference1 = m[step] - m[2 * step];
  const V sum2 = m[3 * step] + m[4 * step], difference2 = m[3 * step] - m[4 * step];
  out[0] = m[0] + sum1 + sum2;
  out[out_step] = difference1 + 2 * difference2;
  out[2 * out_step] = sum1 + 4 * sum2;
  out[3 * out_step] = difference1 + 8 * difference2 + m[5 * step];
}
template <typename V>
HUD_HD void gradient_transform(const V* g, int64_t step, V* out, int64_t out_step) {
  const V g0 = g[0], g1 = g[step], g2 = g[2 * step], g3 = g[3 * step];
  const V even = g0 + g2, odd = g1 + g3, even2 = g0 + 4 * g2, odd2 = 2 * g1 + 8 * g3;
  out[0] = g0;
  out[out_step] = even + odd;
  out[2 * out_step] = even - odd;
  out[3 * out_step] = even2 + odd2;
  out[4 * out_step] = even2 - odd2;
  out[5 * out_step] = g3;
}
template <typename V>
HUD_HD void weight_transform(const V* w, int64_t step, V* out, int64_t out_step) {
  const V w0 = w[0], w1 = w[step], w2 = w[2 * step];
  const V even = w0 + w2, even2 = (w0 + 4 * w2) * (1.0f / 24), odd2 = w1 * (1.0f / 12);
  out[0] = 0.25f * w0;
  out[out_step] = (even + w1) * (-1.0f / 6);
  out[2 * out_step] = (even - w1) * (-1.0f / 6);
  out[3 * out_step] = even2 + odd2;
  out[4 * out_step] = even2 - odd2;
  out[5 * out_step] = w2;
}
template <typename V>
HUD_HD void weight_gradient(const V* u, int64_t step, V* out, int64_t out_step) {
  const V sum1 = u[step] + u[2 * step], difference1 = u[2 * step] - u[step];
  const V sum2 = u[3 * step] + u[4 * step], difference2 = u[3 * step] - u[4 * step];
  out[0] = 0.25f * u[0] - sum1 * (1.0f / 6) + sum2 * (1.0f / 24);
  out[out_step] = difference1 * (1.0f / 6) + difference2 * (1.0f / 12);
  out[2 * out_step] = (sum2 - sum1) * (1.0f / 6) + u[5 * step];
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
      Float32s d[36], half[36];
      for (int k = 0; k < 36; ++k) d[k] = load(pixel[k] + c);
      for (int j = 0; j < 6; ++j) window_transform(d + j, 6, half + j, 6);
      for (int i = 0; i < 6; ++i) window_transform(half + 6 * i, 1, d + 6 * i, 1);
      for (int k = 0; k < 36; ++k) store(out + k * plane + t * C + c, d[k]);
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
      Float32s d[16], half[24], whole[36];
      for (int i = 0; i < 16; ++i) d[i] = load(pixel[i] + k);
      for (int j = 0; j < 4; ++j) gradient_transform(d + j, 4, half + j, 4);
      for (int i = 0; i < 6; ++i) gradient_transform(half + 4 * i, 1, whole + 6 * i, 1);
      for (int i = 0; i < 36; ++i) store(out + i * plane + t * K + k, whole[i]);
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
      Float32s d[36], half[24], pixel[16];
      for (int i = 0; i < 36; ++i) d[i] = load(m + i * plane + t * K + k);
      for (int j = 0; j < 6; ++j) pixels_transform(d + j, 6, half + j, 6);
      for (int i = 0; i < 4; ++i) pixels_transform(half + 6 * i, 1, pixel + 4 * i, 1);
      const Float32s b = load(bias + k);
      for (int64_t i = 0; i < high; ++i)
        for (int64_t j = 0; j < wide; ++j)
          store(corner + (i * job.columns + j) * K + k, pixel[4 * i + j] + b);
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
      Float32s d[9], half[18], whole[36];
      for (int i = 0; i < 9; ++i) {
        const int from = mirrored ? 8 - i : i;
        const float* at = w + r * row + c * column + from / 3 * strides[2] + from % 3 * strides[3];
        for (int l = 0; l < L; ++l) d[i][l] = at[l * column];
      }
      for (int j = 0; j < 3; ++j) weight_transform(d + j, 3, half + j, 3);
      for (int i = 0; i < 6; ++i) weight_transform(half + 3 * i, 1, whole + 6 * i, 1);
      for (int i = 0; i < 36; ++i)
        store(u + i * plane_of(rows, columns) + r * columns + c, whole[i]);
    }
}

// G^T u G of a gradient u (36, C, K): w (K, C, 3, 3), contiguous.
inline void weights_of(const float* u, int64_t C, int64_t K, float* w) {
  constexpr int L = kWidth<float>;
  for (int64_t c = 0; c < C; ++c)
    for (int64_t k = 0; k < K; k += L) {
      Float32s d[36], half[18], whole[9];
      for (int i = 0; i < 36; ++i) d[i] = load(u + i * plane_of(C, K) + c * K + k);
      for (int j = 0; j < 6; ++j) weight_gradient(d + j, 6, half + j, 6);
      for (int i = 0; i < 3; ++i) weight_gradient(half + 6 * i, 1, whole + 3 * i, 1);
      for (int l = 0; l < L; ++l)
        for (int i = 0; i < 9; ++i) w[((k + l) * C + c) * 9 + i] = whole[i][l];
    }
}

HUD_CORE_END
