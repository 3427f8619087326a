"""The kernels: one module an operation: its formula, a plain torch reference, the op, the public function."""

from hud_fast.kernels._backend import GPU_KERNELS, can_run, last_backend, proven, resolve
from hud_fast.kernels._native import build_config, get_isa, isa_levels, set_isa
from hud_fast.kernels.cosine import cosine_max
from hud_fast.kernels.cosine.index import CosineIndex
from hud_fast.kernels.fcls import FCLSResult, fcls
from hud_fast.kernels.latent.log_project import log_project
from hud_fast.kernels.latent.log_standardize import log_standardize
from hud_fast.kernels.latent.simplex_softmax import simplex_softmax
from hud_fast.kernels.latent.softmax_decode import softmax_decode
from hud_fast.kernels.latent.standardized_softmax import standardized_softmax
from hud_fast.kernels.noise.normal_noise import normal_noise
from hud_fast.kernels.noise.q_sample import q_sample
from hud_fast.kernels.noise.sampler_step import sampler_step
from hud_fast.kernels.noise.sampler_step_at import sampler_step_at
from hud_fast.kernels.windows import window_search

from hud_fast.kernels.gpu_check import GPUCheck, check_gpu  # isort: skip  it checks all of the above

__all__ = [
    "GPU_KERNELS",
    "CosineIndex",
    "FCLSResult",
    "GPUCheck",
    "build_config",
    "can_run",
    "check_gpu",
    "cosine_max",
    "fcls",
    "get_isa",
    "isa_levels",
    "last_backend",
    "log_project",
    "log_standardize",
    "normal_noise",
    "proven",
    "q_sample",
    "resolve",
    "sampler_step",
    "sampler_step_at",
    "set_isa",
    "simplex_softmax",
    "softmax_decode",
    "standardized_softmax",
    "window_search",
]
