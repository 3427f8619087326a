// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "latent/log_project.h"
#include "latent/run.h"
#include "latent/simplex_softmax.h"
#include "latent/softmax_decode.h"
#include "latent/standardize.h"

namespace hud {

namespace HUD_ISA {
namespace {
const LatentTable table = {
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
};
}  // namespace
}  // namespace HUD_ISA

HUD_EXPORT_LEVEL(LatentTable, latent)

}  // namespace hud
