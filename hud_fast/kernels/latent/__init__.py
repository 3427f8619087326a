"""Onto the simplex and back: log-projection, softmax, standardisation, decoding to spectra (eqs. 4 to 6)."""

from hud_fast.kernels.latent.log_project import log_project
from hud_fast.kernels.latent.log_standardize import log_standardize
from hud_fast.kernels.latent.simplex_softmax import simplex_softmax
from hud_fast.kernels.latent.softmax_decode import softmax_decode
from hud_fast.kernels.latent.standardized_softmax import standardized_softmax

__all__ = [
    "log_project",
    "log_standardize",
    "simplex_softmax",
    "softmax_decode",
    "standardized_softmax",
]
