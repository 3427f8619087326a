"""Rivals of HUD, written from their papers: what the paper compares with, under one interface.

Each method learns windows of one scene, generates cubes, and is saved and loaded as a HUD model is.
"""

from __future__ import annotations

from hud_fast.baselines.baseline import BUDGETS, Baseline, Settings
from hud_fast.baselines.unmix_diff import UnmixDiff
from hud_fast.baselines.unmixing_before_fusion import UnmixingBeforeFusion
from hud_fast.baselines.windows import Scaling

__all__ = [
    "BUDGETS",
    "Baseline",
    "Scaling",
    "Settings",
    "UnmixDiff",
    "UnmixingBeforeFusion",
]
