"""The kernels: a room an operation (`latent`, `noise`, `network`, `fcls`, `cosine`, `windows`), what they share, and
`gpu_check`.

`GPU_KERNELS`, `proven` and `resolve` are the diffusion's, which asks what a GPU has proved before it records a graph.
"""

from hud_fast.kernels._backend import GPU_KERNELS as GPU_KERNELS
from hud_fast.kernels._backend import can_run, last_backend
from hud_fast.kernels._backend import proven as proven
from hud_fast.kernels._backend import resolve as resolve
from hud_fast.kernels._native import build_config, get_isa, isa_levels, set_isa
from hud_fast.kernels.cosine import CosineIndex, cosine_max
from hud_fast.kernels.fcls import FCLSResult, fcls
from hud_fast.kernels.latent import (
    log_project,
    log_standardize,
    simplex_softmax,
    softmax_decode,
    standardized_softmax,
)
from hud_fast.kernels.network import conv3x3 as conv3x3
from hud_fast.kernels.network import layers_run as layers_run
from hud_fast.kernels.network import norm_silu as norm_silu
from hud_fast.kernels.noise import normal_noise, q_sample, sampler_step, sampler_step_at
from hud_fast.kernels.windows import WindowIndex, window_search

from hud_fast.kernels.gpu_check import GPUCheck, check_gpu  # isort: skip  it checks all of the above

__all__ = [
    "CosineIndex",
    "FCLSResult",
    "GPUCheck",
    "WindowIndex",
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
    "q_sample",
    "sampler_step",
    "sampler_step_at",
    "set_isa",
    "simplex_softmax",
    "softmax_decode",
    "standardized_softmax",
    "window_search",
]
