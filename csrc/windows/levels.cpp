// Compiled once per instruction-set level; exports that level's table and nothing else.
#include "windows/direct.h"
#include "windows/fft.h"
#include "windows/project_rows.h"
#include "windows/run.h"
#include "windows/similarity.h"

namespace hud {

namespace HUD_ISA {
namespace {
const WindowTable table = {
    window_kernels<float>(), window_kernels<double>(), direct_range, exact_window, similarity,
    project_rows_range,
};
}  // namespace
}  // namespace HUD_ISA

HUD_EXPORT_LEVEL(WindowTable, windows)

}  // namespace hud
