// Storage types of the operations that take all four, in the order of their table entries.
#pragma once

#include <cstdint>

namespace hud {

enum Storage : int { kFloat32 = 0, kFloat64, kBFloat16, kFloat16, kStorages };
constexpr int kStorageBytes[kStorages] = {4, 8, 2, 2};

}  // namespace hud

// A table's entries of a function template, for each.
#define HUD_EACH_STORAGE(f) {f<float>, f<double>, f<BFloat16>, f<Float16>}
