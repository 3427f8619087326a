"""Unmixing Before Fusion: UnmixDiff with an encoder that sees three bands, so that pictures have abundances, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from hud_fast._checks import check_choice
from hud_fast.baselines.baseline import BUDGETS
from hud_fast.baselines.pictures import read_pictures
from hud_fast.baselines.unmix_diff import UnmixDiff, UnmixSettings
from hud_fast.baselines.windows import Windows
from hud_fast.diffusion.crops import CropSampler
from hud_fast.scenes import Scene


@dataclass(frozen=True)
class FusionSettings(UnmixSettings):
    """As UnmixDiff's, and how many pictures the diffusion learned from; 0: none, but the scene."""

    images: int = 0


class UnmixingBeforeFusion(UnmixDiff):
    """Unmixing Before Fusion: abundances from three bands; the diffusion's may come from pictures.

    The encoder sees the scene's display bands alone, the decoder gives all bands. With ``images=folder`` in `fit` the
    diffusion learns abundances of the pictures there, as the original does with sets of RGB images of the ground; a
    picture's 0 to 255 stands for the scene's scale from end to end. Without, it learns the scene's own, and the method
    differs from `UnmixDiff` in the encoder's input alone; networks, losses, scale and `authors_scale` are the same.

    ======  ===  =============================  =====
    budget  C    parameters                     GFLOP
    ======  ===  =============================  =====
    demo    103  0.88 M (autoencoder 0.23 M)     0.68
    demo    200  0.88 M (0.23 M)                 0.69
    paper   103  96.8 M (2.25 M)                10.47
    paper   200  96.8 M (2.25 M)                10.47
    ======  ===  =============================  =====

    References
    ----------
    Yu et al., Unmixing Before Fusion, CVPR 2024.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> scene = simulate_scene(40, 40, C=12, D=3, seed=0)
    >>> model = UnmixingBeforeFusion.fit(scene, budget="micro", device="cpu")
    >>> model.sample(2, seed=0).shape, model.summary()["settings"]["images"]
    ((2, 32, 32, 12), 0)
    """

    name: ClassVar[str] = "ubf"
    title: ClassVar[str] = "UBF"
    source: ClassVar[str] = "Yu et al., Unmixing Before Fusion, CVPR 2024"
    budgets: ClassVar = {
        budget: FusionSettings(**asdict(UnmixDiff.budgets[budget])) for budget in BUDGETS
    }
    pictures: CropSampler | None = None  # while it is trained

    @classmethod
    def fit(
        cls,
        scene: Scene,
        *,
        images: str | os.PathLike[str] | None = None,
        budget: str = "demo",
        settings: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> Self:
        """As `Baseline.fit`, with pictures.

        Parameters
        ----------
        images : path, optional
            A folder of PNG and JPEG pictures of 8 bits, at least as large as the windows, whose abundances the
            diffusion learns in place of the scene's. The model keeps their number, not the pictures.

        Raises
        ------
        ValueError
            A folder without pictures; one that is too small or cannot be read.
        """
        caller = f"{cls.__name__}.fit"
        check_choice(caller, "budget", budget, BUDGETS)
        chosen = dict(settings or {})
        if "images" in chosen:
            raise ValueError(
                f"{caller}: `settings` must not hold images, which counts the pictures of `images`, "
                f"got {chosen['images']!r}"
            )
        pictures = None
        if images is not None:
            crop = chosen.get("crop", cls.budgets[budget].crop)
            pictures = read_pictures(caller, "images", images, crop)
            chosen["images"] = len(pictures.counts)
        made = super().fit(scene, budget=budget, settings=chosen, pictures=pictures, **given)
        made.pictures = None
        return made

    def learn(self, windows: Windows, pictures: CropSampler | None = None) -> None:
        super().learn(windows)
        self.pictures = pictures

    @property
    def inputs(self) -> int:
        return 3

    def seen(self, reflectance: Tensor) -> Tensor:  # (B, C, crop, crop) -> (B, 3, crop, crop)
        return reflectance[:, list(self.scene.rgb_bands)]

    def pictured(self, windows: Windows) -> Tensor:  # (B, 3, crop, crop)
        if self.pictures is None:
            return super().pictured(windows)
        drawn = self.pictures.draw(self.settings.diffusion_batch, torch.default_generator)
        return drawn.to(self.device, torch.float32) / 255
