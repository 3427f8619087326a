// The window search on the CPU: the loops that each level exports, and what the binding calls
// beside windows/scene.h.
#pragma once

#include "common/level.h"
#include "windows/job.h"

namespace hud {

struct WindowKernels {
  int64_t lanes;  // blocks of one group
  // Spectra of tile pairs [first, first + count), (across, down, K, count, 2), and their squared
  // norms.
  void (*scene_spectra)(const WindowJob&, int64_t first, int64_t count, void* spectra,
                        double* square, void* work);
  // Blocks [first, first + lanes) into a group.
  void (*pack_blocks)(const WindowJob&, const BlockInput&, int64_t first, bool one_scale,
                      const BlockGroup&);
  // Spectra of channels [begin, end) of a packed group.
  void (*block_spectra)(const WindowJob&, const BlockGroup&, int64_t begin, int64_t end,
                        void* work);
  // Scores of one group at tile pairs [first, first + count), offered to `lanes` lists.
  void (*correlate)(const WindowJob&, const WindowMaps&, const BlockGroup&, int64_t first,
                    int64_t count, const void* spectra, const double* square, CandidateList*,
                    void* work);
};

struct WindowTable {
  WindowKernels f32, f64;
  // Window positions of rows [begin, end) against one packed float32 group: direct correlation.
  void (*direct)(const WindowJob&, const DirectMaps&, const BlockGroup&, int64_t begin, int64_t end,
                 CandidateList*);
  // sum <u, q> of one block at the window from (y, x), float64 from the inputs.
  double (*exact)(const WindowJob&, const BlockInput&, int64_t block, int64_t y, int64_t x);
  // Cosine of one block with the window from (y, x), the norms taken from these very values.
  double (*similarity)(const SimilarityJob&, int64_t block, int64_t y, int64_t x);
  // Coordinates of rows [begin, end); `work` holds four rows.
  void (*project)(const ProjectJob&, int64_t begin, int64_t end, void* work);
};
HUD_DECLARE_LEVELS(WindowTable, windows);

// Cosines of blocks with the windows at `position` (B, 2).
void run_window_similarity(const SimilarityJob& job, int64_t count, const int64_t* position,
                           double* value, int threads);
// Rows (n, C) in the basis (C, rank), and their squared norms.
void run_project_rows(const void* rows, bool is_float32, int64_t count, int64_t bands,
                      const double* basis, int64_t rank, double* keys, double* square, int threads);

}  // namespace hud
