"""Noise that is a function of its address (Philox), and what mixes it with latents: eqs. 8 and 14."""

from hud_fast.kernels.noise.normal_noise import normal_noise
from hud_fast.kernels.noise.q_sample import q_sample
from hud_fast.kernels.noise.sampler_step import sampler_step
from hud_fast.kernels.noise.sampler_step_at import sampler_step_at

__all__ = ["normal_noise", "q_sample", "sampler_step", "sampler_step_at"]
