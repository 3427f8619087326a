"""HUD beside its rivals: the same calls for `hud_fast.HUD`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hud_fast.baselines.training import Progress
from hud_fast.baselines.windows import Scaling
from hud_fast.diffusion import HUD
from hud_fast.diffusion.presets import PRESETS, Preset
from hud_fast.scenes import Scene


class HUDMethod:
    """HUD (arXiv 2506.02601) as this package trains it, in the sizes of a comparison.

    ``paper`` is the preset of that name; ``demo`` the preset ``tiny`` with fewer steps, about as long as the rivals
    train; ``micro`` a test's. It learns abundances in the scene's own unit, so no scaling is asked of it.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> model = HUDMethod.fit(simulate_scene(40, 40, C=12, D=3, seed=0), budget="micro", device="cpu")
    >>> model.sample(2).shape
    (2, 32, 32, 12)
    """

    name: ClassVar[str] = "hud"
    title: ClassVar[str] = "HUD"
    source: ClassVar[str] = "Shen et al. 2025, arXiv 2506.02601; this package's preset"
    generates: ClassVar[bool] = True
    budgets: ClassVar[Mapping[str, Preset]] = {
        "micro": replace(PRESETS["tiny"], steps=4, batch=2, sampler_steps=2, patches="no"),
        "demo": replace(PRESETS["tiny"], steps=250),
        "paper": PRESETS["paper"],
    }

    def __init__(self, model: HUD, budget: str) -> None:
        self.model, self.budget = model, budget

    @classmethod
    def fit(
        cls,
        scene: Scene,
        *,
        budget: str = "demo",
        seed: int = 0,
        device: Any = None,
        scaling: Scaling | None = None,
        settings: Mapping[str, Any] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        resume: bool = True,
        progress: Progress | None = None,
    ) -> Self:
        """As `Baseline.fit`; `settings` are changes of the preset."""
        del scaling
        model = HUD.fit(
            scene,
            preset=replace(cls.budgets[budget], **(settings or {})),
            seed=seed,
            device=device,
            checkpoint_dir=checkpoint_dir,
            resume=resume,
            progress=progress,
        )
        return cls(model, budget)

    def sample(
        self, n: int, *, seed: int = 0, first: int = 0, progress: Progress | None = None
    ) -> NDArray[np.float32]:  # (n, crop, crop, C)
        """Generate cubes in the unit of the scene's cube."""
        cubes: NDArray[np.float32] = self.model.sample(n, seed=seed, first=first, progress=progress)
        return cubes

    def summary(self) -> dict[str, Any]:
        """The model in plain, JSON-able numbers and words."""
        known = self.model.summary()
        return {
            "method": self.name,
            "source": self.source,
            "generates": True,
            "budget": self.budget,
            "settings": known["preset"],
            "parameters": known["parameters"],
            "gflop": self._gflop(),
            "training_steps": {"diffusion": known["training_steps"]},
            "training_seconds": known["training_seconds"],
            "final_loss": known["final_loss"],
            "seed": known["seed"],
        }

    def _gflop(self) -> float:
        """Of the network's forward pass for one block."""
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        network, side = self.model.network, self.model.preset.crop
        if network is None:
            return 0.0
        z = torch.zeros(1, self.model.D, side, side, device=self.model.device)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network(z, torch.zeros(1, dtype=torch.int64, device=z.device))
        return float(counter.get_total_flops()) / 1e9

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model to a folder, as `HUD.save`."""
        self.model.save(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: Any = None) -> Self:
        """Read a model that `save` wrote."""
        model = HUD.load(folder, device=device)
        same = (name for name, preset in cls.budgets.items() if preset == model.preset)
        return cls(model, next(same, "demo"))
