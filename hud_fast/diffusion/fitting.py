"""Fitting: one training of the abundance maps of one or several scenes, and a model of each.

scenes -> endmembers, abundances -> z -> windows of all -> one network -> one HUD a scene

Scenes meet in abundance space, where there are no bands: they may be of different sensors, sizes and masks, with the
same number of endmembers. Each keeps its own statistics of z and its own guess of the noise (`prior`); the network's
weights are one. What channel k means must agree: the endmembers of every scene are put in the order of falling mean
abundance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hud_fast.diffusion import processes
from hud_fast.diffusion.abundance_model import (
    AbundanceModel,
    Start,
    as_start,
    trained_weights,
)
from hud_fast.diffusion.checks import available_device, check_precision, whole
from hud_fast.diffusion.crops import CropSampler
from hud_fast.diffusion.model import HUD, SceneFacts, scene_from
from hud_fast.diffusion.network import Denoiser, build_network, place
from hud_fast.diffusion.patches import Patches
from hud_fast.diffusion.preparation import PreparedScene, choose_endmembers, ranks_of
from hud_fast.diffusion.presets import Preset, resolve_preset
from hud_fast.diffusion.training import Trainer, train
from hud_fast.scenes import Scene

Progress = Callable[[int, int], None]
Endmembers = int | NDArray[Any] | Tensor | None


def trainer_of(
    prepared: Sequence[PreparedScene],
    preset: Preset,
    *,
    seed: int,
    encoder: str,
    start: AbundanceModel | None = None,
) -> Trainer:
    """A training of these scenes, on their device, that has not begun: from fresh weights, or from those of `start`."""
    crops = CropSampler(
        [scene.z for scene in prepared],
        [scene.valid for scene in prepared],
        crop=preset.crop,
        augment=preset.augment,
    )
    priors = [scene.prior for scene in prepared]
    D = len(prepared[0].endmembers)
    network = build_network(preset, D, seed=seed, prior=priors if len(priors) > 1 else priors[0])
    facts = [scene.facts(encoder) for scene in prepared]
    # of several scenes each fact is a list, one entry a scene
    data = {k: [one[k] for one in facts] for k in facts[0]} if len(facts) > 1 else facts[0]
    if start is not None:
        start.load_into(network)
        data = {**data, "start": start.digest}
    return Trainer(network, crops, preset, seed=seed, data=data)


def fit(
    caller: str,
    scenes: Sequence[Scene],
    endmembers: Sequence[Endmembers],
    *,
    preset: str | Preset,
    seed: int,
    encoder: str,
    raw_latent: bool,
    precision: str | None,
    device: str | torch.device | None,
    checkpoint_dir: str | os.PathLike[str] | None,
    resume: bool,
    steps: int | None,
    start: Start | None,
    progress: Progress | None,
) -> tuple[AbundanceModel | None, list[HUD]]:
    """`HUD.fit` for one scene, `fit_scenes` for several: arguments checked, trained, taken apart."""
    seed = whole(caller, "seed", seed, least=0)
    preset = resolve_preset(preset)
    if steps is not None:
        if not preset.trains:
            raise ValueError(
                f"{caller}: `steps` must be None with the preset {preset.name}, which trains no network, got {steps}"
            )
        preset = replace(preset, steps=whole(caller, "steps", steps, least=1))
    if precision is not None:
        preset = replace(preset, precision=check_precision(caller, precision))
    if raw_latent and preset.patches == "guided":
        preset = replace(preset, patches="no")  # the paper's letter
    where = available_device(caller, device)
    if not preset.trains:
        given = {"start": start, "scenes": None if len(scenes) == 1 else len(scenes)}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{caller}: `{name}` must be {'one' if name == 'scenes' else 'None'} with the preset "
                    f"{preset.name}, which trains no network that scenes could share, got {value}"
                )
        (one,) = _prepare(
            scenes, endmembers, seed=seed, encoder=encoder, raw=raw_latent, start=None, device=where
        )
        return None, [_of_patches(one, preset, seed=seed, encoder=encoder, progress=progress)]
    begin = processes.on_first(lambda: as_start(start))
    if begin is not None:
        begin.check(preset, raw_latent=raw_latent)

    prepared = _prepare(
        scenes, endmembers, seed=seed, encoder=encoder, raw=raw_latent, start=begin, device=where
    )
    # before the training: a scene that has no patches must not cost one
    patches = [_patches_of(one, preset, seed=seed) for one in prepared]
    trainer = trainer_of(prepared, preset, seed=seed, encoder=encoder, start=begin)
    folder = None if checkpoint_dir is None else Path(checkpoint_dir)
    train(trainer, folder=folder, resume=resume, progress=progress)

    network = trainer.network
    network.load_state_dict(network.state_dict() | trainer.averaged_weights())
    network.eval().requires_grad_(False)
    models = [
        HUD(
            network=network if len(prepared) == 1 else _with_prior(network, preset, one),
            latent=one.latent,
            endmembers=one.endmembers,
            abundances=one.abundances.cpu().numpy(),
            preset=preset,
            seed=seed,
            encoder=encoder,
            scene=SceneFacts.of(one.scene),
            unmixing=one.unmixing(),
            history=trainer.history,
            patches=own,
        )
        for one, own in zip(prepared, patches, strict=True)
    ]
    before = () if begin is None else begin.scenes
    common = AbundanceModel(
        weights=trained_weights(network),
        preset=preset,
        D=models[0].D,
        ranks=ranks_of(models[0].abundances),
        raw_latent=raw_latent,
        scenes=tuple(dict.fromkeys([*before, *(scene.name for scene in scenes)])),
        steps=preset.steps + (0 if begin is None else begin.steps),
        seed=seed,
    )
    return common, models


def _of_patches(
    prepared: PreparedScene,
    preset: Preset,
    *,
    seed: int,
    encoder: str,
    progress: Progress | None,
) -> HUD:
    """The model that lays a scene's patches: nothing but their weights is learned."""
    return HUD(
        network=None,
        latent=prepared.latent,
        endmembers=prepared.endmembers,
        abundances=prepared.abundances.cpu().numpy(),
        preset=preset,
        seed=seed,
        encoder=encoder,
        scene=SceneFacts.of(prepared.scene),
        unmixing=prepared.unmixing(),
        history=[],
        patches=_patches_of(prepared, preset, seed=seed, progress=progress),
    )


def _patches_of(
    prepared: PreparedScene, preset: Preset, *, seed: int, progress: Progress | None = None
) -> Patches | None:
    """The patches of a scene, weighed; None where the preset lays none."""
    if preset.patches == "no":
        return None

    def weighed() -> Patches:
        patches = Patches.of(prepared.abundances, prepared.endmembers, seed=seed)
        patches = patches.balanced(preset.crop, progress=progress)
        return patches if processes.count() == 1 else patches.to(torch.device("cpu"))

    return processes.on_first(weighed).to(prepared.z.device)


def fit_scenes(
    scenes: Sequence[Scene | NDArray[Any] | Tensor],  # each Scene or (H, W, C)
    *,
    endmembers: int | Sequence[NDArray[Any]] | None = None,  # D, or (D, C) for each scene
    preset: str | Preset = "small",
    seed: int = 0,
    encoder: Literal["fcls", "linear"] = "fcls",
    raw_latent: bool = False,
    precision: Literal["float32", "bfloat16"] | None = None,
    device: str | torch.device | None = None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
    resume: bool = True,
    steps: int | None = None,
    start: Start | None = None,
    progress: Progress | None = None,
) -> tuple[AbundanceModel, list[HUD]]:
    """Train one diffusion model of the abundance maps of several scenes, of whatever sensors.

    Every step draws its windows from all scenes, each scene equally likely.

    Parameters
    ----------
    scenes : sequence of Scene or (H, W, C) array or tensor
        One or more; with one, `HUD.fit` to the bit.
    endmembers : int, sequence of (D, C) arrays, or None
        An int: that many of each scene, found by VCA. Arrays: their spectra, one array a scene. None: as many as each
        scene is known to have or HySime counts, which must be the same number for all; or `start`'s number.
    preset, seed, encoder, raw_latent, precision, device, checkpoint_dir, resume, steps, start, progress
        As in `HUD.fit`.

    Returns
    -------
    abundance_model : AbundanceModel
        What the scenes have in common, to start other trainings from.
    models : list of HUD
        One a scene, in order, with the same weights: each samples, saves and loads as any other. Where there are
        several, their endmembers are in the order of falling mean abundance.

    Raises
    ------
    TypeError
        An argument of the wrong type.
    ValueError
        As `HUD.fit`, naming the scene; no scene; numbers of endmembers that differ between the scenes.
    RuntimeError
        A device that is not there; a loss that is not finite.

    Examples
    --------
    >>> from hud_fast.scenes import simulate_scene
    >>> a, b = simulate_scene(40, 40, C=30, D=3, seed=0), simulate_scene(36, 50, C=48, D=3, seed=1)
    >>> common, (model_a, model_b) = fit_scenes([a, b], preset="tiny", steps=2, device="cpu")
    >>> common.D, model_a.C, model_b.C
    (3, 30, 48)
    >>> model_b.sample(1, size=16, steps=2).shape
    (1, 16, 16, 48)
    """
    if isinstance(scenes, (Scene, np.ndarray, Tensor)):
        raise TypeError(
            f"fit_scenes: `scenes` must be a sequence of scenes, got {type(scenes).__name__}"
        )
    given = [scene_from(one) for one in scenes]
    if not given:
        raise ValueError("fit_scenes: `scenes` must hold one scene or more, got none")
    spectra: list[Endmembers]
    one_array: Any = endmembers
    if isinstance(one_array, np.ndarray) and one_array.ndim:
        raise ValueError(
            "fit_scenes: `endmembers` must be a number, or a sequence of one (D, C) array a scene, "
            f"got one array of shape {one_array.shape}"
        )
    if isinstance(endmembers, Sequence):
        if len(endmembers) != len(given):
            raise ValueError(
                f"fit_scenes: `endmembers` must have one array for each of {len(given)} scenes, "
                f"got {len(endmembers)}"
            )
        spectra = list(endmembers)
    else:
        spectra = [endmembers] * len(given)
    if len(given) == 1 and not resolve_preset(preset).trains:  # before any work
        raise ValueError(
            "fit_scenes: `preset` must be one that trains a network, got one that lays patches: use HUD.fit"
        )
    common, models = fit(
        "fit_scenes",
        [scene.drop_bad_bands() for scene in given],
        spectra,
        preset=preset,
        seed=seed,
        encoder=encoder,
        raw_latent=raw_latent,
        precision=precision,
        device=device,
        checkpoint_dir=checkpoint_dir,
        resume=resume,
        steps=steps,
        start=start,
        progress=progress,
    )
    assert common is not None
    return common, models


def _prepare(
    scenes: Sequence[Scene],
    endmembers: Sequence[Endmembers],
    *,
    seed: int,
    encoder: str,
    raw: bool,
    start: AbundanceModel | None,
    device: torch.device,
) -> list[PreparedScene]:
    several = len(scenes) > 1
    found = []
    for number, (scene, given) in enumerate(zip(scenes, endmembers, strict=True)):
        if given is None and start is not None:
            given = start.count
        try:
            find = partial(choose_endmembers, scene, given, seed=seed, device=device)
            found.append(processes.on_first(find))
        except (ValueError, TypeError) as error:
            if not several:
                raise
            text = str(error).removeprefix("HUD.fit: ")
            raise type(error)(f"fit_scenes: `scenes[{number}]` ({scene.name}): {text}") from error
    counts = [len(one) for one in found]
    if len(set(counts)) > 1:
        listed = ", ".join(f"{s.name} {n}" for s, n in zip(scenes, counts, strict=True))
        raise ValueError(
            f"fit_scenes: `endmembers` must be the same number for all scenes, got {listed}; "
            "give one number for all"
        )
    ranks: Sequence[int] | None = range(counts[0]) if several else None
    if start is not None:
        start.check(start.preset, raw_latent=start.raw_latent, D=counts[0])
        ranks = start.ranks_for(counts[0])
    return [
        PreparedScene.of(scene, A, encoder=encoder, raw_latent=raw, ranks=ranks, device=device)
        for scene, A in zip(scenes, found, strict=True)
    ]


def _with_prior(network: Denoiser, preset: Preset, scene: PreparedScene) -> Denoiser:
    """The network with one scene's prior; the weights are the same tensors."""
    own = build_network(preset, len(scene.endmembers), prior=scene.prior)
    place(own, next(network.parameters()).device)
    shared = {name: value.detach() for name, value in network.named_parameters()}
    own.load_state_dict(own.state_dict() | shared, assign=True)
    return own.eval().requires_grad_(False)
