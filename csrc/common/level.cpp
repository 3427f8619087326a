#include "common/level.h"

#include <atomic>
#include <cstring>

namespace hud {
namespace {

struct Level {
  const char* name;
  const KernelTable* (*table)();
};

constexpr Level kLevels[] = {
    {"baseline", kernels_baseline},
#ifdef HUD_HAS_AVX2
    {"avx2", kernels_avx2},
#endif
#ifdef HUD_HAS_AVX512
    {"avx512", kernels_avx512},
#endif
};
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

const KernelTable* widest() {
  for (int level = kLevelCount - 1; level > 0; --level) {
    if (processor_has(kLevels[level].name)) return kLevels[level].table();
  }
  return kernels_baseline();
}

std::atomic<const KernelTable*> active{nullptr};

}  // namespace

int level_count() { return kLevelCount; }
const char* level_name(int level) { return kLevels[level].name; }
bool level_available(int level) { return processor_has(kLevels[level].name); }

const KernelTable& active_kernels() {
  const KernelTable* table = active.load(std::memory_order_acquire);
  if (table == nullptr) {
    table = widest();
    active.store(table, std::memory_order_release);
  }
  return *table;
}

bool set_level(const char* name) {
  for (const Level& level : kLevels) {
    if (std::strcmp(level.name, name) == 0 && processor_has(name)) {
      active.store(level.table(), std::memory_order_release);
      return true;
    }
  }
  return false;
}

}  // namespace hud
