"""A model's folder: config.json, network.safetensors, statistics.safetensors.

Everything is readable without this package: JSON for settings, safetensors for numbers, no pickle.
Each file carries a checksum of its content.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hud_fast._files import atomic_dir
from hud_fast.diffusion.checkpoint import DamagedFileError, read_tensors, write_tensors
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network
from hud_fast.diffusion.presets import Preset

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD

FORMAT = "hud_fast model"
VERSION = 1  # raised when an older reader would misread the folder
CONFIG, NETWORK, STATISTICS = "config.json", "network.safetensors", "statistics.safetensors"


def _digest(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def save_model(model: HUD, folder: Path) -> None:
    """Write `model` to `folder`, all or nothing."""
    from hud_fast import __version__

    # the folder is replaced as a whole: never take along what is not ours
    others = (
        sorted({p.name for p in folder.iterdir()} - {CONFIG, NETWORK, STATISTICS})
        if folder.is_dir()
        else []
    )
    if others or (folder.exists() and not folder.is_dir()):
        raise FileExistsError(
            f"HUD.save: `folder` must be new, empty or a saved model, got {folder}"
            + (f" with {others[0]} in it" if others else ", a file")
        )
    scene = model.scene
    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "hud_fast": __version__,
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
    with atomic_dir(folder) as temporary:
        write_tensors(temporary / NETWORK, model.network.state_dict(), {})
        write_tensors(temporary / STATISTICS, statistics, {})
        text = json.dumps({**config, "sha256": _digest(config)}, indent=2)
        (temporary / CONFIG).write_text(text + "\n", encoding="utf-8")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        what = "a folder that is not there" if not folder.exists() else f"{folder} without {CONFIG}"
        raise FileNotFoundError(
            f"HUD.load: `folder` must hold a model written by HUD.save, got {what}: {folder}"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"HUD.load: {path} is damaged ({error})") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise FileNotFoundError(
            f"HUD.load: `folder` must hold a model written by HUD.save, got a foreign {path}"
        )
    if config["version"] > VERSION:
        raise ValueError(
            f"HUD.load: `folder` must have file version {VERSION} or older, got "
            f"{config['version']}, written by hud_fast {config.get('hud_fast')}; "
            "install a newer hud_fast"
        )
    if config.pop("sha256", None) != _digest(config):
        raise DamagedFileError(
            f"HUD.load: {path} is damaged (its checksum does not match its content)"
        )
    return config


def load_model(folder: Path) -> HUD:
    """Read a model from `folder`, on the CPU."""
    from hud_fast.diffusion.model import HUD, SceneFacts

    config = _read_config(folder)
    try:
        weights, _ = read_tensors(folder / NETWORK)
        numbers, _ = read_tensors(folder / STATISTICS)
    except FileNotFoundError as error:
        raise DamagedFileError(
            f"HUD.load: {folder} is damaged (a file is missing: {error})"
        ) from error
    except DamagedFileError as error:
        raise DamagedFileError(f"HUD.load: {error}") from error
    preset = Preset.from_dict(config["preset"])
    network = build_network(preset, config["D"])
    network.load_state_dict(weights)
    wavelengths = numbers.get("wavelengths")
    scene = config["scene"]
    return HUD(
        network=network.eval().requires_grad_(False),
        latent=LatentSpace(numbers["mean"], numbers["std"], config["raw_latent"]),
        endmembers=numbers["endmembers"].numpy(),
        abundances=numbers["abundances"].numpy(),
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
    )
