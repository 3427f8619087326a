#include "common/level.h"

#include <atomic>
#include <cstring>

namespace hud {
namespace {

#define HUD_NAME_OF(room, level) #level
constexpr const char* kLevels[] = {HUD_EACH_LEVEL(HUD_NAME_OF, )};
constexpr int kLevelCount = sizeof(kLevels) / sizeof(kLevels[0]);

// __builtin_cpu_supports asks cpuid and the operating system (XCR0) both.
bool processor_has(const char* name) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (std::strcmp(name, "avx512") == 0) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("fma");
  }
  if (std::strcmp(name, "avx2") == 0) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi");
  }
#endif
  return std::strcmp(name, "baseline") == 0;
}

int widest() {
  int level = kLevelCount - 1;
  while (level > 0 && !level_available(level)) --level;
  return level;
}

std::atomic<int> active{-1};

}  // namespace

int level_count() { return kLevelCount; }
const char* level_name(int level) { return kLevels[level]; }
bool level_available(int level) { return processor_has(kLevels[level]); }

int active_level() {
  int level = active.load(std::memory_order_relaxed);
  if (level < 0) {
    level = widest();
    active.store(level, std::memory_order_relaxed);
  }
  return level;
}

bool set_level(const char* name) {
  for (int level = 0; level < kLevelCount; ++level) {
    if (std::strcmp(kLevels[level], name) == 0 && level_available(level)) {
      active.store(level, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

}  // namespace hud
