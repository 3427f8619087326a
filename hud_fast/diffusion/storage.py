"""A model's folder: config.json, network.safetensors, statistics.safetensors. See `folders`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hud_fast.diffusion.folders import FolderKind
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network, place
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.presets import Preset

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD

NETWORK, STATISTICS = "network.safetensors", "statistics.safetensors"
MODEL = FolderKind("HUD", "model", "hud_fast model", 1, (NETWORK, STATISTICS))


def save_model(model: HUD, folder: Path) -> None:
    """Write `model` to `folder`, all or nothing."""
    scene = model.scene
    config: dict[str, Any] = {
        "preset": model.preset.to_dict(),
        "seed": model.seed,
        "encoder": model.encoder,
        "raw_latent": model.latent.raw,
        "D": model.D,
        "C": model.C,
        "scene": {
            "name": scene.name,
            "scale": scene.scale,
            "rgb_bands": [int(band) for band in scene.rgb_bands],
            "simulated": scene.simulated,
        },
        "unmixing": model.unmixing,
        "history": model.history,
    }
    statistics = {
        "endmembers": torch.from_numpy(model.endmembers),
        "abundances": torch.from_numpy(model.abundances),
        "mean": model.latent.mean,
        "std": model.latent.std,
    }
    if scene.wavelengths is not None:
        statistics["wavelengths"] = torch.from_numpy(
            np.asarray(scene.wavelengths, dtype=np.float64)
        )
    if model.patches is not None:
        config["patches_seed"] = model.patches.seed
        statistics["patches.log_weights"] = model.patches.log_weights
    weights = {} if model.network is None else model.network.state_dict()
    MODEL.write(folder, config, {NETWORK: weights, STATISTICS: statistics})


def load_model(folder: Path, device: torch.device) -> HUD:
    """Read a model from `folder`, onto a device."""
    from hud_fast.diffusion.model import HUD, SceneFacts

    config, (weights, numbers) = MODEL.read(folder)
    preset = Preset.from_dict(config["preset"])
    network = patches = None
    endmembers, abundances = numbers["endmembers"].numpy(), numbers["abundances"]
    if preset.patches != "no":
        patches = Patches.of(
            abundances.to(device),
            endmembers,
            seed=config["patches_seed"],
            log_weights=numbers["patches.log_weights"],
        )
    if preset.trains:
        network = build_network(preset, config["D"])
        network.load_state_dict(weights)
        network.eval().requires_grad_(False)
        place(network, device)
    wavelengths = numbers.get("wavelengths")
    scene = config["scene"]
    return HUD(
        network=network,
        latent=LatentSpace(numbers["mean"], numbers["std"], config["raw_latent"]).to(device),
        endmembers=endmembers,
        abundances=abundances.numpy(),
        preset=preset,
        seed=config["seed"],
        encoder=config["encoder"],
        scene=SceneFacts(
            name=scene["name"],
            wavelengths=None if wavelengths is None else wavelengths.numpy(),
            scale=scene["scale"],
            rgb_bands=tuple(scene["rgb_bands"]),
            simulated=scene["simulated"],
        ),
        unmixing=config["unmixing"],
        history=config["history"],
        patches=patches,
    )
