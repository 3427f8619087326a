// Which instruction-set level runs: the widest the processor has, unless HUD_FAST_ISA or
// set_level() says otherwise.
//
// A room's levels.cpp is compiled once a level and exports one function, that level's table of the
// room's loops: fcls_avx2(). The rest of the room, compiled once, asks for the active level's:
// fcls_kernels(). Three macros say so, given the table's type and the room's name.
#pragma once

namespace hud {

// Levels in rising order: "baseline", "avx2", "avx512".
int level_count();
const char* level_name(int level);
bool level_available(int level);

// The active level. set_level returns false where the level is unknown here.
int active_level();
bool set_level(const char* name);

}  // namespace hud

// The levels compiled in, in rising order.
#ifdef HUD_X86_LEVELS
#define HUD_EACH_LEVEL(f, room) f(room, baseline), f(room, avx2), f(room, avx512)
#else
#define HUD_EACH_LEVEL(f, room) f(room, baseline)
#endif

// In a header of the room.
#define HUD_DECLARE_LEVELS(Table, room) \
  const Table* room##_baseline();       \
  const Table* room##_avx2();           \
  const Table* room##_avx512();         \
  const Table& room##_kernels()

// In levels.cpp, where HUD_ISA names the level, after its `table` in that namespace.
#define HUD_JOIN_OF(a, b) a##b
#define HUD_JOIN(a, b) HUD_JOIN_OF(a, b)
#define HUD_EXPORT_LEVEL(Table, room) \
  const Table* HUD_JOIN(room##_, HUD_ISA)() { return &HUD_ISA::table; }

// In a file that is compiled once.
#define HUD_TABLE_OF(room, level) room##_##level
#define HUD_DEFINE_KERNELS(Table, room)                                                 \
  const Table& room##_kernels() {                                                       \
    static constexpr const Table* (*tables[])() = {HUD_EACH_LEVEL(HUD_TABLE_OF, room)}; \
    return *tables[active_level()]();                                                   \
  }
