#define HUD_ISA emulated
#include "cosine/emulated.h"

#include <cmath>
#include <vector>

#include "cosine/device_pack.h"
#include "cosine/device_search.h"

namespace hud::emulated_launch {

using namespace hud::emulated;

void row_inverse(const void* rows, bool is_float32, int64_t count, int64_t bands, double* inverse) {
  for (int64_t first = 0; first < count; first += 2)
    inverse_norms(HostGroup<32>{}, Rows{rows, is_float32}, count, bands, first, inverse);
}

void cosine_pack(const CosinePackJob& job) {
  PackShared shared;
  for (int64_t tile = 0; tile < job.tiles; ++tile) pack_tile(HostGroup<kTile>{}, job, tile, shared);
}

void cosine_search(const CosineSearchJob& job, int64_t shared) {
  const CosinePlan plan = cosine_plan(job.depth, shared);
  // Filled with ones: what a block reads before it wrote it is a NaN or a wild index.
  std::vector<double> memory(static_cast<size_t>(plan.bytes / 8));
  for (int64_t first = 0; first < job.queries; first += kTile) {
    __builtin_memset(memory.data(), 0xff, memory.size() * 8);
    search_tile(HostGroup<kSearchThreads>{}, job, plan.buffers, first,
                reinterpret_cast<char*>(memory.data()));
  }
}

void mma_product(const uint16_t* a, const uint16_t* b, const float* c, float* out) {
  HostGroup<32>::PerLane<FragmentA> left;
  HostGroup<32>::PerLane<FragmentB> right;
  HostGroup<32>::PerLane<FragmentC<kMmaColumns>> sum;
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) {
      const uint16_t* from = a + a_row(lane, 2 * r) * kMmaDepth + a_depth(lane, 2 * r);
      left[lane].reg[r] = from[0] | static_cast<uint32_t>(from[1]) << 16;
    }
    for (int r = 0; r < 2; ++r) {
      const uint16_t* from = b + b_depth(lane, 2 * r) * kMmaColumns + b_column(lane);
      right[lane].reg[r] = from[0] | static_cast<uint32_t>(from[kMmaColumns]) << 16;
    }
    for (int i = 0; i < 4; ++i)
      sum[lane].v[0][i] = c[c_row(lane, i) * kMmaColumns + c_column(lane, i)];
  }
  mma(HostGroup<32>{}, left, right, sum, 0);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i)
      out[c_row(lane, i) * kMmaColumns + c_column(lane, i)] = sum[lane].v[0][i];
}

void mma_layout(std::vector<int>& a, std::vector<int>& b, std::vector<int>& c) {
  const auto add = [](std::vector<int>& to, int lane, int i, int row, int column) {
    to.insert(to.end(), {lane, i, row, column});
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) add(a, lane, i, a_row(lane, i), a_depth(lane, i));
    for (int i = 0; i < 4; ++i) add(b, lane, i, b_depth(lane, i), b_column(lane));
    for (int i = 0; i < 4; ++i) add(c, lane, i, c_row(lane, i), c_column(lane, i));
  }
}

double pass_excess(const float* queries, const float* rows, int64_t dims) {
  const int64_t depth = (dims + kDepthStep - 1) / kDepthStep * kDepthStep;
  std::vector<uint32_t> packed(static_cast<size_t>(tile_words(depth)));
  std::vector<float> boxes(2), keys(static_cast<size_t>(kTile * (depth + 8)));
  std::vector<int32_t> row(kTile);
  const std::vector<double> inverse(kTile, 1.0);
  for (int i = 0; i < kTile; ++i) {
    row[i] = i;
    for (int64_t k = 0; k < dims; ++k) keys[i * (depth + 8) + k] = queries[i * dims + k];
  }
  const CosinePackJob job = {rows,  rows, inverse.data(), row.data(),  1, dims,
                             depth, 0,    packed.data(),  boxes.data()};
  PackShared shared;
  pack_tile(HostGroup<kTile>{}, job, 0, shared);
  const float* centre = reinterpret_cast<const float*>(packed.data() + tile_operands(depth));
  const float* bias = centre + depth;
  const TileBounds bounds = {bias[kTile], bias[kTile + 1], bias[kTile + 2]};
  double worst = 0;
  for (int w = 0; w < kSearchWarps; ++w) {
    HostGroup<32>::PerLane<TileScores> scores;
    HostGroup<32>::PerLane<float> low, high;
    for (int lane = 0; lane < 32; ++lane) {
      low[lane] = high[lane] = 0;
      for (int n = 0; n < kTile / kMmaColumns; ++n)
        for (int i = 0; i < 4; ++i)
          scores[lane].v[n][i] = bias[n * kMmaColumns + c_column(lane, i)];
    }
    tile_product(HostGroup<32>{}, keys.data() + w * kWarpQueries * (depth + 8), packed.data(),
                 centre, depth, scores, low, high);
    low = over_quads(HostGroup<32>{}, low, AddedFloat{});
    high = over_quads(HostGroup<32>{}, high, AddedFloat{});
    for (int lane = 0; lane < 32; ++lane) {
      for (int n = 0; n < kTile / kMmaColumns; ++n) {
        for (int i = 0; i < 4; ++i) {
          const int q = w * kWarpQueries + c_row(lane, i);
          const int u = n * kMmaColumns + c_column(lane, i);
          const float square = i < 2 ? low[lane] : high[lane];
          const PassBounds b = pass_bounds(square, bounds, 0.0f, depth);
          double operands = 0, true_square = 0;
          for (int64_t k = 0; k < dims; ++k) {
            const float v =
                low_half(pack_halves((queries[q * dims + k] - centre[k]) * kScale, 0.0f));
            const float x = low_half(pack_halves((rows[u * dims + k] - centre[k]) * kScale, 0.0f));
            const double apart = static_cast<double>(v) - x;
            const double whole = static_cast<double>(queries[q * dims + k]) - rows[u * dims + k];
            operands += apart * apart;
            true_square += whole * whole;
          }
          const double seen = static_cast<double>(square) - 2.0 * scores[lane].v[n][i];
          const double off = std::fabs(std::sqrt(operands) / kScale - std::sqrt(true_square));
          worst = std::fmax(worst, std::fabs(seen - operands) / b.error);
          worst = std::fmax(worst, off / b.apart);
          // What the search does with them: no row may be further than its upper bound, and none
          // within reach may score below the least.
          const float most = distance_at_most(square, scores[lane].v[n][i], b, 0.0f);
          if (true_square > most) worst = std::fmax(worst, true_square / most);
          const float reach = static_cast<float>(std::sqrt(true_square)) * kUp;
          if (scores[lane].v[n][i] < score_at_least(square, reach, b)) worst = INFINITY;
        }
      }
    }
  }
  return worst;
}

}  // namespace hud::emulated_launch
