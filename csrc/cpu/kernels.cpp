// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "cpu/kernels.h"
#include "cpu/cosine_keys.h"
#include "cpu/cosine_max.h"
#include "cpu/cosine_tree.h"
#include "cpu/fcls.h"
#include "cpu/log_project.h"
#include "cpu/simplex_softmax.h"
#include "cpu/unit_rows.h"
#include "cpu/window_search.h"

#define HUD_STRING_OF(x) #x
#define HUD_STRING(x) HUD_STRING_OF(x)
#define HUD_JOIN_OF(a, b) a##b
#define HUD_JOIN(a, b) HUD_JOIN_OF(a, b)

namespace hud {

namespace HUD_ISA {
namespace {
const KernelTable table = {
    HUD_STRING(HUD_ISA),
    log_project_range<float>,
    log_project_range<double>,
    log_project_backward_range<float>,
    log_project_backward_range<double>,
    softmax_range<false, float>,
    softmax_range<false, double>,
    softmax_range<true, float>,
    softmax_range<true, double>,
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
    window_search_range,
};
}  // namespace
}  // namespace HUD_ISA

const KernelTable* HUD_JOIN(kernels_, HUD_ISA)() { return &HUD_ISA::table; }

}  // namespace hud
