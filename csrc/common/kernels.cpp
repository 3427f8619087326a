// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "common/kernels.h"
#include "cosine/brute.h"
#include "cosine/keys.h"
#include "cosine/tree.h"
#include "cosine/unit_rows.h"
#include "fcls/solve.h"
#include "latent/log_project.h"
#include "latent/simplex_softmax.h"
#include "latent/softmax_decode.h"
#include "latent/standardize.h"
#include "noise/step.h"
#include "windows/direct.h"
#include "windows/fft.h"
#include "windows/project_rows.h"
#include "windows/similarity.h"

#define HUD_STRING_OF(x) #x
#define HUD_STRING(x) HUD_STRING_OF(x)
#define HUD_JOIN_OF(a, b) a##b
#define HUD_JOIN(a, b) HUD_JOIN_OF(a, b)
// In the order of hud::Storage.
#define HUD_EACH_STORAGE(f) {f<float>, f<double>, f<BFloat16>, f<Float16>}

namespace hud {

namespace HUD_ISA {
namespace {
const KernelTable table = {
    HUD_STRING(HUD_ISA),
    HUD_EACH_STORAGE(log_project_range),
    HUD_EACH_STORAGE(log_project_backward_range),
    HUD_EACH_STORAGE(softmax_range),
    HUD_EACH_STORAGE(softmax_backward_range),
    {standardize_range<false, float>, standardize_range<false, double>,
     standardize_range<false, BFloat16>, standardize_range<false, Float16>},
    {standardize_range<true, float>, standardize_range<true, double>,
     standardize_range<true, BFloat16>, standardize_range<true, Float16>},
    HUD_EACH_STORAGE(standardized_softmax_range),
    HUD_EACH_STORAGE(softmax_decode_range),
    HUD_EACH_STORAGE(diffusion_step_range),
    philox_range,
    fcls_workspace,
    fcls_range,
    row_inverse_range,
    row_sum_range,
    pack_panels_range,
    cosine_workspace,
    cosine_max_range,
    key_workspace,
    keys_range,
    tree_workspace,
    tree_search_range,
    unit_rows_range,
    {window_kernels<float>(), window_kernels<double>(), direct_range, exact_window, similarity,
     project_rows_range},
};
}  // namespace
}  // namespace HUD_ISA

const KernelTable* HUD_JOIN(kernels_, HUD_ISA)() { return &HUD_ISA::table; }

}  // namespace hud
