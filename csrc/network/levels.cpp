// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "network/norm_silu.h"
#include "network/run.h"
#include "network/winograd.h"

namespace hud {

namespace HUD_ISA {
namespace {
const NetworkTable table = {transform_weights,   weights_of,      conv_range,
                            conv_gradient_range, norm_silu_range, norm_silu_gradient_range};
}  // namespace
}  // namespace HUD_ISA

HUD_EXPORT_LEVEL(NetworkTable, network)

}  // namespace hud
