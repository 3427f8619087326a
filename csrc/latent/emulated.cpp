// The device's softmax of band-last rows, thread by thread on the host: what the tests run where
// there is no GPU.
#define HUD_ISA emulated
#include "latent/emulated.h"

#include <vector>

#include "latent/device_softmax.h"

namespace hud {
namespace {

constexpr int kLanes = 128;  // as kRowLanes in latent/simplex_softmax.cu

template <typename T>
void rows(const void* a, const void* b, void* out, int64_t total, int D) {
  std::vector<char> shared(emulated::row_stage_bytes<T>(kLanes, D, b != nullptr));
  for (int64_t first = 0; first < total; first += kLanes) {
    const int64_t left = total - first, at = first * D;
    emulated::softmax_rows_tile(
        emulated::HostGroup<kLanes>{}, static_cast<const T*>(a) + at,
        b == nullptr ? nullptr : static_cast<const T*>(b) + at, static_cast<T*>(out) + at,
        static_cast<int>(left < kLanes ? left : kLanes), D, reinterpret_cast<T*>(shared.data()));
  }
}

template <typename T>
struct Place {
  T* p;
  int64_t inner;
  T operator()(int64_t d) const { return p[d * inner]; }
  void operator()(int64_t d, T value) const { p[d * inner] = value; }
};

template <int Most, typename T>
void maps(const void* a, void* out, int64_t outer, int D, int64_t inner) {
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const int64_t at = o * D * inner + i;
      T* const from = const_cast<T*>(static_cast<const T*>(a));
      emulated::softmax_short_line<Most, T>(Place<T>{from + at, inner},
                                            Place<T>{static_cast<T*>(out) + at, inner}, D);
    }
}

template <typename T>
void softmax(const void* a, const void* b, void* out, int64_t outer, int D, int64_t inner) {
  if (inner == 1) {
    rows<T>(a, b, out, outer, D);
  } else if (D <= 8) {
    maps<8, T>(a, out, outer, D, inner);
  } else if (D <= 16) {
    maps<16, T>(a, out, outer, D, inner);
  } else {
    maps<32, T>(a, out, outer, D, inner);
  }
}

}  // namespace

int emulated_longest_row() { return emulated::kLongestStaged; }

void emulated_softmax(const void* a, const void* b, void* out, bool is_float32, int64_t outer,
                      int D, int64_t inner) {
  is_float32 ? softmax<float>(a, b, out, outer, D, inner)
             : softmax<double>(a, b, out, outer, D, inner);
}

}  // namespace hud
