"""What trains, what judges, and in which unit: the two protocols.

``sound``: the generators and the classifiers learn one half of the scene, the other half judges, in the scene's own
unit. ``paper``: what the authors' code does: all learn the whole scene and are judged by it, everything is clipped to
[0, full scale] and mapped to [-1, 1] before it is measured, blocks are compared in four quarter turns, and 8 samples
are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hud_fast.baselines import Scaling
from hud_fast.diffusion.preparation import choose_endmembers, known_count
from hud_fast.metrics import Clusters
from hud_fast.pipeline.evaluate import Halves, split
from hud_fast.pipeline.rundir import fingerprint
from hud_fast.scenes import CATALOGUE, Scene

PROTOCOLS = ("sound", "paper")
SAMPLES = {"sound": 64, "paper": 8}
CROP = 32
FEWEST_LABELLED = 200  # pixels of a half: with fewer, classes are clusters
CLUSTERS = 10  # where neither the catalogue nor labels say how many classes there are


@dataclass(frozen=True, eq=False)
class Task:
    """One scene under one protocol."""

    protocol: str
    scene: Scene  # without bad bands
    halves: Halves
    seed: int

    @classmethod
    def of(cls, scene: Scene, protocol: str, seed: int = 0) -> Task:
        """Cut the scene, or raise `InputError` where it has no room for two halves of 32 x 32 windows."""
        return cls(protocol, scene, split(scene, (CROP, CROP)), seed)

    @property
    def training(self) -> Scene:
        """What generators and classifiers learn."""
        return self.halves.training if self.protocol == "sound" else self.scene

    @property
    def reference(self) -> Scene:
        """What judges."""
        return self.halves.held_out if self.protocol == "sound" else self.scene

    @property
    def full_scale(self) -> float:
        """What the authors clip this scene to, in the cube's unit; of a scene they do not have, its largest value."""
        entry = CATALOGUE.get(self.scene.name)
        if entry is not None and entry.full_scale is not None:
            return entry.full_scale / self.scene.scale
        return float(self.scene.valid_pixels.max())

    @property
    def scaling(self) -> Scaling:
        """To [-1, 1], for the networks that ask for it."""
        if self.protocol == "paper":
            return Scaling(0.0, self.full_scale, clip=True)
        return Scaling.of(self.training)

    @property
    def metric_options(self) -> dict[str, Any]:
        """Of `point_fidelity`, `block_diversity` and `spectral_floor`."""
        if self.protocol == "paper":
            return {"scale": "paper", "full_scale": self.full_scale}
        return {}

    @cached_property
    def classes(self) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
        """Labels of `training` and of `reference`, 0 = none, and where they come from."""
        training, reference = self.training.labels, self.reference.labels
        if training is not None and reference is not None:
            counts = np.bincount(training[self.training.valid].ravel())[1:]
            if (counts > 0).sum() >= 2 and counts.sum() >= FEWEST_LABELLED:
                found = training.astype(np.int64), reference.astype(np.int64)
                return *found, f"{int((counts > 0).sum())} classes of the scene's labels"
        K = known_count(self.scene) or CLUSTERS
        clusters = Clusters.fit(self.training.cube, K, mask=self.training.valid, seed=self.seed)
        labels = [
            clusters.labels(part.cube, mask=part.valid) for part in (self.training, self.reference)
        ]
        return labels[0], labels[1], f"{K} clusters of spectra: the scene has no labels"

    @cached_property
    def endmembers(self) -> NDArray[np.float32]:  # (D, C)
        """In whose abundances all cubes are compared: as HUD finds them on what trains."""
        return choose_endmembers(self.training, None, seed=self.seed)

    @cached_property
    def fingerprint(self) -> str:
        """Of the values and of which pixels are valid."""
        return fingerprint(self.scene.cube) + fingerprint(self.scene.valid)

    def to_dict(self) -> dict[str, Any]:
        """In words and numbers, JSON-able."""
        return {
            "protocol": self.protocol,
            "scene": self.scene.name,
            "shape": [*self.scene.shape],
            "split": self.halves.to_dict(),
            "full_scale": self.full_scale,
            "scaling": [self.scaling.low, self.scaling.high],
            "classes": self.classes[2],
            "endmembers": len(self.endmembers),
        }
