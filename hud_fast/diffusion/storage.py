"""A model's folder: config.json, network.safetensors, statistics.safetensors. See `folders`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hud_fast._text import printable
from hud_fast.diffusion.classes import LARGEST as LARGEST_NUMBER
from hud_fast.diffusion.classes import MOST_CLASSES, ClassMaps
from hud_fast.diffusion.folders import FolderKind
from hud_fast.diffusion.joint import JointLatent
from hud_fast.diffusion.latent import LatentSpace
from hud_fast.diffusion.network import build_network, place
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.preparation import ENCODERS
from hud_fast.diffusion.records import LARGEST, Record
from hud_fast.diffusion.residuals import Residuals

if TYPE_CHECKING:
    from hud_fast.diffusion.model import HUD

LONGEST = 200  # characters of a class's name
NETWORK, STATISTICS = "network.safetensors", "statistics.safetensors"
MODEL = FolderKind("HUD", "model", "hud_fast model", 1, (NETWORK, STATISTICS))


def save_model(model: HUD, folder: Path) -> None:
    """Write `model` to `folder`, all or nothing."""
    scene = model.scene
    given = scene.reflectance_factor
    factor = {} if given is None else {"reflectance_factor": given}
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
            **factor,
        },
        "unmixing": model.unmixing,
        "history": model.history,
    }
    latent, classes = model.latent, model.classes
    own = latent.abundances if isinstance(latent, JointLatent) else latent
    statistics: dict[str, Any] = {
        "endmembers": torch.from_numpy(model.endmembers),
        "abundances": torch.from_numpy(model.abundances),
        "mean": own.mean,
        "std": own.std,
    }
    if classes is not None:
        config["classes"] = {"numbers": list(classes.numbers), "names": list(classes.names)}
        statistics["labels"] = torch.from_numpy(classes.labels)
        statistics["class_shares"] = classes.shares
    if model.residuals is not None:
        statistics["residuals"] = torch.from_numpy(model.residuals.values)
    if isinstance(latent, JointLatent):
        config["classes"]["softening"] = latent.softening
        statistics |= {"class_mean": latent.shares.mean, "class_std": latent.shares.std}
    for name, lengths in (("wavelengths", scene.wavelengths), ("fwhm", scene.fwhm)):
        if lengths is not None:
            statistics[name] = torch.from_numpy(np.asarray(lengths, dtype=np.float64))
    if model.patches is not None:
        config["patches_seed"] = model.patches.seed
        config["patches_with_gaps"] = model.patches.with_gaps
        statistics["patches.log_weights"] = model.patches.log_weights
    weights = {} if model.network is None else model.network.state_dict()
    MODEL.write(folder, config, {NETWORK: weights, STATISTICS: statistics})


def load_model(folder: Path, device: torch.device) -> HUD:
    """Read a model from `folder`, onto a device."""
    from hud_fast.diffusion.model import HUD
    from hud_fast.diffusion.scene_facts import SceneFacts

    config, (weights, statistics) = MODEL.read(folder)
    facts, numbers = (Record("HUD.load", folder, values) for values in (config, statistics))
    preset = facts.preset("preset")
    D, C = facts.whole("D", least=1), facts.whole("C", least=1)
    endmembers = numbers.tensor("endmembers", (D, C)).numpy()
    abundances = numbers.maps("abundances", D)
    own = _space(numbers, "", D, facts.flag("raw_latent"))
    classes = _classes(facts, numbers, abundances) if "classes" in config else None
    K = 0 if classes is None else classes.K
    if preset.trains and preset.crop > max(abundances.shape[:2]):  # else no window was cut
        raise facts.damaged(f"`preset.crop` = {preset.crop} is larger than the scene")
    network = patches = None
    if preset.patches != "no":
        log_weights = numbers.tensor("patches.log_weights", (-1,))
        try:
            patches = Patches.of(
                abundances.to(device),
                endmembers,
                seed=facts.whole("patches_seed"),
                log_weights=log_weights,
                with_gaps=_labelled_patches(facts),
            )
        except ValueError as error:  # no window for a patch
            raise facts.damaged(error) from error
        if len(patches.corners) != len(log_weights):
            raise numbers.damaged("`patches.log_weights` is of another scene")
    if patches is not None and classes is not None:
        patches = patches.with_classes(classes.shares.to(device))
    residuals = None
    if "residuals" in statistics and classes is not None:
        left = _beside(numbers, "residuals", C, abundances)
        shares = classes.shares.numpy()
        residuals = Residuals(left.numpy(), abundances.numpy(), endmembers, shares)
    latent: LatentSpace | JointLatent = own
    told = facts.part("classes") if K else facts
    if K and (preset.trains or "softening" in told.values):  # not of a model labelled later
        softening = told.positive("softening")
        if softening >= 1:
            raise told.damaged(f"`softening` must be below 1, got {softening:g}")
        latent = JointLatent(own, _space(numbers, "class_", K, False), softening)
    if preset.trains:
        stored = Record("HUD.load", folder, weights)
        stored.weights(preset, D, K=K, buffers=True, where=NETWORK)
        network = build_network(preset, D, K=K)
        network.load_state_dict(weights)
        network.eval().requires_grad_(False)
        place(network, device)
    lengths = {  # in no model of a scene without them, and fwhm in none of before
        name: numbers.tensor(name, (C,), torch.float64).numpy()
        for name in ("wavelengths", "fwhm")
        if name in statistics
    }
    scene = facts.part("scene")
    red, green, blue = scene.wholes("rgb_bands", 3, C - 1)
    return HUD(
        network=network,
        latent=latent.to(device),
        endmembers=endmembers,
        abundances=abundances.numpy(),
        preset=preset,
        seed=facts.whole("seed"),
        encoder=facts.text("encoder", ENCODERS),
        scene=SceneFacts(
            name=scene.text("name"),
            wavelengths=lengths.get("wavelengths"),
            fwhm=lengths.get("fwhm"),
            scale=scene.positive("scale"),
            rgb_bands=(red, green, blue),
            simulated=scene.flag("simulated"),
            reflectance_factor=(
                scene.positive("reflectance_factor")
                if "reflectance_factor" in scene.values
                else None
            ),
        ),
        unmixing=facts.numbers("unmixing"),
        history=facts.history("history"),
        patches=patches,
        classes=None if classes is None else classes.to(device),
        residuals=residuals,
    )


def _labelled_patches(facts: Record) -> bool:
    """Whether windows with gaps are among the patches; files from before there were such do not say."""
    return "patches_with_gaps" in facts.values and facts.flag("patches_with_gaps")


def _space(numbers: Record, prefix: str, channels: int, raw: bool) -> LatentSpace:
    mean, std = (
        numbers.tensor(f"{prefix}{name}", (channels,), most=LARGEST) for name in ("mean", "std")
    )
    if not bool((std > 0).all()):
        raise numbers.damaged(f"`{prefix}std` must be positive")
    return LatentSpace(mean, std, raw)


def _beside(numbers: Record, name: str, depth: int, abundances: Tensor) -> Tensor:
    """Maps of the size of the abundances, known wherever these are."""
    found = numbers.maps(name, depth)
    if found.shape[:2] != abundances.shape[:2]:
        raise numbers.damaged(f"`{name}` must be of the size of `abundances`")
    if not bool(found[abundances.isfinite().all(dim=-1)].isfinite().all()):
        raise numbers.damaged(f"`{name}` must be finite where `abundances` are")
    return found


def _classes(facts: Record, numbers: Record, abundances: Tensor) -> ClassMaps:
    """The classes of a model that has some."""
    told = facts.part("classes")
    names = told.texts("names")
    K = len(names)
    if not 2 <= K <= MOST_CLASSES:
        raise told.damaged(f"`classes` must be 2 to {MOST_CLASSES}, got {K}")
    known = told.wholes("numbers", K, LARGEST_NUMBER)
    if known[0] < 1 or any(a >= b for a, b in pairwise(known)):
        raise told.damaged("`numbers` must increase from 1 on")
    labels = numbers.whole_map("labels", tuple(abundances.shape[:2]), known)
    shares = _beside(numbers, "class_shares", K, abundances)
    given = shares[shares.isfinite().all(dim=-1)]
    if not bool((given >= 0).all() and ((given.sum(dim=-1) - 1).abs() < 1e-3).all()):
        raise numbers.damaged("`class_shares` must lie in [0, 1] and add up to 1")
    return ClassMaps(known, tuple(printable(name, LONGEST) for name in names), labels, shares)
