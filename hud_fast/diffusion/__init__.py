"""The abundance diffusion module: learn the abundance maps of one scene, and make new ones.

scene -> abundances -> z (`latent`) -> windows (`crops`) -> training (`training`, `network`,
`schedule`) -> samples (`sampling`) -> abundances -> cubes (`model`)
"""

from __future__ import annotations

from hud_fast.diffusion.abundance_model import AbundanceModel
from hud_fast.diffusion.classes import ClassMaps
from hud_fast.diffusion.fitting import fit_scenes
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.model import HUD
from hud_fast.diffusion.presets import PRESETS, Preset
from hud_fast.diffusion.scene_facts import SceneFacts
from hud_fast.diffusion.schedule import NoiseSchedule

__all__ = [
    "HUD",
    "PRESETS",
    "AbundanceModel",
    "ClassMaps",
    "LatentSpace",
    "NoiseSchedule",
    "Preset",
    "SceneFacts",
    "fit_scenes",
]
