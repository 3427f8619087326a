"""HUD's rivals, written from their papers: what the paper compares with, under one interface.

Each method learns windows of one scene, generates cubes, and is saved and loaded as a HUD model is.
"""

from __future__ import annotations

from hud_fast.baselines.baseline import BUDGETS, Baseline, Settings
from hud_fast.baselines.hud import HUDMethod
from hud_fast.baselines.method import Method
from hud_fast.baselines.mprnet import MPRNet
from hud_fast.baselines.unmix_diff import UnmixDiff
from hud_fast.baselines.unmixing_before_fusion import UnmixingBeforeFusion
from hud_fast.baselines.vae import VAE
from hud_fast.baselines.wgan_gp import WGANGP
from hud_fast.baselines.windows import Scaling

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (VAE, WGANGP, MPRNet, UnmixDiff, UnmixingBeforeFusion, HUDMethod)
}

__all__ = [
    "BUDGETS",
    "METHODS",
    "VAE",
    "WGANGP",
    "Baseline",
    "HUDMethod",
    "MPRNet",
    "Method",
    "Scaling",
    "Settings",
    "UnmixDiff",
    "UnmixingBeforeFusion",
]
