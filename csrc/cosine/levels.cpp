// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "cosine/brute.h"
#include "cosine/keys.h"
#include "cosine/run.h"
#include "cosine/tree.h"
#include "cosine/unit_rows.h"

namespace hud {

namespace HUD_ISA {
namespace {
const CosineTable table = {
    row_inverse_range, row_sum_range, pack_panels_range, cosine_workspace,  cosine_max_range,
    key_workspace,     keys_range,    tree_workspace,    tree_search_range, unit_rows_range,
};
}  // namespace
}  // namespace HUD_ISA

HUD_EXPORT_LEVEL(CosineTable, cosine)

}  // namespace hud
