// out = a z + b e + c n for samples of a batch, each with its own a, b, c; n is given or drawn
// here. Serves eq. 8 (q_sample), a sampler's step (eq. 14, DDIM) and plain noise.
#pragma once

#include "noise/lanewise.h"

HUD_CORE_BEGIN

// The 64 normals of group g of a sample.
HUD_HD void normal_group(const NoiseJob& job, int64_t sample, int64_t g, float* out) {
  constexpr int L = kWidth<float>;
  Bits32s lane;
  for (int l = 0; l < L; ++l) lane[l] = static_cast<uint32_t>(l);
  for (int first = 0; first < kNoiseBlocks; first += L) {
    const uint32_t block = static_cast<uint32_t>(g * kNoiseBlocks + first);
    Float32s normals[4];
    normal_block<Float32s>(lane + block, job.step, job.first + static_cast<uint64_t>(sample),
                           job.seed, normals);
    for (int k = 0; k < 4; ++k) store(out + k * kNoiseBlocks + first, normals[k]);
  }
}

HUD_HD Float32s noise_lanes(const float* p, Float32s*) { return load(p); }
HUD_HD Float64s noise_lanes(const float* p, Float64s*) {
  Float64s v;
  for (int l = 0; l < kWidth<double>; ++l) v[l] = static_cast<double>(p[l]);
  return v;
}

// n values; null pointers are left out. `drawn` holds a group's normals.
template <typename S>
HUD_HD void affine_values(const NoiseJob& job, int64_t sample, const S* z, const S* e,
                          const S* noise, const float* drawn, S* out, S* noise_out, int64_t n) {
  using V = VectorOf<S>;
  using T = Compute<S>;
  constexpr int L = kWidth<Element<V>>;
  const V a = splat<V>(static_cast<T>(job.z_factor[sample]));
  const V b = splat<V>(static_cast<T>(job.e_factor[sample]));
  const V c = splat<V>(static_cast<T>(job.noise_factor[sample]));
  for (int64_t i = 0; i < n; i += L) {
    const int64_t left = n - i;
    const bool whole = left >= L;
    V sum = V{}, normal = V{};
    if (z != nullptr) sum = a * (whole ? load(z + i) : load_part(z + i, left));
    if (e != nullptr) sum += b * (whole ? load(e + i) : load_part(e + i, left));
    if (drawn != nullptr) normal = noise_lanes(drawn + i, static_cast<V*>(nullptr));
    if (noise != nullptr) normal = whole ? load(noise + i) : load_part(noise + i, left);
    if (drawn != nullptr || noise != nullptr) sum += c * normal;
    if (whole) {
      store(out + i, sum);
      if (noise_out != nullptr) store(noise_out + i, normal);
    } else {
      store_part(out + i, sum, left);
      if (noise_out != nullptr) store_part(noise_out + i, normal, left);
    }
  }
}

// Groups [begin, end) of all samples' groups, counted through.
template <typename S>
void diffusion_step_range(const NoiseJob& job, int64_t begin, int64_t end) {
  const int64_t groups = (job.count + kNoiseGroup - 1) / kNoiseGroup;
  alignas(Float32s) float drawn[kNoiseGroup];
  const S* const z = static_cast<const S*>(job.z);
  const S* const e = static_cast<const S*>(job.e);
  const S* const noise = static_cast<const S*>(job.noise);
  S* const noise_out = static_cast<S*>(job.noise_out);
  for (int64_t item = begin; item < end;) {
    const int64_t sample = item / groups, g = item % groups;
    // One group where noise is drawn, else all that is left of the sample.
    const int64_t more = groups - g < end - item ? groups - g : end - item;
    const int64_t taken = job.draw ? 1 : more;
    const int64_t first = g * kNoiseGroup, offset = sample * job.count + first;
    const int64_t wanted = taken * kNoiseGroup;
    const int64_t n = job.count - first < wanted ? job.count - first : wanted;
    if (job.draw) normal_group(job, sample, g, drawn);
    affine_values(job, sample, z == nullptr ? z : z + offset, e == nullptr ? e : e + offset,
                  noise == nullptr ? noise : noise + offset, job.draw ? drawn : nullptr,
                  static_cast<S*>(job.out) + offset,
                  noise_out == nullptr ? noise_out : noise_out + offset, n);
    item += taken;
  }
}

// Four 32-bit numbers of one counter and key, for the test of the generator.
inline void philox_range(const uint32_t* counter, const uint32_t* key, uint32_t* out) {
  Bits32s c[4];
  for (int i = 0; i < 4; ++i) c[i] = Bits32s{} + counter[i];
  philox<Float32s>(c, key[0], key[1]);
  for (int i = 0; i < 4; ++i) out[i] = c[i][kWidth<float> - 1];
}

HUD_CORE_END
