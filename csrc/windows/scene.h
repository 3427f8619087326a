// A scene made ready for looking up blocks of one size.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "windows/plan.h"
#include "windows/run.h"

namespace hud {

struct AlignedDelete {
  void operator()(char* p) const;
};
using AlignedBytes = std::unique_ptr<char, AlignedDelete>;
AlignedBytes aligned_bytes(int64_t bytes);

// Blocks to look up, and where the answers go.
struct WindowQuery {
  BlockInput blocks;           // `which` is filled in by the search
  const double* block_scale;   // (B)
  const double* window_scale;  // (rows, columns): what a sum is multiplied with; NaN = left out
  const Apart* apart;          // (B): windows that do not count for a block; null = all do
  double* value;               // (B); NaN where no window is left
  int64_t* position;           // (B, 2): row and column of a window's first pixel, or -1
};

class WindowScene {
 public:
  // `pixels` (H, W, K) and `factor` (H, W; NaN = left out) are read by every search: they must
  // stay.
  WindowScene(const void* pixels, bool is_float32, const double* factor, const WindowShape& shape,
              const WindowOptions& options, int threads);

  // The least memory limit that a scene can be searched within.
  static int64_t least(const WindowShape& shape, const WindowOptions& options);

  void search(const WindowQuery& query, int threads);

  const WindowPlan& plan() const { return plan_; }
  const WindowShape& shape() const { return shape_; }
  // Blocks that more than kCandidates windows tied for, in the last search: after the float32
  // pass, after the float64 pass, and those that every window was rescored for.
  const std::array<int64_t, 3>& tied() const { return tied_; }

 private:
  struct Pass;
  void centre(int threads);
  void directions(int threads);
  void prepare_direct(int threads);
  template <typename T>
  void prepare_spectra(int threads);
  template <typename T>
  std::vector<CandidateList> transform_pass(const WindowQuery& query,
                                            const std::vector<int64_t>& blocks,
                                            const std::vector<CandidateList>* before, int threads);
  std::vector<CandidateList> direct_pass(const WindowQuery& query,
                                         const std::vector<int64_t>& blocks, int threads);
  void rescore(const WindowQuery& query, int64_t block, const CandidateList& list) const;
  void rescore_all(const WindowQuery& query, int64_t block, int threads) const;
  void answer(const WindowQuery& query, int64_t block, double value, int64_t found) const;
  template <typename T>
  WindowJob job_of() const;

  const WindowTable* kernels_;
  WindowShape shape_;
  WindowOptions options_;
  WindowPlan plan_;
  WindowJob job_ = {};
  std::vector<double> mean_, direction_;
  std::vector<double> along_;  // (rows, columns)
  std::vector<double> twiddle_down_, twiddle_across_;
  std::vector<float> narrow_down_, narrow_across_;
  std::vector<int32_t> row_slot_, column_slot_, identity_;
  AlignedBytes spectra_;               // float32, all pairs in chunks of up to kPairs, or none
  std::vector<double> squares_;        // (pairs)
  std::vector<float> centred_, norm_;  // direct only
  std::array<int64_t, 3> tied_ = {};
};

}  // namespace hud
