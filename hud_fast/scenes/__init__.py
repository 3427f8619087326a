"""Scenes: what a hyperspectral image is, where public ones come from, how they are read and written."""

from __future__ import annotations

from hud_fast.scenes.blocks import SceneBlocks
from hud_fast.scenes.catalogue import CATALOGUE, Entry, find_entry
from hud_fast.scenes.fetch import fetch
from hud_fast.scenes.library import Library
from hud_fast.scenes.library_files import read_library
from hud_fast.scenes.load import load_scene, open_scene
from hud_fast.scenes.opened import SceneFile
from hud_fast.scenes.save import save_scene
from hud_fast.scenes.scene import Scene, Truth
from hud_fast.scenes.simulate import simulate_scene

__all__ = [
    "CATALOGUE",
    "Entry",
    "Library",
    "Scene",
    "SceneBlocks",
    "SceneFile",
    "Truth",
    "fetch",
    "find_entry",
    "load_scene",
    "open_scene",
    "read_library",
    "save_scene",
    "simulate_scene",
]
