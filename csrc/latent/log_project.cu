// The log-projection on the device: csrc/latent/simplex.h, in accesses of 16 bytes, four of them in
// flight a thread. With 1024 threads on a multiprocessor these are 64 KiB; Hopper's memory needs
// some 30.
#define HUD_ISA device
#include "common/device.cuh"
#include "latent/device.h"
#include "latent/simplex.h"

namespace hud::cuda {
namespace {

constexpr int kPacks = 4;

template <typename T>
struct alignas(16) Pack {
  static constexpr int kValues = 16 / sizeof(T);
  T v[kValues];
};

template <bool Backward, typename T>
__device__ T value(T g, T x, T delta) {
  if constexpr (Backward) return hud::device::log_project_backward(g, x, delta);
  return hud::device::log_project(x, delta);
}

// `packs` whole packs, then what is left of `count`. g is not read forward.
template <bool Backward, typename T>
__global__ void __launch_bounds__(kThreads)
    project(const T* g, const T* x, T* out, int64_t count, int64_t packs, T delta) {
  using P = Pack<T>;
  const P* const gs = reinterpret_cast<const P*>(g);
  const P* const xs = reinterpret_cast<const P*>(x);
  P* const outs = reinterpret_cast<P*>(out);
  const int64_t together = static_cast<int64_t>(kThreads) * kPacks;
  for (int64_t tile = blockIdx.x * together; tile < packs; tile += gridDim.x * together) {
    P gp[kPacks], xp[kPacks];
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t i = tile + k * kThreads + threadIdx.x;
      if (i < packs) {
        xp[k] = xs[i];
        if (Backward) gp[k] = gs[i];
      }
    }
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t i = tile + k * kThreads + threadIdx.x;
      if (i < packs) {
        P result;
#pragma unroll
        for (int v = 0; v < P::kValues; ++v)
          result.v[v] = value<Backward>(Backward ? gp[k].v[v] : T(0), xp[k].v[v], delta);
        outs[i] = result;
      }
    }
  }
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = packs * P::kValues + static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < count; i += step)
    out[i] = value<Backward>(Backward ? g[i] : T(0), x[i], delta);
}

bool on_16_bytes(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

template <typename T>
void launch(const void* g, const void* x, void* out, int64_t count, double delta,
            cudaStream_t stream) {
  // A tensor may begin between the packs' places: then value by value.
  const bool aligned = on_16_bytes(g) && on_16_bytes(x) && on_16_bytes(out);
  const int64_t packs = aligned ? count / Pack<T>::kValues : 0;
  const unsigned blocks = blocks_for(aligned ? packs / kPacks + 1 : count);
  const T* const gs = static_cast<const T*>(g);
  const T* const xs = static_cast<const T*>(x);
  T* const to = static_cast<T*>(out);
  if (g == nullptr) {
    project<false>
        <<<blocks, kThreads, 0, stream>>>(gs, xs, to, count, packs, static_cast<T>(delta));
  } else {
    project<true><<<blocks, kThreads, 0, stream>>>(gs, xs, to, count, packs, static_cast<T>(delta));
  }
}

int guarded(const void* g, const void* x, void* out, bool is_float32, int64_t count, double delta,
            int device, void* stream) {
  if (count == 0) return cudaSuccess;
  const DeviceGuard guard(device);
  if (guard.status() != cudaSuccess) return guard.status();
  const auto on = static_cast<cudaStream_t>(stream);
  is_float32 ? launch<float>(g, x, out, count, delta, on)
             : launch<double>(g, x, out, count, delta, on);
  return cudaGetLastError();
}

}  // namespace

int log_project(const void* x, void* z, bool is_float32, int64_t count, double delta, int device,
                void* stream) {
  return guarded(nullptr, x, z, is_float32, count, delta, device, stream);
}

int log_project_backward(const void* g, const void* x, void* gx, bool is_float32, int64_t count,
                         double delta, int device, void* stream) {
  return guarded(g, x, gx, is_float32, count, delta, device, stream);
}

}  // namespace hud::cuda
