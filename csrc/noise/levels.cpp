// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "noise/run.h"
#include "noise/step.h"

namespace hud {

namespace HUD_ISA {
namespace {
const NoiseTable table = {HUD_EACH_STORAGE(diffusion_step_range), philox_range};
}  // namespace
}  // namespace HUD_ISA

HUD_EXPORT_LEVEL(NoiseTable, noise)

}  // namespace hud
