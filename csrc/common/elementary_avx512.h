// log and exp of the AVX-512 level: tables of 16 entries that lie in registers take the place of
// the division and of most of the polynomial (float64 log: 45 to 20 instructions).
//
// log x = e ln2 - log c + log1p(z c - 1), c near 1 / z for each sixteenth of z's range and exactly
// 1 about z = 1, so that log keeps its relative accuracy there. exp x = 2^(k / 16) exp r, |r| <=
// ln2 /
// 32. Polynomials: fitted at Chebyshev's points in 200-bit arithmetic; relative error of log1p and
// exp below 2e-17 (float64) and 1e-8 (float32). Tables rounded from the same arithmetic.
#pragma once

#include "common/vector.h"

HUD_CORE_BEGIN

template <>
struct Elementary<Float32s> {
  static HUD_HD Float32s log_positive(Float32s x) {
    const Float32s inverse = {
        1.400820851e+00f, 1.342070818e+00f, 1.288050294e+00f, 1.238210440e+00f,
        1.192083836e+00f, 1.149270535e+00f, 1.109425783e+00f, 1.072251320e+00f,
        1.037487388e+00f, 1.000000000e+00f, 9.499072433e-01f, 8.966724873e-01f,
        8.490878940e-01f, 8.062992096e-01f, 7.676162124e-01f, 7.324749827e-01f};
    const Float32s logarithm = {
        -3.370583951e-01f, -2.942138016e-01f, -2.531296611e-01f, -2.136671394e-01f,
        -1.757028997e-01f, -1.391274184e-01f, -1.038425714e-01f, -6.976047903e-02f,
        -3.680181503e-02f, 0.000000000e+00f,  5.139093846e-02f,  1.090646014e-01f,
        1.635925770e-01f,  2.153003812e-01f,  2.644653916e-01f,  3.113260865e-01f};
    const Bits32s bits = bits_to<Bits32s>(x);
    const Bits32s shifted = bits - 0x3f32c000U;
    const __m512i index = bits_to<__m512i>(shifted >> 19);
    const __m512i exponent = _mm512_srai_epi32(bits_to<__m512i>(shifted), 23);
    const Float32s e = _mm512_cvtepi32_ps(exponent);
    const Float32s z = bits_to<Float32s>(bits - (shifted & 0xff800000U));
    const Float32s c = _mm512_permutexvar_ps(index, inverse);
    const Float32s l = _mm512_permutexvar_ps(index, logarithm);
    const Float32s r = _mm512_fmsub_ps(z, c, splat<Float32s>(1.0f));
    const Float32s q =
        -4.999999702e-01f + r * (3.333333135e-01f + r * (-2.501469553e-01f + r * 2.001259625e-01f));
    const Float32s low = e * 1.428606765330187e-06f + (l + (r + (r * r) * q));
    const Float32s y = e * 0.693145751953125f + low;
    return x <= splat<Float32s>(3.402823466e38f) ? y : x;
  }
  static HUD_HD Float32s exp_nonpositive(Float32s x) {
    const float magic = 12582912.0f;                               // 1.5 * 2^23
    const Float32s bounded = larger(splat<Float32s>(-104.0f), x);  // NaN passes
    const Float32s k = (bounded * 1.4426950216e+00f + magic) - magic;
    const Float32s r = (bounded - k * 6.93145751953125e-01f) - k * 1.428606765330187e-06f;
    const Float32s q = 5.000000000e-01f +
                       r * (1.666657627e-01f +
                            r * (4.166655615e-02f + r * (8.363178931e-03f + r * 1.392618404e-03f)));
    return _mm512_scalef_ps(1.0f + (r + (r * r) * q), k);
  }
  static HUD_HD Float32s larger(Float32s a, Float32s b) { return _mm512_max_ps(a, b); }
};

template <>
struct Elementary<Float64s> {
  static HUD_HD Float64s log_positive(Float64s x) {
    const Float64s inverse_low = {1.40082079343365251e+00, 1.34207077326343382e+00,
                                  1.28805031446540874e+00, 1.23821039903264807e+00,
                                  1.19208381839348077e+00, 1.14927048260381603e+00,
                                  1.10942578548212345e+00, 1.07225130890052367e+00};
    const Float64s inverse_high = {1.03748733535967586e+00, 1.00000000000000000e+00,
                                   9.49907235621521351e-01, 8.96672504378283719e-01,
                                   8.49087893864013288e-01, 8.06299212598425186e-01,
                                   7.67616191904047951e-01, 7.32474964234620884e-01};
    const Float64s log_low = {-3.37058345849674590e-01, -2.94213774314996124e-01,
                              -2.53129690945121166e-01, -2.13667110575761737e-01,
                              -1.75702883615197702e-01, -1.39127378128643869e-01,
                              -1.03842571096600889e-01, -6.97604651187229557e-02};
    const Float64s log_high = {-3.68017661659715764e-02, 0.00000000000000000e+00,
                               5.13909458694893559e-02,  1.09064584616502425e-01,
                               1.63592571687677629e-01,  2.15300373853183874e-01,
                               2.64465420876115964e-01,  3.11326117194302476e-01};
    const Bits64s bits = bits_to<Bits64s>(x);
    const Bits64s shifted = bits - 0x3fe6580000000000ULL;
    const __m512i index = bits_to<__m512i>(shifted >> 48);
    const __m512i exponent = _mm512_srai_epi64(bits_to<__m512i>(shifted), 52);
    const Float64s e = _mm512_cvtepi64_pd(exponent);
    const Float64s z = bits_to<Float64s>(bits - (shifted & 0xfff0000000000000ULL));
    const Float64s c = _mm512_permutex2var_pd(inverse_low, index, inverse_high);
    const Float64s l = _mm512_permutex2var_pd(log_low, index, log_high);
    const Float64s r = _mm512_fmsub_pd(z, c, splat<Float64s>(1.0));
    const Float64s r2 = r * r;
    const Float64s q0 = -4.99999999999999556e-01 + r * 3.33333333333332926e-01;
    const Float64s q2 = -2.50000000017129909e-01 + r * 2.00000000015572998e-01;
    const Float64s q4 = -1.66666569479458709e-01 + r * 1.42857054503338299e-01;
    const Float64s q6 = -1.25176413208736514e-01 + r * 1.11271489247958821e-01;
    const Float64s q = q0 + r2 * (q2 + r2 * (q4 + r2 * q6));
    const Float64s low = e * 1.90821492927058770002e-10 + (l + (r + r2 * q));
    const Float64s y = e * 6.93147180369123816490e-01 + low;
    return x <= splat<Float64s>(1.7976931348623157e308) ? y : x;
  }
  static HUD_HD Float64s exp_nonpositive(Float64s x) {
    const Float64s root_low = {1.00000000000000000e+00, 1.04427378242741375e+00,
                               1.09050773266525769e+00, 1.13878863475669156e+00,
                               1.18920711500272103e+00, 1.24185781207348400e+00,
                               1.29683955465100964e+00, 1.35425554693689265e+00};
    const Float64s root_high = {1.41421356237309515e+00, 1.47682614593949935e+00,
                                1.54221082540794074e+00, 1.61049033194925428e+00,
                                1.68179283050742900e+00, 1.75625216037329945e+00,
                                1.83400808640934243e+00, 1.91520656139714740e+00};
    const double magic = 6755399441055744.0;                      // 1.5 * 2^52
    const Float64s bounded = larger(splat<Float64s>(-746.0), x);  // NaN passes
    const Float64s shifted = bounded * 23.083120654223414 + magic;
    const Float64s k = shifted - magic;
    const Float64s r = (bounded - k * 0.04332169878489367) - k * 1.0291218489310676e-13;
    const Float64s root = _mm512_permutex2var_pd(root_low, bits_to<__m512i>(shifted), root_high);
    const Float64s q = 5.00000000000000000e-01 +
                       r * (1.66666666653011442e-01 +
                            r * (4.16666666649597658e-02 +
                                 r * (8.33344972452835543e-03 + r * 1.38890343776930120e-03)));
    const Float64s p = r + (r * r) * q;
    return _mm512_scalef_pd(root + root * p, k * 0.0625);  // scalef takes the floor of k / 16
  }
  static HUD_HD Float64s larger(Float64s a, Float64s b) { return _mm512_max_pd(a, b); }
};

HUD_CORE_END
