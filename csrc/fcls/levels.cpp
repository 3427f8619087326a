// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "fcls/run.h"
#include "fcls/solve.h"

namespace hud {

namespace HUD_ISA {
namespace {
const FclsTable table = {fcls_workspace, fcls_range};
}  // namespace
}  // namespace HUD_ISA

HUD_EXPORT_LEVEL(FclsTable, fcls)

}  // namespace hud
