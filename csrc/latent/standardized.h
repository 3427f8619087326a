// The latent space's standardised logarithm (HUD, arXiv 2506.02601, eqs. 4 to 6, with one mean and
// standard deviation an endmember): z = (ln(max(x, 0) + delta) - mean) / std, and its inverse's
// inner part. `inverse` is 1 / std.
#pragma once

#include "latent/simplex.h"

HUD_CORE_BEGIN

template <typename V>
HUD_HD V log_standardize(V x, V delta, V mean, V inverse) {
  return (log_project(x, delta) - mean) * inverse;
}

template <typename V>
HUD_HD V log_standardize_backward(V g, V x, V delta, V inverse) {
  return log_project_backward(g * inverse, x, delta);
}

// Reads z_d std_d + mean_d: what the softmax of the inverse is taken of.
template <typename V, typename Source>
struct UnstandardizedSource {
  const Source& z;
  const Element<V>* mean;
  const Element<V>* std;
  HUD_HD V operator()(int64_t d) const { return z(d) * splat<V>(std[d]) + splat<V>(mean[d]); }
};

HUD_CORE_END
