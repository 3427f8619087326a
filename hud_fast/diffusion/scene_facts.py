"""What comes in as a scene, and what a model keeps of it for its cubes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.scenes import Scene


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """What a generated cube shares with the scene that the model learned."""

    name: str
    wavelengths: NDArray[np.float64] | None  # (C,) nm
    scale: float  # file value = cube value * scale
    rgb_bands: tuple[int, int, int]  # 0-based, red green blue
    simulated: bool
    fwhm: NDArray[np.float64] | None = None  # (C,) nm
    reflectance_factor: float | None = None  # file value = reflectance * factor

    @classmethod
    def of(cls, scene: Scene) -> SceneFacts:
        factor = scene.details.get("reflectance scale factor")
        return cls(
            scene.name,
            scene.wavelengths,
            scene.scale,
            scene.display_bands,
            scene.simulated,
            scene.fwhm,
            None if factor is None else float(factor),
        )

    @property
    def details(self) -> dict[str, str]:
        """What a scene of generated cubes keeps of the file's ways."""
        factor = self.reflectance_factor
        return {} if factor is None else {"reflectance scale factor": repr(factor)}


def scene_from(scene: Scene | NDArray[Any] | Tensor, function: str, argument: str) -> Scene:
    """What a user gives as a scene; a tensor stays known where it lies."""
    if isinstance(scene, Scene):
        return scene
    if not (isinstance(scene, (Tensor, list, tuple)) or hasattr(scene, "__array__")):
        word: Any = scene
        reads = isinstance(word, (str, os.PathLike))
        raise TypeError(
            f"{function}: `{argument}` must be a Scene or an (H, W, C) array, got {type(word).__name__}"
            + (": hud_fast.load_scene reads files" if reads else "")
        )
    return Scene(scene)  # type: ignore[arg-type]
